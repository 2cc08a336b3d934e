//! The `/proc` fallback, by connector and by poll. Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::net::TcpListener;
use std::process::{Command, Stdio};

use cordon_behavior::event::Protocol;
use cordon_behavior::story::StdioKind;
use cordon_sensor::{Coverage, EventBody, Mode, Scope, Sensor, SensorConfig, SensorError};
use support::{Watch, mark};

fn sees_a_process_come_and_go(scope: Scope) {
    let mut watch = Watch::start(scope, Mode::Proc);
    assert_eq!(watch.sensor.mode(), Mode::Proc);
    let mark = mark("proc");
    let mut child = Command::new("/bin/sh")
        .args(["-c", "read line", &mark])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let (event, exec) = watch.exec(&mark);
    assert_eq!(event.process.pid, child.id());
    assert_eq!(exec.stdio[0], StdioKind::Pipe);
    assert_eq!(exec.parent.unwrap().pid, std::process::id());
    drop(child.stdin.take());
    child.wait().unwrap();
    watch.wait("exit", |seen| {
        let is_exit = matches!(seen.body, EventBody::Exit { .. });
        (is_exit && seen.process == event.process).then_some(())
    });
}

#[test]
fn the_fallback_sees_a_process_come_and_go() {
    sees_a_process_come_and_go(Scope::Host);
}

#[test]
fn inside_a_namespace_the_fallback_polls() {
    let status = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "inner", "--ignored", "--nocapture"])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "the inner half: run by the test above in a namespace of its own"]
fn inner() {
    sees_a_process_come_and_go(Scope::PidNamespace);
}

#[test]
fn the_fallbacks_snapshot_has_this_process() {
    let mut watch = Watch::start(Scope::Host, Mode::Proc);
    let own = std::env::current_exe().unwrap();
    watch.exec_where("snapshot", |event, exec| {
        let is_own = event.process.pid == std::process::id();
        is_own && exec.snapshot && own.to_str() == Some(exec.exe.as_str())
    });
}

/// connect and listen, while they last; IPv4 and IPv6.
#[test]
fn the_fallback_sees_connections_and_listeners_that_last() {
    let mut watch = Watch::start(Scope::Host, Mode::Proc);
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(host).unwrap();
        let address = listener.local_addr().unwrap();
        let mut child = Command::new("bash")
            .args(["-c", "exec 3<>/dev/tcp/$0/$1; read line"])
            .args([address.ip().to_string(), address.port().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = watch.wait("connect", |event| match event.body {
            EventBody::Connect { remote } if remote == address => Some(event.process.pid),
            _ => None,
        });
        assert_eq!(pid, child.id());
        let tcp = Protocol::Tcp;
        let pid = watch.wait("listen", |event| match event.body {
            EventBody::Listen { local, protocol } if (local, protocol) == (address, tcp) => {
                Some(event.process.pid)
            }
            _ => None,
        });
        assert_eq!(pid, std::process::id());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn the_fallback_says_what_it_misses() {
    let watch = Watch::start(Scope::Host, Mode::Proc);
    let in_part = ["exec", "connect", "listen"].map(|class| (class, true));
    let not = ["accept", "close", "udp", "dns", "raw_socket"].map(|class| (class, false));
    for (class, covered) in in_part.into_iter().chain(not) {
        let row = watch.row(class);
        assert_eq!(row.covered, covered, "{row:?}");
        assert!(row.why.is_some() && row.remedy.is_some(), "{row:?}");
    }
}

#[test]
fn what_is_not_covered_says_why_and_what_would_mend_it() {
    let rows: Vec<Coverage> = Sensor::probe(&SensorConfig::default());
    for row in rows.iter().filter(|row| !row.covered) {
        assert!(row.why.is_some(), "{row:?}");
        // A kernel without loadable modules has nothing to mend.
        assert!(row.remedy.is_some() || row.class == "module", "{row:?}");
    }
    assert!(rows.iter().any(|row| row.class == "exec" && row.covered));
}

#[test]
fn without_rights_auto_falls_back_and_says_why() {
    let status = Command::new("setpriv")
        .args([
            "--bounding-set=-all",
            "--inh-caps=-all",
            "--reuid=65534",
            "--clear-groups",
            "--",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "unprivileged", "--ignored", "--nocapture"])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "run by the test above without rights"]
fn unprivileged() {
    let watch = Watch::start(Scope::Host, Mode::Auto);
    assert_eq!(watch.sensor.mode(), Mode::Proc);
    let reason = watch.sensor.fallback_reason().unwrap();
    assert!(reason.contains("CAP_BPF"), "{reason}");
    let config = SensorConfig {
        mode: Mode::Ebpf,
        ..SensorConfig::default()
    };
    assert!(matches!(
        Sensor::start(config, |_| {}),
        Err(SensorError::Ebpf { .. })
    ));
}

#[test]
fn a_cgroup_that_is_not_there_and_one_without_ebpf_are_errors() {
    let start = |mode| {
        Sensor::start(
            SensorConfig {
                scope: Scope::Cgroup("no/such/group".into()),
                mode,
                ..SensorConfig::default()
            },
            |_| {},
        )
    };
    assert!(matches!(start(Mode::Ebpf), Err(SensorError::Cgroup { .. })));
    assert!(matches!(
        start(Mode::Proc),
        Err(SensorError::CgroupNeedsEbpf)
    ));
}
