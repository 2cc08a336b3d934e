//! Shell text becomes what a sensor would have seen of it.
//!
//! Who started the work, on what descriptors and as whom is drawn from the same tables whatever the label is, so that
//! none of it can become the answer. What a sensor sees beyond text (a socket as standard input, say) comes from
//! recordings and from [`super::sockets`].

mod chains;

use cordon_behavior::story::{Connection, Process, Relative, StdioKind, Story};

use super::draw::Draw;
use super::shell;
use chains::{CHAINS, Chain};
use cordon_behavior::story::StdioKind::{File, Null, Pipe, Tty};

/// One line in one of the ways in which it may be seen.
/// A fragment of a script stays text.
pub fn line(text: &str, draw: &mut Draw) -> Option<Story> {
    let Some(commands) = shell::commands(text) else {
        return Some(as_text(vec![text.to_owned()], draw));
    };
    let started: Vec<Vec<String>> = commands
        .into_iter()
        .filter(|argv| shell::starts_process(argv))
        .collect();
    let form = draw.unit();
    if form < 0.36 {
        return Some(Story {
            command: Some(text.to_owned()),
            ..Story::default()
        });
    }
    if form < 0.46 {
        return Some(Story {
            session: vec![text.to_owned()],
            ..Story::default()
        });
    }
    let single = started.len() == 1 && !text.contains(['|', '<', '>', '&', ';']);
    let mut story = if single && form < 0.70 {
        process(started[0].clone(), draw)
    } else if form < 0.78 && !started.is_empty() {
        under(typed_shell(draw), &started)
    } else {
        under(shell_with(text, draw), &started)
    };
    surround(&mut story, draw);
    connect(&mut story, &started, draw);
    Some(story)
}

fn as_text(lines: Vec<String>, draw: &mut Draw) -> Story {
    if draw.chance(0.5) {
        return Story {
            session: lines,
            ..Story::default()
        };
    }
    Story {
        command: Some(lines.join("\n")),
        ..Story::default()
    }
}

/// Several lines of one shell: as text, or as the processes that a shell started.
pub fn session(lines: &[String], draw: &mut Draw) -> Option<Story> {
    let whole = lines.join("\n");
    let started: Vec<Vec<String>> = lines
        .iter()
        .filter_map(|line| shell::commands(line))
        .flatten()
        .filter(|argv| shell::starts_process(argv))
        .collect();
    let form = draw.unit();
    if form < 0.5 || started.is_empty() {
        return Some(Story {
            session: lines.to_vec(),
            ..Story::default()
        });
    }
    if form < 0.58 {
        return Some(Story {
            command: Some(whole),
            ..Story::default()
        });
    }
    let mut story = match draw.below(3) {
        0 => under(typed_shell(draw), &started),
        1 => under(shell_with(&whole, draw), &started),
        _ => under(script_file(draw), &started),
    };
    // Who reads a terminal or a script knows the lines beside what they started.
    if draw.chance(0.3) {
        story.session = lines.to_vec();
        if draw.chance(0.5) {
            story.children.clear();
        }
    }
    surround(&mut story, draw);
    connect(&mut story, &started, draw);
    Some(story)
}

fn process(mut argv: Vec<String>, draw: &mut Draw) -> Story {
    let exe = image(&argv[0], draw);
    // `sudo x` is seen as x with another user.
    if argv[0] == "sudo" && argv.len() > 1 && !argv[1].starts_with('-') && draw.chance(0.5) {
        argv.remove(0);
    }
    Story {
        process: Some(Process {
            exe,
            argv,
            ..Process::default()
        }),
        ..Story::default()
    }
}

fn under(shell: Process, started: &[Vec<String>]) -> Story {
    let children = started.iter().take(48).map(|argv| Relative {
        exe: if argv[0].contains('/') {
            argv[0].clone()
        } else {
            format!("/usr/bin/{}", argv[0])
        },
        argv: argv.clone(),
        uid: None,
    });
    Story {
        process: Some(shell),
        children: children.collect(),
        ..Story::default()
    }
}

fn typed_shell(draw: &mut Draw) -> Process {
    let (exe, name) = *draw.one(&[
        ("/bin/bash", "-bash"),
        ("/bin/bash", "bash"),
        ("/bin/sh", "sh"),
        ("/usr/bin/zsh", "-zsh"),
        ("/bin/sh", "-sh"),
    ]);
    let mut argv = vec![name.to_owned()];
    if draw.chance(0.15) {
        argv.push("-i".to_owned());
    }
    Process {
        exe: exe.to_owned(),
        argv,
        ..Process::default()
    }
}

fn shell_with(text: &str, draw: &mut Draw) -> Process {
    let (exe, name) = *draw.one(&[
        ("/bin/sh", "sh"),
        ("/bin/sh", "/bin/sh"),
        ("/bin/bash", "bash"),
        ("/usr/bin/dash", "sh"),
        ("/bin/bash", "/bin/bash"),
    ]);
    let option = draw.pick(&["-c", "-c", "-c", "-lc", "-ec"]);
    Process {
        exe: exe.to_owned(),
        argv: vec![name.to_owned(), option.to_owned(), text.to_owned()],
        ..Process::default()
    }
}

/// A shell that was handed a file.
fn script_file(draw: &mut Draw) -> Process {
    let (exe, name) = *draw.one(&[
        ("/bin/bash", "bash"),
        ("/bin/sh", "/bin/sh"),
        ("/usr/bin/dash", "sh"),
        ("/bin/bash", "/bin/bash"),
    ]);
    let mut argv = vec![name.to_owned()];
    if draw.chance(0.3) {
        argv.push(draw.pick(&["-e", "-x", "-eu"]).to_owned());
    }
    argv.push(draw.path());
    Process {
        exe: exe.to_owned(),
        argv,
        ..Process::default()
    }
}

/// Where a command's image would be.
pub fn image(name: &str, draw: &mut Draw) -> String {
    if name.contains('/') {
        return name.to_owned();
    }
    format!(
        "{}/{name}",
        draw.pick(&[
            "/usr/bin",
            "/bin",
            "/usr/bin",
            "/usr/sbin",
            "/sbin",
            "/usr/local/bin"
        ])
    )
}

/// Lineage, descriptors, user and directory, drawn.
pub fn surround(story: &mut Story, draw: &mut Draw) {
    let chain = draw.one(&CHAINS);
    story.ancestors.extend(lineage(chain, draw));
    let Some(own) = &mut story.process else {
        return;
    };
    let uid = *draw.one(chain.users);
    own.uid = Some(uid);
    own.euid = Some(uid);
    draw.pick(&[
        "/",
        "/root",
        "/tmp",
        "/home/ann",
        "/srv/app",
        "/var/www/html",
        "/opt/app",
        "/home/ops/src",
    ])
    .clone_into(&mut own.cwd);
    if draw.chance(0.06) {
        // A sensor without these fields, or a story written by hand.
        story.ancestors.clear();
        return;
    }
    own.stdin = *draw.one(chain.stdin);
    own.stdout = *draw.one(chain.stdout);
    own.stderr = if draw.chance(0.8) {
        own.stdout
    } else {
        *draw.one(&[Null, Pipe, Tty, File])
    };
    own.tty = Some(own.stdin == Tty);
    // Commands below any service may hold a socket: alone it must not become the answer.
    if draw.chance(0.01) {
        own.stdin = StdioKind::Socket;
    }
}

/// Only the lineage, drawn.
pub fn drawn_lineage(draw: &mut Draw) -> Vec<Relative> {
    let chain = draw.one(&CHAINS);
    lineage(chain, draw)
}

fn lineage(chain: &Chain, draw: &mut Draw) -> Vec<Relative> {
    let mut links = Vec::with_capacity(chain.links.len() + 1);
    if draw.chance(0.25) {
        let (exe, text) = *draw.one(&[
            ("/bin/bash", "bash /opt/{w}/{w}.sh"),
            ("/bin/sh", "sh -c /usr/local/bin/{w}"),
            ("/bin/bash", "bash"),
            ("/usr/bin/env", "env bash {f}"),
            ("/bin/sh", "/bin/sh {f}"),
        ]);
        links.push(relative(exe, text, draw));
    }
    for (exe, text) in chain.links {
        links.push(relative(exe, text, draw));
    }
    links
}

/// An image with its arguments, from one text with holes.
pub fn relative(exe: &str, text: &str, draw: &mut Draw) -> Relative {
    let filled = draw.fill(text);
    // A title such as `sshd: ann@pts/0` is one argument.
    let argv = if filled.contains(": ") {
        vec![filled]
    } else {
        filled.split(' ').map(str::to_owned).collect()
    };
    Relative {
        exe: exe.to_owned(),
        argv,
        uid: None,
    }
}

/// Commands that talk to the network have connections.
fn connect(story: &mut Story, started: &[Vec<String>], draw: &mut Draw) {
    for argv in started {
        let port = match argv[0].rsplit('/').next().unwrap_or("") {
            "curl" | "wget" | "pip" | "pip3" | "npm" | "apt" | "apt-get" | "git" | "docker"
            | "aws" | "gcloud" | "yum" | "apk" => *draw.one(&[443, 443, 80, 8080]),
            "ssh" | "scp" | "rsync" | "sftp" | "sshpass" => 22,
            "nc" | "ncat" | "netcat" | "socat" | "openssl" => draw.port(),
            "psql" | "pg_dump" => 5432,
            "mysql" | "mysqldump" => 3306,
            _ => continue,
        };
        if draw.chance(0.6) {
            story.connections.push(outbound(draw.address(), port));
        }
    }
    if draw.chance(0.04) {
        let (address, port) = (draw.address(), draw.port());
        story.connections.push(outbound(address, port));
    }
}

/// An outbound TCP connection.
pub fn outbound(address: String, port: u16) -> Connection {
    Connection {
        direction: "out".to_owned(),
        protocol: "tcp".to_owned(),
        address,
        port,
        ..Connection::default()
    }
}

/// An inbound TCP connection.
pub fn inbound(address: String, port: u16) -> Connection {
    Connection {
        direction: "in".to_owned(),
        protocol: "tcp".to_owned(),
        address,
        port,
        ..Connection::default()
    }
}
