//! What is left where the kernel or the rights do not give everything, on hosts made that way: without
//! BTF, and in a container with the rights that containers usually have. Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::process::{Command, Stdio};

use cordon_sensor::{CLASSES, EventBody, Mode, Scope};
use support::{Watch, mark};

/// What docker, containerd and podman leave a container by default.
const CONTAINER_RIGHTS: &str = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,\
                                +setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap";

/// Runs an ignored test of this program behind other commands.
fn again(test: &str, behind: &[&str]) {
    let status = Command::new(behind[0])
        .args(&behind[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .status()
        .unwrap();
    assert!(status.success());
}

/// A program that lives until it was seen.
fn sees_a_program(watch: &mut Watch) {
    let mark = mark("reduced");
    let mut child = Command::new("/bin/sh")
        .args(["-c", "read line", &mark])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let (event, exec) = watch.exec(&mark);
    assert_eq!(event.process.pid, child.id());
    assert_eq!(exec.parent.unwrap().pid, std::process::id());
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// Each class has its row, and one that is not seen in full says what is missing.
fn is_honest(watch: &Watch, seen: &[&str]) {
    let classes = watch.sensor.coverage().iter().map(|row| row.class);
    assert!(classes.eq(CLASSES));
    for row in watch.sensor.coverage() {
        assert!(row.covered || row.why.is_some(), "{row:?}");
        assert_eq!(row.covered, seen.contains(&row.class), "{row:?}");
    }
}

#[test]
fn without_btf_what_needs_no_ebpf_is_still_seen() {
    let hide = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    again("no_btf", &["unshare", "--mount", "sh", "-c", hide, "sh"]);
}

#[test]
#[ignore = "run by the test above, on a kernel that shows no BTF"]
fn no_btf() {
    let mut watch = Watch::start(Scope::Host, Mode::Auto);
    assert_eq!(watch.sensor.mode(), Mode::Proc);
    let reason = watch.sensor.fallback_reason().unwrap().to_owned();
    assert!(reason.contains("/sys/kernel/btf/vmlinux"), "{reason}");
    let why = watch.row("accept").why.as_ref().unwrap();
    assert!(why.contains(&reason), "{why}");
    is_honest(
        &watch,
        &[
            "exec",
            "fork",
            "exit",
            "snapshot",
            "credential",
            "namespace",
            "ptrace",
            "executable_memory",
            "bpf",
            "mount",
            "connect",
            "listen",
            "file",
            "file_rates",
            "login",
        ],
    );
    sees_a_program(&mut watch);
    let mut child = Command::new("unshare")
        .args(["--uts", "sh", "-c", "read line"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    watch.wait("namespace", |event| match event.body {
        EventBody::Namespace { changed } if event.process.pid == pid => changed.uts.then_some(()),
        _ => None,
    });
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn in_a_container_the_sensor_sees_what_proc_tells_and_claims_no_more() {
    let rights = format!("--bounding-set={CONTAINER_RIGHTS}");
    again(
        "contained",
        &[
            "unshare",
            "--pid",
            "--mount",
            "--net",
            "--uts",
            "--ipc",
            "--cgroup",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "setpriv",
            &rights,
            "--inh-caps=-all",
        ],
    );
}

#[test]
#[ignore = "run by the test above, in namespaces of its own and with a container's rights"]
fn contained() {
    let mut watch = Watch::start(Scope::Host, Mode::Auto);
    assert_eq!(watch.sensor.mode(), Mode::Proc);
    let reason = watch.sensor.fallback_reason().unwrap();
    assert!(reason.contains("CAP_BPF"), "{reason}");
    assert_eq!(watch.row("exec").source, "/proc, polled");
    is_honest(
        &watch,
        &[
            "exec",
            "fork",
            "exit",
            "snapshot",
            "credential",
            "connect",
            "listen",
            "mount",
            "login",
        ],
    );
    sees_a_program(&mut watch);
}

/// The kernel refuses the programs of sockets, and takes the others.
#[test]
fn without_the_programs_of_sockets_the_others_see_on() {
    let rights = "-net_admin,-sys_admin";
    let bounds = format!("--bounding-set={rights}");
    let inherited = format!("--inh-caps={rights}");
    again("no_sockets", &["setpriv", &bounds, &inherited]);
}

#[test]
#[ignore = "run by the test above, without the rights for programs of sockets"]
fn no_sockets() {
    let mut watch = Watch::start(Scope::Host, Mode::Ebpf);
    for class in ["udp", "dns", "raw_socket"] {
        let row = watch.row(class);
        assert!(!row.covered, "{row:?}");
        let (why, remedy) = (row.why.as_ref().unwrap(), row.remedy.as_ref().unwrap());
        assert!(why.contains("refuses a program of sockets"), "{row:?}");
        assert!(remedy.contains("CAP_NET_ADMIN"), "{row:?}");
    }
    for class in ["listen", "snapshot"] {
        let row = watch.row(class);
        assert!(row.covered && row.why.is_some(), "{row:?}");
    }
    sees_a_program(&mut watch);
}
