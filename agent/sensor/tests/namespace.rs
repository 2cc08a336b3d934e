//! A sensor inside a PID namespace sees that namespace, and nothing outside it. Needs root.
//!
//! The test runs itself again inside `unshare --pid --fork --mount-proc`: the outer half makes noise
//! that must not arrive, the inner half watches.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use cordon_sensor::{EventBody, Mode, Scope};
use support::{Watch, exec_of, mark, marked};

const OUTSIDE: &str = "CORDON_TEST_OUTSIDE";

/// Connects from a child, so that the event names another process than the test.
fn connect(address: SocketAddr) -> u32 {
    let line = format!("exec 3<>/dev/tcp/{}/{}", address.ip(), address.port());
    let mut child = Command::new("bash").args(["-c", &line]).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    child.id()
}

#[test]
fn outside_is_not_seen_from_inside() {
    let outside = mark("outside");
    let mut noise = Command::new("/bin/sh")
        .args(["-c", "while :; do /bin/true \"$0\"; done", &outside])
        .spawn()
        .unwrap();
    let mut inner = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "inner", "--ignored", "--nocapture"])
        .env(OUTSIDE, &outside)
        .spawn()
        .unwrap();
    let status = inner.wait().unwrap();
    noise.kill().unwrap();
    noise.wait().unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "the inner half: run by the test above in a namespace of its own"]
fn inner() {
    let outside = std::env::var(OUTSIDE).unwrap();
    let mut watch = Watch::start(Scope::PidNamespace, Mode::Ebpf);
    let listeners = [
        TcpListener::bind("127.0.0.1:0").unwrap(),
        TcpListener::bind("[::1]:0").unwrap(),
    ];
    for listener in &listeners {
        let address = listener.local_addr().unwrap();
        let pid = connect(address);
        let remote = watch.wait("connect", |event| match event.body {
            EventBody::Connect { remote } if event.process.pid == pid => Some(remote),
            _ => None,
        });
        assert_eq!(remote, address);
    }
    nested(&mut watch);
    let last = mark("last");
    marked("/bin/sh", &last).status().unwrap();
    let (event, exec) = watch.exec(&last);
    // In here pids are small: this test is the first process or near it.
    assert!(event.process.pid < 1000, "{event:?}");
    assert_eq!(exec.parent.unwrap().pid, std::process::id());
    let is_outside = |event| exec_of(event).is_some_and(|exec| exec.argv.contains(&outside));
    assert!(!watch.seen.iter().any(is_outside));
    let snapshot = watch
        .seen
        .iter()
        .filter_map(exec_of)
        .filter(|exec| exec.snapshot);
    assert!(snapshot.count() < 10);
}

/// A container inside the scope is in scope, with its pids as the scope sees them.
fn nested(watch: &mut Watch) {
    let name = mark("nested");
    let mut child = Command::new("unshare")
        .args(["--pid", "--fork", "/bin/sh", "-c", ":", &name])
        .spawn()
        .unwrap();
    child.wait().unwrap();
    let (event, _) = watch.exec_where("exec in the nested namespace", |_, exec| {
        exec.argv.len() == 4 && exec.argv[3] == name
    });
    assert!(event.process.pid > child.id(), "{event:?}");
}
