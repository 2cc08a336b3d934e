//! The eBPF sensor against real processes. Needs root and a kernel with BTF.

mod support;

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use cordon_behavior::story::StdioKind;
use cordon_sensor::{EventBody, Mode, Scope, SensorConfig};
use support::{DEADLINE, Groups, Watch, exec_of, mark, marked};

fn host() -> Watch {
    Watch::start(Scope::Host, Mode::Ebpf)
}

#[test]
fn exec_tells_arguments_place_user_and_descriptors() {
    let mut watch = host();
    let mark = mark("exec");
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().canonicalize().unwrap();
    let mut child = marked("/bin/sh", &mark)
        .arg("two words\n")
        .arg("")
        .current_dir(&directory)
        .uid(65534)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(directory.join("log")).unwrap())
        .spawn()
        .unwrap();
    child.wait().unwrap();
    let (event, exec) = watch.exec(&mark);
    assert_eq!(event.process.pid, child.id());
    assert_eq!(exec.argv, ["/bin/sh", "-c", ":", &mark, "two words\n", ""]);
    assert!(!exec.argv_truncated);
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    assert_eq!(exec.exe, shell.to_str().unwrap());
    assert_eq!(exec.cwd, directory.to_str().unwrap());
    assert_eq!((exec.uid, exec.euid), (65534, 65534));
    assert_eq!(
        exec.stdio,
        [StdioKind::Null, StdioKind::Pipe, StdioKind::File]
    );
    assert_eq!(exec.parent.unwrap().pid, std::process::id());
    assert!(!exec.deleted_exe && !exec.memfd && !exec.tty);
    assert!(event.cgroup_id != 0);
}

#[test]
fn fork_comes_before_exec_and_exit_tells_the_code() {
    let mut watch = host();
    let mark = mark("exit");
    let status = Command::new("/bin/sh")
        .args(["-c", "exit 7", &mark])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(7));
    let (exec, _) = watch.exec(&mark);
    let code = watch.wait("exit", |event| match event.body {
        EventBody::Exit { code, signal } if event.process == exec.process => Some((code, signal)),
        _ => None,
    });
    assert_eq!(code, (7, 0));
    let at = |is: &dyn Fn(&EventBody) -> bool| watch.seen.iter().position(|event| is(&event.body));
    let fork = at(&|body| matches!(body, EventBody::Fork { child } if *child == exec.process));
    let image = watch.seen.iter().position(|event| *event == exec);
    assert!(fork.unwrap() < image.unwrap());
    // `std` may fork from any thread: the parent is this process.
    assert_eq!(watch.seen[fork.unwrap()].process.pid, std::process::id());
}

#[test]
fn a_killed_process_ends_by_its_signal() {
    let mut watch = host();
    let mark = mark("kill");
    let mut child = Command::new("/bin/sh")
        .args(["-c", "kill -9 $$", &mark])
        .spawn()
        .unwrap();
    child.wait().unwrap();
    let (exec, _) = watch.exec(&mark);
    let signal = watch.wait("exit", |event| match event.body {
        EventBody::Exit { signal, .. } if event.process == exec.process => Some(signal),
        _ => None,
    });
    assert_eq!(signal, 9);
}

#[test]
fn an_internet_socket_is_told_from_a_local_one() {
    let mut watch = host();
    let mark = mark("stdio");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let inet = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (local, _other) = UnixStream::pair().unwrap();
    let mut child = marked("/bin/sh", &mark)
        .stdin(Stdio::from(OwnedFd::from(inet)))
        .stdout(Stdio::from(OwnedFd::from(local)))
        .spawn()
        .unwrap();
    child.wait().unwrap();
    let (_, exec) = watch.exec(&mark);
    assert_eq!(exec.stdio[..2], [StdioKind::Socket, StdioKind::UnixSocket]);
}

#[test]
fn a_closed_descriptor_and_a_terminal_are_told() {
    let mut watch = host();
    let mark = mark("tty");
    // `script` gives its child a terminal of its own.
    let line = format!("exec /bin/sh -c : {mark} 0<&-");
    let status = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let (_, exec) = watch.exec(&mark);
    assert!(exec.tty);
    assert_eq!(exec.stdio[..2], [StdioKind::Closed, StdioKind::Tty]);
}

#[test]
fn a_program_in_memory_is_told() {
    let mut watch = host();
    let mark = mark("memfd");
    let memory =
        nix::sys::memfd::memfd_create(c"payload", nix::sys::memfd::MFdFlags::empty()).unwrap();
    let mut file = File::from(memory);
    std::io::copy(&mut File::open("/bin/sh").unwrap(), &mut file).unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut child = marked(&path, &mark).spawn().unwrap();
    child.wait().unwrap();
    let (_, exec) = watch.exec(&mark);
    assert!(exec.memfd && !exec.deleted_exe);
    assert_eq!(exec.exe, "/memfd:payload");
}

#[test]
fn a_deleted_program_is_told() {
    let mut watch = host();
    let mark = mark("deleted");
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("gone");
    std::fs::copy("/bin/sh", &program).unwrap();
    let open = File::open(&program).unwrap();
    std::fs::remove_file(&program).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd());
    let mut child = marked(&path, &mark).spawn().unwrap();
    child.wait().unwrap();
    let (_, exec) = watch.exec(&mark);
    assert!(exec.deleted_exe && !exec.memfd);
    assert!(exec.exe.ends_with("/gone"), "{}", exec.exe);
}

#[test]
fn long_arguments_are_kept_to_the_bound_and_marked() {
    let mut watch = host();
    let mark = mark("long");
    let long = "x".repeat(20_000);
    let mut child = marked("/bin/sh", &mark).arg(&long).spawn().unwrap();
    child.wait().unwrap();
    let (_, exec) = watch.exec(&mark);
    assert!(exec.argv_truncated);
    let kept: usize = exec.argv.iter().map(|arg| arg.len() + 1).sum();
    assert!((4000..=4097).contains(&kept), "{kept}");
}

#[test]
fn the_snapshot_has_what_was_running_and_the_same_key_as_its_end() {
    let mark = mark("snapshot");
    let mut child = Command::new("/bin/sh")
        .args(["-c", "read line", &mark])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut watch = host();
    let (found, exec) = watch.exec_where("snapshot", |_, exec| exec.argv.last() == Some(&mark));
    assert!(exec.snapshot);
    assert_eq!(exec.stdio[0], StdioKind::Pipe);
    assert_eq!(exec.parent.unwrap().pid, std::process::id());
    drop(child.stdin.take());
    child.wait().unwrap();
    watch.wait("exit", |event| {
        let is_it = matches!(event.body, EventBody::Exit { .. });
        (is_it && event.process == found.process).then_some(())
    });
}

#[test]
fn a_full_ring_is_counted_and_told() {
    let mark = mark("loss");
    let first = mark.clone();
    let config = SensorConfig {
        scope: Scope::Host,
        mode: Mode::Ebpf,
        ring_bytes: 4096,
        ..SensorConfig::default()
    };
    let (sink, notices) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let sensor = cordon_sensor::Sensor::start(config, move |event| {
        let is_loss = matches!(event.body, EventBody::Loss { .. });
        let is_marked = exec_of(&event).is_some_and(|exec| exec.argv.contains(&mark));
        if is_loss || is_marked {
            sink.send(event).unwrap_or_default();
        }
        // The reader is held at the marked exec until the ring has overflowed.
        if is_marked {
            may_go_on.recv().unwrap_or_default();
        }
    })
    .unwrap();
    marked("/bin/sh", &first).status().unwrap();
    notices
        .recv_timeout(DEADLINE)
        .expect("the marked exec, or a loss");
    let long = "y".repeat(3000);
    let mut told = 0;
    for _ in 0..20 {
        Command::new("/bin/sh")
            .args(["-c", ":", &long])
            .status()
            .unwrap();
    }
    drop(go_on);
    while told == 0 {
        let event = notices.recv_timeout(DEADLINE).expect("a loss event");
        if let EventBody::Loss { source, count } = event.body {
            assert!(source.starts_with("ring/"), "{source}");
            told += count;
        }
    }
    assert!(sensor.counters().lost >= told);
}

#[test]
fn a_cgroup_scope_sees_its_own_and_no_others() {
    let name = mark("cgroup");
    let groups = Groups::make(&name, &["below"]);
    let mut watch = Watch::start(Scope::Cgroup(name.into()), Mode::Ebpf);
    let outside = mark("outside");
    marked("/bin/sh", &outside).status().unwrap();
    let inside = mark("inside");
    groups.run("below", &format!("exec /bin/sh -c : {inside}"));
    let (event, _) = watch.exec(&inside);
    assert!(event.cgroup_id != 0);
    let is_outside = |event| exec_of(event).is_some_and(|exec| exec.argv.contains(&outside));
    assert!(!watch.seen.iter().any(is_outside));
}
