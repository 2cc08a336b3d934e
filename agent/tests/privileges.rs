//! The system calls that the daemon gives up are refused to it and to what it runs, and what it needs works on.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use caps::Capability;
use cordon_agent::privileges::{DENIED, FOR_FILES, NEEDED, deny_calls, drop_capabilities};

/// One that a denied call may be tried by without knowing what it is for.
const EPERM: i32 = 1;

fn status_of(thread: &str, field: &str) -> String {
    let status = fs::read_to_string(format!("{thread}/status")).unwrap();
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)).unwrap();
    value.trim().to_owned()
}

#[test]
fn denied_calls_are_refused_to_all_threads_and_to_what_is_run() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    // There before.
    let thread = std::thread::spawn(move || stopped.recv().unwrap_or_default());
    deny_calls().unwrap();
    for thread in fs::read_dir("/proc/self/task").unwrap() {
        let thread = thread.unwrap().path();
        let thread = thread.to_str().unwrap();
        assert_eq!(status_of(thread, "Seccomp:"), "2");
        assert_eq!(status_of(thread, "NoNewPrivs:"), "1");
    }
    drop(stop);
    thread.join().unwrap();

    let mut script = String::new();
    for call in DENIED {
        writeln!(
            script,
            "$! = 0; syscall({call}, 0, 0, 0, 0, 0); print \"{call} \", $! + 0, \"\\n\";"
        )
        .unwrap();
    }
    let said = Command::new("perl").args(["-e", &script]).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let said = String::from_utf8(said.stdout).unwrap();
    let answers: Vec<(i64, i32)> = said
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(call, answer)| (call.parse().unwrap(), answer.parse().unwrap()))
        .collect();
    assert_eq!(answers.len(), DENIED.len());
    for (call, answer) in answers {
        assert_eq!(answer, EPERM, "system call {call}");
    }
    let refused = Command::new("unshare").args(["--uts", "true"]).output();
    assert!(!refused.unwrap().status.success());
    // It is a list of calls, not of programs.
    let works = Command::new("nft").args(["--version"]).output().unwrap();
    assert!(works.status.success());
}

#[test]
fn other_capabilities_are_dropped_and_no_program_gets_them_back() {
    let kept: u64 = NEEDED.iter().map(|(one, _)| one.bitmask()).sum();
    let beside: u64 = FOR_FILES.iter().map(Capability::bitmask).sum();
    let other = std::thread::spawn(|| {
        drop_capabilities(&FOR_FILES).unwrap();
        status_of("/proc/thread-self", "CapBnd:")
    });
    assert_eq!(other.join().unwrap(), format!("{:016x}", kept | beside));
    drop_capabilities(&[]).unwrap();
    let hex = format!("{kept:016x}");
    for (field, wanted) in [
        ("CapEff:", &hex),
        ("CapPrm:", &hex),
        ("CapBnd:", &hex),
        ("CapInh:", &"0".repeat(16)),
        ("CapAmb:", &"0".repeat(16)),
    ] {
        assert_eq!(&status_of("/proc/thread-self", field), wanted, "{field}");
    }
    let said = Command::new("grep")
        .args(["CapEff:", "/proc/self/status"])
        .output();
    let said = String::from_utf8(said.unwrap().stdout).unwrap();
    assert!(said.contains(&hex), "{said}");
    // Again is harmless, as under a unit that has dropped them before.
    drop_capabilities(&[]).unwrap();
}

/// What the package's unit leaves the daemon is what the daemon says that it needs.
#[test]
fn the_unit_lists_the_same_capabilities() {
    let unit = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../packaging/cordon-agent.service"
    );
    let unit = fs::read_to_string(unit).unwrap();
    let mut lines = unit.lines();
    let listed = lines
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .unwrap();
    let mut listed: Vec<String> = listed.split_whitespace().map(str::to_owned).collect();
    let mut needed: Vec<String> = NEEDED.iter().map(|(one, _)| one.to_string()).collect();
    listed.sort();
    needed.sort();
    assert_eq!(listed, needed);
}
