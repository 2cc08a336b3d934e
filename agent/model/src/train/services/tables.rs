//! Who does legitimate work on the network, and what is started in passing.

/// Interpreters and clients that talk to the network and start commands as part of their work.
pub(super) const CLIENTS: [(&str, &str); 22] = [
    ("/usr/bin/python3.11", "python3|/usr/bin/pip|install|{w}"),
    (
        "/usr/bin/python3.11",
        "/usr/bin/python3|/srv/{w}/manage.py|migrate",
    ),
    (
        "/usr/bin/python3.11",
        "python3|-c|import requests;print(requests.get(\"https://{h}/health\").status_code)",
    ),
    (
        "/usr/bin/python3",
        "python3|-c|import socket;s=socket.create_connection((\"{h}\",{p}),2);s.close()",
    ),
    ("/usr/bin/python3", "python3|/opt/{w}/{w}.py|--server|{h}"),
    ("/usr/bin/node", "node|/usr/bin/npm|ci"),
    ("/usr/bin/node", "node|/srv/{w}/server.js"),
    ("/usr/bin/ruby3.1", "ruby|/usr/bin/bundle|install"),
    ("/usr/bin/php8.2", "php|artisan|queue:work"),
    (
        "/usr/bin/java",
        "java|-jar|/opt/{w}/agent.jar|-url|https://{h}/",
    ),
    ("/usr/bin/git", "git|fetch|--all|--prune"),
    ("/usr/bin/curl", "curl|-fsS|https://{h}/{w}"),
    ("/usr/bin/wget", "wget|-q|https://{h}/{f}"),
    ("/usr/bin/ssh", "ssh|-o|BatchMode=yes|{u}@{h}|uptime"),
    (
        "/usr/bin/rsync",
        "rsync|-az|--delete|/srv/{w}/|{u}@{h}:/srv/{w}/",
    ),
    ("/usr/bin/nc.openbsd", "nc|-z|-w2|{h}|{p}"),
    (
        "/usr/bin/socat",
        "socat|TCP-LISTEN:{p},fork,reuseaddr|TCP:{h}:{p}",
    ),
    ("/usr/bin/apt-get", "apt-get|update"),
    ("/usr/lib/apt/methods/https", "/usr/lib/apt/methods/https"),
    ("/usr/local/bin/{w}", "{w}|--config|/etc/{w}/{w}.yml"),
    ("/usr/bin/docker", "docker|pull|{h}/{w}:latest"),
    ("/usr/bin/cargo", "cargo|build|--release"),
];
/// What a session or a runner starts in passing.
pub(super) const CHORES: [&str; 24] = [
    "git rev-parse HEAD",
    "ls -la",
    "df -h",
    "systemctl restart {w}",
    "journalctl -u {w} -n 50",
    "tail -f /var/log/syslog",
    "ps aux",
    "ss -tlnp",
    "id",
    "uptime",
    "free -m",
    "vi /etc/{w}.conf",
    "apt-get install -y {w}",
    "dpkg -l",
    "docker ps",
    "tar czf /var/backups/{w}.tgz /etc",
    "grep -r error /var/log/{w}",
    "make -j4",
    "gcc -O2 -c {w}.c",
    "cat /etc/os-release",
    "whoami",
    "uname -a",
    "hostname",
    "sudo -l",
];
