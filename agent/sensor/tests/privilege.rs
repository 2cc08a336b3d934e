//! Privileges, namespaces, code made in memory, mounts and logins, each really caused. Needs root.
// Long because each class has its acts beside it, and they share the table.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use cordon_behavior::event::{Credentials, Event, EventBody, Login, LoginMethod, Namespaces};
use cordon_sensor::{LoginFiles, Mode, ProcessKey, Scope, SensorConfig, UTMP_BYTES};
use libbpf_rs::libbpf_sys;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, Uid, setuid};
use support::Watch;
use tempfile::TempDir;

const NOBODY: u32 = 65534;

type Row = (&'static str, fn(&mut Watch));

/// Each class and what causes it here.
const ROWS: &[Row] = &[
    ("namespace", unshare_leaves_a_namespace),
    ("namespace", setns_enters_a_namespace),
    ("namespace", clone_makes_a_namespace),
    ("executable_memory", written_memory_becomes_code),
    ("executable_memory", memory_is_code_and_writable),
    ("executable_memory", memfd_becomes_code),
    ("bpf", program_is_loaded),
    ("credential", setuid_drops_root),
    ("credential", set_uid_program_raises),
    ("ptrace", tracer_attaches),
    ("ptrace", child_asks_to_be_traced),
    ("module", modules_are_told_where_there_are_any),
    ("mount", mount_and_unmount),
    ("login", session_in_wtmp),
    ("login", failure_in_btmp),
    ("login", lines_of_the_log),
];

/// A child that runs `act` and then waits to be killed, so that a late reader still finds it.
fn doing(act: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static) -> Doer {
    let mut command = Command::new("/bin/cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    // SAFETY: the acts here call only what a forked child may.
    unsafe { command.pre_exec(act) };
    Doer(command.spawn().unwrap())
}

struct Doer(Child);

impl Doer {
    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Doer {
    fn drop(&mut self) {
        // `cat` ends with its input.
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Waits for an event of `pid` for which `is` holds.
fn told(watch: &mut Watch, what: &str, pid: u32, is: impl Fn(&EventBody) -> bool) -> Event {
    watch.wait(what, |event| {
        (event.process.pid == pid && is(&event.body)).then(|| event.clone())
    })
}

fn changed(watch: &mut Watch, pid: u32) -> Namespaces {
    watch.wait("namespace", |event| match event.body {
        EventBody::Namespace { changed } if event.process.pid == pid => Some(changed),
        _ => None,
    })
}

/// Class `namespace`.
fn unshare_leaves_a_namespace(watch: &mut Watch) {
    let doer = doing(|| {
        Ok(unshare(
            CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWNET,
        )?)
    });
    let expected = Namespaces {
        uts: true,
        net: true,
        ..Namespaces::default()
    };
    assert_eq!(changed(watch, doer.pid()), expected);
    let key = watch.wait("namespace", |event| {
        let is = event.class() == "namespace" && event.process.pid == doer.pid();
        is.then_some(event.process)
    });
    assert!(key.start_ns > 0, "{key:?}");
}

/// Class `namespace`.
fn setns_enters_a_namespace(watch: &mut Watch) {
    let other = doing(|| Ok(unshare(CloneFlags::CLONE_NEWIPC)?));
    let namespace = File::open(format!("/proc/{}/ns/ipc", other.pid())).unwrap();
    let doer = doing(move || Ok(setns(&namespace, CloneFlags::CLONE_NEWIPC)?));
    let expected = Namespaces {
        ipc: true,
        ..Namespaces::default()
    };
    assert_eq!(changed(watch, doer.pid()), expected);
}

/// Class `namespace`.
fn clone_makes_a_namespace(watch: &mut Watch) {
    // The parent's unshare leaves it where it is: its first child is in the new namespace.
    let mut child = Command::new("unshare")
        .args(["--pid", "--fork", "/bin/true"])
        .spawn()
        .unwrap();
    let parent = child.id();
    assert!(child.wait().unwrap().success());
    let made = watch.wait("fork", |event| match event.body {
        EventBody::Fork { child } if event.process.pid == parent => Some(child),
        _ => None,
    });
    let expected = Namespaces {
        pid: true,
        ..Namespaces::default()
    };
    assert_eq!(changed(watch, made.pid), expected);
}

fn map(protection: i32, flags: i32, fd: i32) -> *mut libc::c_void {
    // SAFETY: the kernel picks a free place, so no memory of ours is touched.
    unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, fd, 0) }
}

fn protect(page: *mut libc::c_void, protection: i32) -> std::io::Result<()> {
    // SAFETY: the page was mapped by `map`, and nothing lies in it.
    if unsafe { libc::mprotect(page, 4096, protection) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
const EXECUTE: i32 = libc::PROT_READ | libc::PROT_EXEC;

/// Class `executable_memory`.
fn written_memory_becomes_code(watch: &mut Watch) {
    let doer = doing(|| {
        let page = map(WRITE, ANONYMOUS, -1);
        for _ in 0..3 {
            protect(page, WRITE)?;
            protect(page, EXECUTE)?;
        }
        Ok(())
    });
    let is = |body: &EventBody| matches!(body, EventBody::ExecutableMemory { path, writable: false } if path == "//anon");
    told(watch, "code made in memory", doer.pid(), is);
    let pid = doer.pid();
    // What comes later comes after it, so a second one would be here.
    written_once_more(watch);
    let same = |event: &&Event| event.process.pid == pid && is(&event.body);
    assert_eq!(watch.seen.iter().filter(same).count(), 1);
}

fn written_once_more(watch: &mut Watch) {
    let doer = doing(|| {
        let page = map(WRITE, ANONYMOUS, -1);
        protect(page, EXECUTE)
    });
    told(watch, "code made in memory", doer.pid(), |body| {
        matches!(body, EventBody::ExecutableMemory { .. })
    });
}

/// Class `executable_memory`.
fn memory_is_code_and_writable(watch: &mut Watch) {
    let doer = doing(|| {
        map(WRITE | libc::PROT_EXEC, ANONYMOUS, -1);
        Ok(())
    });
    told(
        watch,
        "writable code",
        doer.pid(),
        |body| matches!(body, EventBody::ExecutableMemory { path, writable: true } if path == "//anon"),
    );
}

/// Class `executable_memory`.
fn memfd_becomes_code(watch: &mut Watch) {
    let doer = doing(|| {
        let file = memfd_create(c"stage", MFdFlags::empty())?;
        map(EXECUTE, libc::MAP_PRIVATE, file.as_raw_fd());
        Ok(())
    });
    told(
        watch,
        "code in a memfd",
        doer.pid(),
        |body| matches!(body, EventBody::ExecutableMemory { path, writable: false } if path == "/memfd:stage"),
    );
}

/// Class `bpf`.
fn program_is_loaded(watch: &mut Watch) {
    let _program = load_program();
    told(watch, "BPF program", std::process::id(), |body| {
        matches!(body, EventBody::Bpf { id, name, program_type }
            if *id > 0 && name == "cordon_test" && program_type == "socket_filter")
    });
}

fn load_program() -> OwnedFd {
    let answer_0 = libbpf_sys::bpf_insn {
        code: 0xb7,
        ..Default::default()
    };
    let exit = libbpf_sys::bpf_insn {
        code: 0x95,
        ..Default::default()
    };
    let instructions = [answer_0, exit];
    // SAFETY: all pointers are to live values, and the count is theirs.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_SOCKET_FILTER,
            c"cordon_test".as_ptr(),
            c"GPL".as_ptr(),
            instructions.as_ptr(),
            instructions.len() as _,
            std::ptr::null_mut(),
        )
    };
    assert!(fd > 0, "{}", std::io::Error::last_os_error());
    // SAFETY: just made, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn credentials(watch: &mut Watch, pid: u32, euid: u32) -> Credentials {
    watch.wait("credential", |event| match &event.body {
        EventBody::Credential(now) if event.process.pid == pid && now.euid == euid => Some(**now),
        _ => None,
    })
}

/// Class `credential`.
fn setuid_drops_root(watch: &mut Watch) {
    let doer = doing(|| Ok(setuid(Uid::from_raw(NOBODY))?));
    let now = credentials(watch, doer.pid(), NOBODY);
    assert_eq!((now.old_euid, now.uid), (Some(0), NOBODY));
}

/// Class `credential`.
fn set_uid_program_raises(watch: &mut Watch) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("raise");
    std::fs::copy("/bin/cat", &program).unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    mode(directory.path(), 0o755);
    mode(&program, 0o4755);
    // The first image is nobody's, the second root's.
    let line = format!("exec {}", program.display());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &line]).uid(NOBODY);
    let doer = Doer(
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let now = credentials(watch, doer.pid(), 0);
    assert_eq!((now.old_euid, now.uid), (Some(NOBODY), NOBODY));
}

fn trace(request: libc::c_uint, pid: u32) {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: none of the requests here reads or writes memory of ours.
    let code = unsafe { libc::ptrace(request, pid.cast_signed(), nothing, nothing) };
    assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
}

fn is_traced(watch: &mut Watch, pid: u32) {
    let target = told(
        watch,
        "trace",
        std::process::id(),
        |body| matches!(body, EventBody::Ptrace { target } if target.pid == pid),
    );
    let EventBody::Ptrace { target } = target.body else {
        unreachable!("just matched");
    };
    assert!(target.start_ns > 0);
}

/// Class `ptrace`.
fn tracer_attaches(watch: &mut Watch) {
    let doer = doing(|| Ok(()));
    let pid = Pid::from_raw(doer.pid().cast_signed());
    trace(libc::PTRACE_ATTACH, doer.pid());
    waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
    trace(libc::PTRACE_DETACH, doer.pid());
    is_traced(watch, doer.pid());
    // By several sources, but once.
    setuid_drops_root(watch);
    let again = |event: &&Event| matches!(event.body, EventBody::Ptrace { target } if target.pid == doer.pid());
    assert_eq!(watch.seen.iter().filter(again).count(), 1);
}

/// Class `ptrace`.
fn child_asks_to_be_traced(watch: &mut Watch) {
    let doer = doing(|| {
        trace(libc::PTRACE_TRACEME, 0);
        Ok(())
    });
    // It stops at its exec.
    let pid = Pid::from_raw(doer.pid().cast_signed());
    waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
    trace(libc::PTRACE_DETACH, doer.pid());
    is_traced(watch, doer.pid());
}

/// Class `module`. Loading one would change the machine for everybody, so where modules can be loaded
/// at all this only holds the sensor to its word.
fn modules_are_told_where_there_are_any(watch: &mut Watch) {
    let row = watch.row("module");
    assert_eq!(row.source, "tp_btf/module_load");
    assert_eq!(row.covered, Path::new("/proc/modules").exists());
    assert_eq!(row.covered, row.why.is_none(), "{row:?}");
}

/// Class `mount`.
fn mount_and_unmount(watch: &mut Watch) {
    let names_who = names_who_mounts();
    let row = watch.row("mount").clone();
    assert_eq!(row.source == "fanotify", names_who, "{row:?}");
    let place = tempfile::tempdir().unwrap();
    let path = place.path().canonicalize().unwrap();
    for (program, attached) in [("mount", true), ("umount", false)] {
        let arguments: &[&str] = if attached {
            &["-t", "tmpfs", "none"]
        } else {
            &[]
        };
        let mut child = Command::new(program)
            .args(arguments)
            .arg(&path)
            .spawn()
            .unwrap();
        let pid = child.id();
        assert!(child.wait().unwrap().success());
        let by = watch.wait(program, |event| {
            let expected = EventBody::Mount {
                path: path.to_str()?.into(),
                attached,
                fs_type: "tmpfs".into(),
            };
            (event.body == expected).then_some(event.process)
        });
        // Where the kernel says who, the stream says when that one started.
        if names_who {
            assert!(by.pid == pid && by.start_ns > 0, "{by:?}");
        } else {
            assert!(by == ProcessKey::NONE && row.remedy.is_some(), "{by:?}");
        }
    }
}

/// Whether the kernel tells of mounts by fanotify, by trying: since Linux 6.15.
fn names_who_mounts() -> bool {
    const FAN_REPORT_MNT: u32 = 0x4000;
    // SAFETY: no pointers; the result is checked before use, and nobody else owns the descriptor.
    unsafe {
        let group = libc::fanotify_init(FAN_REPORT_MNT | libc::FAN_CLOEXEC, 0);
        (group >= 0).then(|| OwnedFd::from_raw_fd(group)).is_some()
    }
}

fn record(kind: u8, line: &str, user: &str, host: &str) -> Vec<u8> {
    let mut bytes = vec![0; UTMP_BYTES];
    bytes[0] = kind;
    bytes[4..8].copy_from_slice(&std::process::id().to_ne_bytes());
    for (at, text) in [(8, line), (44, user), (76, host)] {
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    bytes
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(bytes).unwrap();
}

fn login(watch: &mut Watch, user: &str) -> (Event, Login) {
    watch.wait("login", |event| match &event.body {
        EventBody::Login(login) if login.user == user => Some((event.clone(), (**login).clone())),
        _ => None,
    })
}

/// Class `login`.
fn session_in_wtmp(watch: &mut Watch) {
    let folder = LOGINS.path();
    append(
        &folder.join("wtmp"),
        &record(7, "pts/9", "ada", "192.0.2.7"),
    );
    let (event, told) = login(watch, "ada");
    assert!(told.success && told.method == LoginMethod::Ssh && told.from == "192.0.2.7");
    assert_eq!(event.process.pid, std::process::id());
}

/// Class `login`.
fn failure_in_btmp(watch: &mut Watch) {
    // It does not exist before.
    append(
        &LOGINS.path().join("btmp"),
        &record(6, "ssh:notty", "eve", "2001:db8::7"),
    );
    let (_, told) = login(watch, "eve");
    assert!(!told.success && told.from == "2001:db8::7", "{told:?}");
}

/// Class `login`.
fn lines_of_the_log(watch: &mut Watch) {
    let log = LOGINS.path().join("auth.log");
    append(
        &log,
        b"Nov 25 19:20:31 web1 sshd[1]: Accepted publickey for bob from 192.0.2.8 port 7 ssh2\n",
    );
    let (_, told) = login(watch, "bob");
    assert!(told.success && told.from == "192.0.2.8");
    std::fs::rename(&log, LOGINS.path().join("auth.log.1")).unwrap();
    append(
        &log,
        b"2026-11-25T19:20:31+00:00 web1 su[2]: FAILED SU (to root) bob on pts/1\n",
    );
    let (_, told) = login(watch, "root");
    assert!(!told.success && told.method == LoginMethod::Su && told.tty == "pts/1");
}

/// The files that the sensors here read logins from.
static LOGINS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    for name in ["wtmp", "auth.log"] {
        append(&folder.path().join(name), b"");
    }
    folder
});

fn start(scope: Scope, mode: Mode) -> Watch {
    let folder = LOGINS.path();
    Watch::with(SensorConfig {
        scope,
        mode,
        logins: LoginFiles {
            sessions: folder.join("wtmp"),
            failures: folder.join("btmp"),
            logs: vec![folder.join("auth.log")],
        },
        ..SensorConfig::default()
    })
}

/// Runs one of the ignored tests below, in namespaces where its mounts harm nobody.
fn run_in_namespaces(options: &[&str], test: &str) {
    let status = Command::new("unshare")
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Every row, by a sensor that watches the host.
#[test]
fn each_action_is_told_of() {
    run_in_namespaces(&["--mount"], "on_the_host");
}

/// Every row again, by a sensor in a PID namespace of its own.
#[test]
fn each_action_in_a_namespace_is_told_of() {
    let options = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    run_in_namespaces(&options, "inside");
}

#[test]
#[ignore = "run by the test above, in a mount namespace of its own"]
fn on_the_host() {
    every_row(Scope::Host);
}

#[test]
#[ignore = "run by the test above, in a PID namespace of its own"]
fn inside() {
    every_row(Scope::PidNamespace);
}

fn every_row(scope: Scope) {
    let mut watch = start(scope, Mode::Ebpf);
    for (class, act) in ROWS {
        let row = watch.row(class);
        assert!(row.covered || *class == "module", "{row:?}");
        act(&mut watch);
    }
}

/// What needs no eBPF is told without it, of processes that live long enough to be looked at.
#[test]
fn the_fallback_tells_of_them_too() {
    let mut watch = start(Scope::Host, Mode::Proc);
    unshare_leaves_a_namespace(&mut watch);
    setns_enters_a_namespace(&mut watch);
    memory_is_code_and_writable(&mut watch);
    program_is_loaded(&mut watch);
    setuid_drops_root(&mut watch);
    tracer_attaches(&mut watch);
    failure_in_btmp(&mut watch);
    let row = watch.row("module");
    assert!(!row.covered && row.why.is_some());
}
