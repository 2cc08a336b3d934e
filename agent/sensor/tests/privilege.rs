//! Privileges, namespaces, code made in memory, mounts and logins, each really caused. Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use cordon_behavior::event::{Event, EventBody, Namespaces};
use cordon_sensor::{Mode, Scope, SensorConfig};
use libbpf_rs::libbpf_sys;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use support::Watch;

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

/// Every row, by a sensor that watches the host.
#[test]
fn each_action_is_told_of() {
    let mut watch = Watch::start(Scope::Host, Mode::Ebpf);
    for (class, act) in ROWS {
        let row = watch
            .sensor
            .coverage()
            .iter()
            .find(|row| row.class == *class);
        assert!(row.unwrap().covered, "{class}: {row:?}");
        act(&mut watch);
    }
}

/// Every row again, by a sensor in a PID namespace of its own.
#[test]
fn each_action_in_a_namespace_is_told_of() {
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
    let mut watch = Watch::with(SensorConfig {
        scope: Scope::PidNamespace,
        mode: Mode::Ebpf,
        ..SensorConfig::default()
    });
    for (_, act) in ROWS {
        act(&mut watch);
    }
}
