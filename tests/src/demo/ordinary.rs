//! What a server does all day, and what an agent must leave alone.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::Node;
use crate::narrator::Narrator;
use crate::wait;

const SSH_LIMIT: Duration = Duration::from_secs(15);

const WORK: [(&str, &str); 3] = [
    (
        "package queries",
        "dpkg -l | wc -l; dpkg -S /bin/ls; apt-cache policy nftables >/dev/null; apt-mark showmanual | head -3",
    ),
    (
        "a compile",
        "mkdir -p /root/build && cd /root/build && \
         printf '#include <stdio.h>\\nint main(void){puts(\"built\");return 0;}\\n' > main.c && \
         gcc -O1 -c main.c && gcc -o main main.o && ./main",
    ),
    (
        "a backup",
        "tar -czf /var/backups/etc.tar.gz /etc 2>/dev/null; tar -tzf /var/backups/etc.tar.gz | wc -l",
    ),
];

const ADMINISTRATION: &str =
    "uptime; df -h /; ps ax | wc -l; tail -n 5 /var/log/dpkg.log; ip -brief address; id";

/// Does it all on `host`; `administrator` signs in over ssh.
pub fn ordinary_work(host: &Node, administrator: &Node, narrator: &Narrator) -> Result<()> {
    for (name, script) in WORK {
        host.succeed(&["sh", "-c", script])?;
        narrator.note(&format!("{}: {name}", host.name()));
    }
    let key = "/root/.ssh/id_dropbear";
    ssh_server(host, administrator, key)?;
    let target = format!("root@{}", host.address_v4());
    wait::until("the ssh session", SSH_LIMIT, || {
        let session = ["dbclient", "-y", "-i", key, &target, ADMINISTRATION];
        administrator.succeed(&session).map(Some)
    })?;
    narrator.note(&format!(
        "{}: an administrator's ssh session from {}",
        host.name(),
        administrator.name()
    ));
    Ok(())
}

/// A server with a throw-away key on the host, and the key's owner on the administrator's machine.
fn ssh_server(host: &Node, administrator: &Node, key: &str) -> Result<()> {
    let make = format!(
        "umask 077; mkdir -p /root/.ssh; [ -e {key} ] || dropbearkey -t ed25519 -f {key} >/dev/null; \
         dropbearkey -y -f {key} | grep '^ssh-'"
    );
    let public = administrator
        .succeed(&["sh", "-c", &make])
        .context("cannot make an ssh key (package dropbear-bin)")?;
    host.write("/root/.ssh/authorized_keys", public)?;
    let serve = "chmod 700 /root /root/.ssh; chmod 600 /root/.ssh/authorized_keys; mkdir -p /etc/dropbear; \
                 exec dropbear -R -p 22 -P /run/dropbear.pid </dev/null >/var/log/dropbear.log 2>&1";
    host.succeed(&["sh", "-c", serve]).map(drop)
}
