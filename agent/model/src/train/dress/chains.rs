//! Lineages under which work is done on servers, desktops and in containers: one table for both labels.

use cordon_behavior::story::StdioKind::{self, File, Null, Pipe, Tty, UnixSocket};

/// A lineage: images with arguments, nearest first, and the users and descriptors found under it.
pub(super) struct Chain {
    pub links: &'static [(&'static str, &'static str)],
    pub users: &'static [u32],
    pub stdin: &'static [StdioKind],
    pub stdout: &'static [StdioKind],
}

const SYSTEMD: (&str, &str) = ("/usr/lib/systemd/systemd", "/sbin/init");
/// The lineages.
pub(super) const CHAINS: [Chain; 20] = [
    Chain {
        links: &[
            ("/bin/bash", "-bash"),
            ("/usr/sbin/sshd", "sshd: {u}@pts/0"),
            ("/usr/sbin/sshd", "sshd: {u} [priv]"),
            ("/usr/sbin/sshd", "/usr/sbin/sshd -D"),
        ],
        users: &[0, 1000, 1001],
        stdin: &[Tty],
        stdout: &[Tty, Tty, Pipe, File],
    },
    Chain {
        links: &[
            ("/usr/sbin/sshd", "sshd: {u}@notty"),
            ("/usr/sbin/sshd", "sshd: {u} [priv]"),
            SYSTEMD,
        ],
        users: &[0, 1000],
        stdin: &[Pipe, UnixSocket],
        stdout: &[Pipe, UnixSocket],
    },
    Chain {
        links: &[
            ("/usr/bin/sudo", "sudo -i"),
            ("/bin/bash", "-bash"),
            ("/usr/sbin/sshd", "sshd: {u}@pts/1"),
            SYSTEMD,
        ],
        users: &[0],
        stdin: &[Tty],
        stdout: &[Tty, Pipe],
    },
    Chain {
        links: &[
            ("/usr/bin/sudo", "sudo su -"),
            ("/bin/bash", "bash"),
            SYSTEMD,
        ],
        users: &[0],
        stdin: &[Tty],
        stdout: &[Tty],
    },
    Chain {
        links: &[
            ("/usr/sbin/dropbear", "dropbear -F -R -p 22"),
            ("/usr/sbin/dropbear", "dropbear -F -R"),
        ],
        users: &[0, 1000],
        stdin: &[Pipe, Tty, UnixSocket],
        stdout: &[Pipe, Tty, UnixSocket],
    },
    Chain {
        links: &[
            ("/usr/sbin/cron", "/usr/sbin/CRON -f"),
            ("/usr/sbin/cron", "/usr/sbin/cron -f"),
            SYSTEMD,
        ],
        users: &[0, 33, 1000],
        stdin: &[Null, Pipe],
        stdout: &[Pipe],
    },
    Chain {
        links: &[SYSTEMD],
        users: &[0, 997, 33, 1000],
        stdin: &[Null],
        stdout: &[UnixSocket],
    },
    Chain {
        links: &[
            ("/usr/sbin/php-fpm8.2", "php-fpm: pool www"),
            ("/usr/sbin/php-fpm8.2", "php-fpm: master process"),
            SYSTEMD,
        ],
        users: &[33],
        stdin: &[Null, Pipe],
        stdout: &[Pipe],
    },
    Chain {
        links: &[
            ("/usr/sbin/apache2", "/usr/sbin/apache2 -k start"),
            ("/usr/sbin/apache2", "/usr/sbin/apache2 -k start"),
        ],
        users: &[33],
        stdin: &[Pipe, Null],
        stdout: &[Pipe],
    },
    Chain {
        links: &[("/usr/bin/node", "node /srv/{w}/server.js"), SYSTEMD],
        users: &[1000, 998, 0],
        stdin: &[Pipe],
        stdout: &[Pipe],
    },
    Chain {
        links: &[
            ("/usr/bin/java", "java -Xmx2g -jar /opt/{w}/{w}.jar"),
            SYSTEMD,
        ],
        users: &[998, 1000],
        stdin: &[Pipe],
        stdout: &[Pipe],
    },
    Chain {
        links: &[
            (
                "/usr/bin/python3.11",
                "/usr/bin/python3 /srv/{w}/manage.py runserver",
            ),
            SYSTEMD,
        ],
        users: &[33, 1000],
        stdin: &[Null, Pipe],
        stdout: &[Pipe],
    },
    Chain {
        links: &[
            (
                "/usr/lib/postgresql/15/bin/postgres",
                "postgres: 15/main: {w} {w} COPY",
            ),
            SYSTEMD,
        ],
        users: &[105],
        stdin: &[Null],
        stdout: &[Pipe],
    },
    Chain {
        links: &[
            ("/usr/bin/dpkg", "/usr/bin/dpkg --configure --pending"),
            ("/usr/bin/apt-get", "apt-get install -y {w}"),
            ("/bin/bash", "bash"),
        ],
        users: &[0],
        stdin: &[Tty, Pipe],
        stdout: &[Tty, Pipe],
    },
    Chain {
        links: &[
            (
                "/usr/bin/python3.11",
                "/usr/bin/python3 /home/{u}/.ansible/tmp/ansible-tmp-1/AnsiballZ_command.py",
            ),
            ("/bin/sh", "/bin/sh -c /usr/bin/python3"),
            ("/usr/sbin/sshd", "sshd: {u}@notty"),
        ],
        users: &[0, 1000],
        stdin: &[Pipe, Null],
        stdout: &[Pipe],
    },
    Chain {
        links: &[
            (
                "/opt/runner/bin/Runner.Worker",
                "/opt/runner/bin/Runner.Worker spawnclient",
            ),
            ("/opt/runner/bin/Runner.Listener", "Runner.Listener run"),
            SYSTEMD,
        ],
        users: &[1003, 1000],
        stdin: &[Pipe, Null],
        stdout: &[Pipe],
    },
    Chain {
        links: &[
            ("/usr/bin/make", "make all"),
            ("/bin/bash", "bash"),
            ("/usr/bin/tmux", "tmux"),
        ],
        users: &[1000, 0],
        stdin: &[Tty],
        stdout: &[Tty, Pipe],
    },
    Chain {
        links: &[
            (
                "/usr/bin/containerd-shim-runc-v2",
                "containerd-shim-runc-v2 -namespace moby",
            ),
            SYSTEMD,
        ],
        users: &[0, 1000],
        stdin: &[Null, Pipe],
        stdout: &[Pipe],
    },
    Chain {
        links: &[
            ("/usr/sbin/zabbix_agentd", "zabbix_agentd: listener #1"),
            SYSTEMD,
        ],
        users: &[110],
        stdin: &[Null],
        stdout: &[Pipe],
    },
    Chain {
        links: &[
            ("/usr/bin/node", "node /usr/bin/assistant"),
            ("/bin/zsh", "-zsh"),
            ("/usr/bin/tmux", "tmux"),
        ],
        users: &[1000],
        stdin: &[Null, Pipe],
        stdout: &[Pipe],
    },
];
