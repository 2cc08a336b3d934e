//! What is done to the sensor's own process and programs is told. Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cordon_sensor::{ExecList, Guard, ListedAct, Mode, Scope, SignalNote, signals_left_at};
use libbpf_rs::{MapCore as _, MapFlags, MapHandle, libbpf_sys};
use support::{DEADLINE, Watch};

/// A sensor in this process, and what tells of who meddles with it. SIGUSR1 does it no harm.
fn guarded() -> (Watch, Guard) {
    // SAFETY: to ignore a signal runs no code.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    let mut watch = Watch::start(Scope::Host, Mode::Ebpf);
    let guard = watch.sensor.take_guard().expect("this kernel lets it");
    assert!(watch.sensor.take_guard().is_none());
    (watch, guard)
}

/// Sends this process signals, in this order; who did it.
fn send(signals: &[&str]) -> u32 {
    let lines = signals.iter().map(|name| format!("kill -{name} $PPID; "));
    let line: String = lines.chain(["exit 0".to_owned()]).collect();
    let mut shell = Command::new("/bin/sh").args(["-c", &line]).spawn().unwrap();
    let pid = shell.id();
    assert!(shell.wait().unwrap().success());
    pid
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no {what} within {DEADLINE:?}");
}

fn is_from(pid: u32, note: &SignalNote) {
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    assert_eq!(note.pid, pid, "{note:?}");
    assert_eq!(Path::new(&note.exe), shell);
    assert_eq!((note.uid, note.is_kernel), (0, false));
    assert!(note.mono_ns > 0 && note.mono_ns <= cordon_sensor::mono_ns());
}

#[test]
fn who_sends_a_signal_is_told_and_children_and_the_harmless_are_not() {
    let (_watch, mut guard) = guarded();
    let sender = send(&["WINCH", "CONT", "USR1", "URG", "USR1"]);
    let notes = guard.signals();
    assert_eq!(notes.len(), 2, "{notes:?}");
    for note in &notes {
        assert_eq!(note.signal, libc::SIGUSR1);
        is_from(sender, note);
    }
    assert!(guard.signals().is_empty());
    // To another process: none of ours.
    Command::new("/bin/sh")
        .args(["-c", "sleep 60 & kill -TERM $!"])
        .status()
        .unwrap();
    assert!(guard.signals().is_empty());
}

#[test]
fn of_a_storm_the_last_ones_are_told() {
    let (_watch, mut guard) = guarded();
    let early = send(&["USR1"; 20]);
    let late = send(&["USR1"]);
    let notes = guard.signals();
    assert_eq!(notes.len(), 16);
    let (last, before) = notes.split_last().unwrap();
    is_from(late, last);
    for note in before {
        is_from(early, note);
    }
}

/// A BPF file system of this test's own, gone with it.
struct BpfFs(tempfile::TempDir);

impl BpfFs {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let none = None::<&str>;
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("bpf"), dir.path(), Some("bpf"), flags, none).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("notes")
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        if let Err(error) = nix::mount::umount(self.0.path()) {
            eprintln!("cannot unmount {}: {error}", self.0.path().display());
        }
    }
}

#[test]
fn notes_outlive_the_sensor_until_they_are_read_or_forgotten() {
    let files = BpfFs::mount();
    let (watch, mut guard) = guarded();
    guard.keep_at(&files.path()).unwrap();
    let sender = send(&["USR1"]);
    // As when it is killed: nobody forgets.
    drop((watch, guard));
    let left = signals_left_at(&files.path());
    assert_eq!(left.len(), 1, "{left:?}");
    is_from(sender, &left[0]);
    assert!(!files.path().exists());
    assert!(signals_left_at(&files.path()).is_empty());

    let (_watch, mut guard) = guarded();
    guard.keep_at(&files.path()).unwrap();
    guard.forget();
    assert!(!files.path().exists());
}

/// Descriptors of this process of which the kernel says this, with all that it says.
fn descriptors(words: &str) -> Vec<(i32, String)> {
    let all = std::fs::read_dir("/proc/self/fdinfo").unwrap();
    let numbers = all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let said = numbers.filter_map(|fd: i32| {
        let said = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        said.contains(words).then_some((fd, said))
    });
    said.collect()
}

/// Links of programs of cgroups.
fn cgroup_links() -> Vec<i32> {
    let links = descriptors("link_type:\tcgroup").into_iter();
    links.map(|(fd, _)| fd).collect()
}

/// One of this process's maps, found as another process would find it.
fn map(name: &str) -> MapHandle {
    let maps = descriptors("map_id:");
    let ids = maps.iter().filter_map(|(_, said)| {
        let id = said.lines().find_map(|line| line.strip_prefix("map_id:"))?;
        id.trim().parse().ok()
    });
    let mut maps = ids.map(|id| MapHandle::from_map_id(id).unwrap());
    maps.find(|map| map.name().to_string_lossy() == name)
        .unwrap()
}

#[test]
fn an_altered_list_of_programs_is_noticed_until_it_is_set_again() {
    let mut watch = Watch::start(Scope::Host, Mode::Ebpf);
    let gate = watch.sensor.take_exec_gate().unwrap();
    let list = ExecList {
        paths: ["/nowhere/listed".to_owned()].into(),
        sizes: [7_777_777].into(),
        act: ListedAct::Tell,
    };
    gate.set(&list).unwrap();
    assert!(gate.holds(&list).unwrap());
    let nothing = 0_u32.to_ne_bytes();
    map("listed_acts")
        .update(&nothing, &nothing, MapFlags::ANY)
        .unwrap();
    assert!(!gate.holds(&list).unwrap());
    gate.set(&list).unwrap();
    assert!(gate.holds(&list).unwrap());
    let size = 7_777_777_u64.to_ne_bytes();
    map("listed_sizes").delete(&size).unwrap();
    assert!(!gate.holds(&list).unwrap());
}

#[test]
fn a_program_that_is_taken_off_a_cgroup_is_put_back_and_told() {
    let (_watch, mut guard) = guarded();
    let links = cgroup_links();
    assert_eq!(links.len(), 9);
    for fd in &links[..2] {
        // SAFETY: it takes a number.
        assert_eq!(unsafe { libbpf_sys::bpf_link_detach(*fd) }, 0);
    }
    let mut told = Vec::new();
    wait("word of two programs", || {
        told.extend(guard.tampering());
        (told.len() >= 2).then_some(())
    });
    for one in &told {
        assert!(
            one.repaired && one.what.contains("was taken off"),
            "{one:?}"
        );
    }
    assert_eq!(cgroup_links().len(), 9);
    // Not told again: they are in place.
    std::thread::sleep(Duration::from_secs(6));
    assert!(guard.tampering().is_empty());
}
