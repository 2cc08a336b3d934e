//! Administration over ssh.

use cordon_behavior::story::{Connection, Relative, StdioKind, Story};

use super::super::draw::Draw;
use super::super::dress::{image, inbound, outbound, relative};
use super::tables::CHORES;
use super::{chores, links, process};

fn ssh_server(draw: &mut Draw) -> (Vec<Relative>, Vec<Connection>) {
    let chains: [&[(&str, &str)]; 4] = [
        &[
            ("/usr/sbin/sshd", "sshd: {u}@pts/0"),
            ("/usr/sbin/sshd", "sshd: {u} [priv]"),
            ("/usr/sbin/sshd", "/usr/sbin/sshd -D"),
        ],
        &[
            ("/usr/sbin/dropbear", "/usr/sbin/dropbear -F -E -R -p {p}"),
            ("/usr/sbin/dropbear", "/usr/sbin/dropbear -F -E -R -p {p}"),
        ],
        &[
            ("/usr/sbin/dropbear", "dropbear -R -F"),
            ("/usr/sbin/dropbear", "dropbear -R -F"),
            ("/usr/lib/systemd/systemd", "/sbin/init"),
        ],
        &[
            ("/usr/lib/openssh/sshd-session", "sshd-session: {u}@pts/2"),
            ("/usr/sbin/sshd", "/usr/sbin/sshd -D"),
        ],
    ];
    let chain = *draw.one(&chains);
    let port = *draw.one(&[22, 22, 22, 2222, 2022, 22_022]);
    let connections = if draw.chance(0.7) {
        vec![inbound(draw.address(), port)]
    } else {
        Vec::new()
    };
    (links(chain, draw), connections)
}

/// Somebody logged in over ssh.
pub(super) fn login(draw: &mut Draw) -> Story {
    let (ancestors, mut connections) = ssh_server(draw);
    let (exe, text) = *draw.one(&[
        ("/bin/bash", "-bash"),
        ("/bin/sh", "-sh"),
        ("/bin/bash", "bash"),
        ("/usr/bin/zsh", "-zsh"),
        ("/bin/bash", "bash|-i"),
        ("/bin/sh", "sh|-i"),
    ]);
    let kind = *draw.one(&[
        StdioKind::Tty,
        StdioKind::Tty,
        StdioKind::Tty,
        StdioKind::Pipe,
    ]);
    let own = process(exe, text, [kind; 3], draw);
    if draw.chance(0.3) {
        connections.push(outbound(
            draw.address(),
            *draw.one(&[443, 22, 80, 5432, 53]),
        ));
    }
    Story {
        process: Some(own),
        ancestors,
        children: chores(draw, 10),
        connections,
        ..Story::default()
    }
}

/// `ssh host command`: no terminal.
pub(super) fn remote_command(draw: &mut Draw) -> Story {
    let (ancestors, connections) = ssh_server(draw);
    let kind = *draw.one(&[
        StdioKind::Pipe,
        StdioKind::UnixSocket,
        StdioKind::UnixSocket,
    ]);
    let chore = draw.pick(&CHORES).to_owned();
    let text = format!(
        "{}|-c|{chore}",
        draw.pick(&["bash", "sh", "-sh", "/bin/sh"])
    );
    let own = process(draw.pick(&["/bin/bash", "/bin/sh"]), &text, [kind; 3], draw);
    let children = vec![relative(
        &image(chore.split(' ').next().unwrap_or("ls"), draw),
        &chore,
        draw,
    )];
    Story {
        process: Some(own),
        ancestors,
        children,
        connections,
        ..Story::default()
    }
}
