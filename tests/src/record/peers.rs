//! The other side of a scenario, as `peer.py` reads it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    draw::Values,
    manifest::{Peer, Scenario},
    rng::Rng,
};

/// Every peer of a scenario, with its choices made.
pub fn peers(scenario: &Scenario, values: &Values, rng: &mut Rng) -> Result<Value> {
    let mut all = Vec::new();
    for peer in &scenario.peers {
        all.push(
            one_peer(peer, values, rng).with_context(|| format!("{}: a peer", scenario.name))?,
        );
    }
    Ok(Value::Array(all))
}

fn one_peer(peer: &Peer, values: &Values, rng: &mut Rng) -> Result<Value> {
    let port = values.fill(peer.port.as_deref().unwrap_or("@PORT@"))?;
    let port: u16 = port.parse().with_context(|| format!("port {port:?}"))?;
    let mut lines = Vec::new();
    for line in &peer.lines {
        match pool(line) {
            Some(pool) => {
                let count = rng.between(2, 6);
                lines.extend((0..count).map(|_| rng.pick(pool).to_owned()));
                lines.push("exit".to_owned());
            }
            None => lines.push(values.fill(line)?),
        }
    }
    let mut files = serde_json::Map::new();
    for (path, content) in &peer.files {
        files.insert(values.fill(path)?, Value::String(values.fill(content)?));
    }
    ensure!(port > 0, "port 0");
    Ok(json!({
        "mode": peer.mode,
        "address": values.fill(peer.address.as_deref().unwrap_or("@PEER@"))?,
        "port": port, "lines": lines, "files": files,
        "pace": peer.pace.unwrap_or_else(|| f64::from(rng.between(1, 7)) / 10.0),
        "answer": values.fill(peer.answer.as_deref().unwrap_or(""))?,
        "times": peer.times.unwrap_or(1), "tls": peer.tls,
    }))
}

/// What somebody types into a shell that was not given to them, and what an administrator types.
fn pool(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "<hands-on>" => Some(&[
            "id",
            "whoami",
            "uname -a",
            "cat /etc/passwd",
            "ls -la /home",
            "w",
            "ip a",
            "ss -tnp",
            "ps aux",
            "hostname",
            "cat /etc/os-release",
            "find / -perm -4000 -type f 2>/dev/null | head",
            "ls -la /root",
            "env",
            "cat /etc/shadow",
            "cat ~/.bash_history",
            "ls -la /tmp /dev/shm",
            "cat /proc/1/cgroup",
            "df -h",
            "crontab -l",
            "python3 -c 'import pty; pty.spawn(\"/bin/bash\")'",
            "cat /root/.ssh/id_rsa",
            "which gcc curl wget python3",
            "mount",
            "cat /etc/crontab",
            "export HISTFILE=/dev/null",
            "pwd",
            "groups",
            "getent passwd",
            "last -n 5",
        ]),
        "<admin>" => Some(&[
            "uptime",
            "df -h",
            "free -m",
            "systemctl status nginx",
            "journalctl -n 20",
            "tail -n 20 /var/log/syslog",
            "ls -la /var/log",
            "ps aux",
            "dpkg -l | head",
            "cat /etc/os-release",
            "id",
            "w",
            "ss -ltn",
            "ip a",
            "hostname",
            "uname -a",
            "apt-cache policy curl",
            "date",
            "cat /etc/hosts",
            "du -sh /var/log",
            "whoami",
            "env",
            "pwd",
            "systemctl is-active cron",
            "last -n 5",
            "mount",
            "ls /etc/nginx 2>/dev/null",
            "grep -c . /etc/passwd",
        ]),
        _ => None,
    }
}
