//! Legitimate work that looks like a shell on a socket: the benign side of [`super::sockets`].

mod ssh;
mod tables;

use cordon_behavior::story::{Process, Relative, StdioKind, Story};

use super::draw::Draw;
use super::dress::{image, inbound, outbound, relative};
use ssh::{login, remote_command};
use tables::{CHORES, CLIENTS};

/// A benign story with its family, below the lineage `above` where its kind of work has none of its own.
pub fn honest(above: Vec<Relative>, draw: &mut Draw) -> (Story, &'static str) {
    match draw.below(12) {
        0..=2 => (login(draw), "login-session"),
        3 => (remote_command(draw), "remote-command"),
        4 | 5 => (socket_service(above, draw), "socket-service"),
        6..=8 => (client(above, draw), "network-client"),
        9 => (runner(draw), "job-runner"),
        10 => (unit(draw), "system-unit"),
        _ => (outbound_session(above, draw), "admin-outbound"),
    }
}

fn process(exe: &str, text: &str, stdio: [StdioKind; 3], draw: &mut Draw) -> Process {
    let whole = draw.fill(&format!("{exe}|{text}"));
    let mut parts = whole.split('|').map(str::to_owned);
    let exe = parts.next().unwrap_or_default();
    let uid = *draw.one(&[0, 1000, 1001, 33, 998, 0]);
    let [input, output, errors] = stdio;
    Process {
        exe,
        argv: parts.collect(),
        cwd: draw
            .pick(&[
                "/",
                "/root",
                "/home/ann",
                "/srv/app",
                "/var/lib/app",
                "/tmp",
                "/var/www/html",
            ])
            .to_owned(),
        uid: Some(uid),
        euid: Some(uid),
        tty: Some(input == StdioKind::Tty || draw.chance(0.1)),
        stdin: input,
        stdout: output,
        stderr: errors,
        ..Process::default()
    }
}

fn chores(draw: &mut Draw, most: usize) -> Vec<Relative> {
    (0..draw.below(most + 1))
        .map(|_| {
            let text = draw.pick(&CHORES);
            let exe = image(text.split(' ').next().unwrap_or(text), draw);
            relative(&exe, text, draw)
        })
        .collect()
}

fn links(texts: &[(&str, &str)], draw: &mut Draw) -> Vec<Relative> {
    texts
        .iter()
        .map(|(exe, text)| relative(exe, text, draw))
        .collect()
}

/// inetd, socket units and `socat EXEC`: a service that really has a socket as its standard input.
fn socket_service(above: Vec<Relative>, draw: &mut Draw) -> Story {
    let socket = StdioKind::Socket;
    let (exe, text) = *draw.one(&[
        ("/bin/sh", "/bin/sh|/usr/local/lib/{w}/serve.sh"),
        ("/bin/bash", "/bin/bash|/opt/{w}/health.sh"),
        ("/bin/sh", "sh|-c|/usr/local/bin/{w} --stdio"),
        ("/usr/bin/python3.11", "python3|/usr/lib/{w}/inetd.py"),
        (
            "/usr/bin/git-daemon",
            "git-daemon|--inetd|--base-path=/srv/git",
        ),
        (
            "/usr/lib/git-core/git-upload-pack",
            "git-upload-pack|/srv/git/{w}.git",
        ),
        ("/usr/bin/rsync", "rsync|--daemon"),
        ("/usr/sbin/vsftpd", "vsftpd"),
        ("/usr/sbin/in.tftpd", "in.tftpd|-s|/srv/tftp"),
        ("/usr/sbin/sshd", "/usr/sbin/sshd|-i"),
        ("/usr/bin/check_mk_agent", "check_mk_agent"),
        ("/bin/bash", "/bin/bash|/usr/bin/check_mk_agent"),
    ]);
    let own = process(
        exe,
        text,
        [
            socket,
            socket,
            *draw.one(&[
                socket,
                StdioKind::UnixSocket,
                StdioKind::Null,
                StdioKind::Pipe,
            ]),
        ],
        draw,
    );
    let (maker, how) = *draw.one(&[
        ("/usr/sbin/inetd", "/usr/sbin/inetd"),
        ("/usr/sbin/xinetd", "/usr/sbin/xinetd -stayalive"),
        ("/usr/lib/systemd/systemd", "/sbin/init"),
        (
            "/usr/bin/socat",
            "socat TCP-LISTEN:{p},fork,reuseaddr EXEC:/opt/{w}/health.sh",
        ),
        ("/usr/bin/tcpserver", "tcpserver 0 {p} /usr/local/bin/{w}"),
    ]);
    let mut ancestors = links(&[(maker, how)], draw);
    if draw.chance(0.4) {
        ancestors.extend(above);
    }
    let port = *draw.one(&[873, 9418, 21, 69, 6556, 8080, 9100, 5000, 7000, 22]);
    Story {
        process: Some(own),
        ancestors,
        children: chores(draw, 3),
        connections: vec![inbound(draw.address(), port)],
        ..Story::default()
    }
}

/// A program with connections that runs commands, on ordinary descriptors.
fn client(above: Vec<Relative>, draw: &mut Draw) -> Story {
    let (exe, text) = *draw.one(&CLIENTS);
    let kind = *draw.one(&[
        StdioKind::Tty,
        StdioKind::Pipe,
        StdioKind::Null,
        StdioKind::File,
        StdioKind::UnixSocket,
    ]);
    let own = process(
        exe,
        text,
        [
            kind,
            *draw.one(&[
                StdioKind::Tty,
                StdioKind::Pipe,
                StdioKind::UnixSocket,
                StdioKind::File,
            ]),
            kind,
        ],
        draw,
    );
    let connections = (0..draw.below(4))
        .map(|_| outbound(draw.address(), draw.port()))
        .collect();
    let mut children = Vec::new();
    if draw.chance(0.45) {
        let chore = draw.pick(&CHORES).replace(' ', "\u{1}");
        let filled = draw.fill(&chore).replace('\u{1}', " ");
        children.push(Relative {
            exe: "/bin/sh".to_owned(),
            argv: vec!["sh".into(), "-c".into(), filled],
            uid: None,
        });
    }
    if draw.chance(0.35) {
        // The command below such a program, which sees its maker's connections.
        let text = draw.pick(&[
            "sh|-c|git rev-parse --short HEAD",
            "sh|-c|uname -s -m",
            "/bin/sh|-c|ldconfig -p",
            "sh|-c|node-gyp rebuild",
            "bash|-e|/tmp/{w}/step.sh",
            "sh|-c|cc -E -dM - </dev/null",
            "/bin/sh|./configure",
        ]);
        let pipe = StdioKind::Pipe;
        let shell = process(
            "/bin/sh",
            text,
            [
                *draw.one(&[pipe, StdioKind::Null, StdioKind::Tty]),
                pipe,
                pipe,
            ],
            draw,
        );
        let mut ancestors = vec![Relative {
            exe: own.exe,
            argv: own.argv,
            uid: own.uid,
        }];
        ancestors.extend(above);
        return Story {
            process: Some(shell),
            ancestors,
            children: chores(draw, 2),
            connections,
            ..Story::default()
        };
    }
    Story {
        process: Some(own),
        ancestors: above,
        children,
        connections,
        ..Story::default()
    }
}

/// CI steps, package scripts and tasks of a queue: shells whose makers talk to a server.
fn runner(draw: &mut Draw) -> Story {
    let text = draw.pick(&[
        "bash|-e|/home/ci/_temp/{w}.sh",
        "/bin/bash|--noprofile|--norc|-eo|pipefail|/home/ci/_temp/{w}.sh",
        "sh|-xe|/tmp/jenkins{w}.sh",
        "bash|-i|-c|npm test",
        "bash|-l",
        "sh|-s",
        "bash",
    ]);
    let own = process(
        "/bin/bash",
        text,
        [
            *draw.one(&[StdioKind::Pipe, StdioKind::Null]),
            StdioKind::Pipe,
            StdioKind::Pipe,
        ],
        draw,
    );
    let chains: [&[(&str, &str)]; 3] = [
        &[
            (
                "/opt/runner/bin/Runner.Worker",
                "Runner.Worker spawnclient 112 115",
            ),
            ("/opt/runner/bin/Runner.Listener", "Runner.Listener run"),
        ],
        &[
            (
                "/usr/bin/gitlab-runner",
                "gitlab-runner run --working-directory /home/ci",
            ),
            ("/usr/lib/systemd/systemd", "/sbin/init"),
        ],
        &[
            (
                "/usr/bin/java",
                "java -jar /opt/agent/remoting.jar -jnlpUrl https://{h}/",
            ),
            ("/usr/lib/systemd/systemd", "/sbin/init"),
        ],
    ];
    let chain = *draw.one(&chains);
    let connections = (0..draw.below(3))
        .map(|_| {
            outbound(
                draw.address(),
                *draw.one(&[443, 8443, 50_000, 80, 22, 8080]),
            )
        })
        .collect();
    Story {
        process: Some(own),
        ancestors: links(chain, draw),
        children: chores(draw, 8),
        connections,
        ..Story::default()
    }
}

/// A unit's shell: standard output is the journal's socket.
fn unit(draw: &mut Draw) -> Story {
    let text = draw.pick(&[
        "/bin/sh|-c|exec /usr/local/bin/{w} --config /etc/{w}.conf",
        "/bin/bash|/usr/local/sbin/{w}-backup.sh",
        "/bin/sh|/usr/lib/{w}/daily",
        "sh|-c|/usr/bin/{w} || true",
    ]);
    let own = process(
        "/bin/sh",
        text,
        [
            StdioKind::Null,
            StdioKind::UnixSocket,
            StdioKind::UnixSocket,
        ],
        draw,
    );
    let connections = (0..draw.below(3))
        .map(|_| outbound(draw.address(), draw.port()))
        .collect();
    Story {
        process: Some(own),
        ancestors: links(&[("/usr/lib/systemd/systemd", "/sbin/init")], draw),
        children: chores(draw, 6),
        connections,
        ..Story::default()
    }
}

/// A terminal from which other hosts are worked on.
fn outbound_session(above: Vec<Relative>, draw: &mut Draw) -> Story {
    let tty = StdioKind::Tty;
    let own = process(
        "/bin/bash",
        draw.pick(&["bash", "-bash", "bash|-i", "bash|-l"]),
        [tty; 3],
        draw,
    );
    let mut children = chores(draw, 4);
    for _ in 0..=draw.below(3) {
        let (exe, text) = *draw.one(&CLIENTS);
        let one = process(exe, text, [tty; 3], draw);
        children.push(Relative {
            exe: one.exe,
            argv: one.argv,
            uid: None,
        });
    }
    let connections = (0..=draw.below(3))
        .map(|_| outbound(draw.address(), draw.port()))
        .collect();
    Story {
        process: Some(own),
        ancestors: above,
        children,
        connections,
        ..Story::default()
    }
}
