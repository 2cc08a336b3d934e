//! From the kernel to the story: the connection of a harmless reverse shell is in its shell's story.
//! Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::net::TcpListener;
use std::process::Command;

use cordon_behavior::story::{StdioKind, Story};
use cordon_behavior::{Behavior, Limits};
use cordon_sensor::{Mode, Scope};
use support::{DEADLINE, Watch, mark, marked};

/// Runs a shell line that ends in `/bin/sh -c : MARK` on a socket, and answers that shell's story.
fn story_of(program: &str, line: &dyn Fn(&str, u16, &str) -> String) -> (Story, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mark = mark("reverse");
    let mut watch = Watch::start(Scope::Host, Mode::Ebpf);
    let line = line("127.0.0.1", port, &mark);
    let flag = if program == "bash" { "-c" } else { "-e" };
    let status = Command::new(program).args([flag, &line]).status().unwrap();
    assert!(status.success());
    let (shell, _) = watch.exec(&mark);
    let mut graph = Behavior::new(Limits::default());
    for event in &watch.seen {
        graph.apply(event);
    }
    (graph.story(shell.process).unwrap(), port)
}

fn check(story: &Story, port: u16, maker: &str) {
    let process = story.process.as_ref().unwrap();
    let stdio = [process.stdin, process.stdout];
    assert_eq!(stdio, [StdioKind::Socket; 2], "{story:?}");
    let made = story.ancestors.iter().any(|one| one.exe.contains(maker));
    assert!(made, "{story:?}");
    let connection = story.connections.iter().find(|one| one.port == port);
    assert_eq!(connection.unwrap().address, "127.0.0.1");
}

#[test]
fn bash_redirects_a_shell_to_a_socket() {
    let (story, port) = story_of("bash", &|host, port, mark| {
        format!("/bin/sh -c : {mark} >&/dev/tcp/{host}/{port} 0>&1; true")
    });
    check(&story, port, "bash");
}

#[test]
fn perl_connects_and_becomes_the_shell() {
    let (story, port) = story_of("perl", &|host, port, mark| {
        format!(
            "use Socket; socket(S,PF_INET,SOCK_STREAM,0); \
             connect(S,sockaddr_in({port},inet_aton('{host}'))) or die; \
             open(STDIN,'<&S'); open(STDOUT,'>&S'); exec '/bin/sh','-c',':','{mark}'"
        )
    });
    check(&story, port, "perl");
}

#[test]
fn perl_connects_and_forks_the_shell() {
    let (story, port) = story_of("perl", &|host, port, mark| {
        format!(
            "use Socket; socket(S,PF_INET,SOCK_STREAM,0); \
             connect(S,sockaddr_in({port},inet_aton('{host}'))) or die; \
             open(STDIN,'<&S'); open(STDOUT,'>&S'); \
             system '/bin/sh','-c',':','{mark}'"
        )
    });
    check(&story, port, "perl");
}

/// The way from the kernel's stamp to the callback is a small part of the 20 ms that exec to
/// isolation may take; the median forgives a busy machine, not a slow design.
#[test]
fn an_exec_reaches_the_callback_within_milliseconds() {
    let (sink, delays) = std::sync::mpsc::channel();
    let mark = mark("delay");
    let wanted = mark.clone();
    let sensor = cordon_sensor::Sensor::start(
        cordon_sensor::SensorConfig {
            mode: Mode::Ebpf,
            ..Default::default()
        },
        move |event| {
            if support::exec_of(&event).is_some_and(|exec| exec.argv.contains(&wanted)) {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let now_ns = now.unwrap().as_nanos() as i64;
                sink.send(now_ns - event.wall_ns.cast_signed())
                    .unwrap_or_default();
            }
        },
    )
    .unwrap();
    let began = std::time::Instant::now();
    for _ in 0..41 {
        marked("/bin/sh", &mark).status().unwrap();
    }
    // Where a shell itself takes longer, as on an emulated machine, no more than that.
    let shell_ns = began.elapsed().as_nanos() as i64 / 41;
    let mut delays: Vec<i64> = (0..41)
        .map(|_| delays.recv_timeout(DEADLINE).unwrap())
        .collect();
    delays.sort_unstable();
    eprintln!("exec to callback: median {} us", delays[20] / 1000);
    assert!(delays[20] < shell_ns.max(10_000_000), "{delays:?}");
    drop(sensor);
}
