//! `kill -9` and a full disk, by real processes.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cordon_spool::{Class, Options, Spool, SpoolError};

/// Where the child of a test finds its directory.
const DIR: &str = "CORDON_SPOOL_CHILD_DIR";

/// Runs `test` of this binary in a process of its own, with `dir` as its directory.
fn child(mut command: Command, test: &str, dir: &Path) -> Child {
    command
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn own_binary() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}

fn open(dir: &Path) -> Spool {
    Spool::open(dir, "b", Options::default()).unwrap()
}

/// Not a test by itself: appends and says each sequence once it is on the disk, until killed.
#[test]
#[ignore = "run by the test that kills it"]
fn child_appends() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let spool = open(Path::new(&dir));
    let mut out = std::io::stdout();
    for number in 0u64.. {
        let text = format!("record {number}").repeat(1 + number as usize % 50);
        let appended = spool.append(Class::Evidence, text.as_bytes()).unwrap();
        writeln!(out, "appended {}", appended.last).unwrap();
        if number % 7 == 6 {
            spool
                .acknowledge("b", &[(appended.last - 3, appended.last - 2)])
                .unwrap();
        }
    }
}

#[test]
fn what_was_appended_before_a_kill_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut highest = 0;
    for round in 1..=6u64 {
        let mut child = child(Command::new(own_binary()), "child_appends", dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = 0;
        let mut last = 0;
        let mut note = |line: &str| {
            if let Some(sequence) = line.strip_prefix("appended ") {
                last = sequence.parse().unwrap();
                said += 1;
            }
            said
        };
        while note(&lines.next().expect("the child lives").unwrap()) < 20 * round {}
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said between the last line read and its death counts as well; a torn line does not.
        for line in lines.map_while(Result::ok) {
            note(&line);
        }
        let spool = open(dir.path());
        let pending = spool.pending(None, usize::MAX, usize::MAX).unwrap();
        assert_eq!(spool.opened(), cordon_spool::Opened::Existing);
        let newest = pending.last().unwrap().sequence;
        assert!(newest >= last, "{last} was said, {newest} is the newest");
        assert!(pending.iter().all(|one| one.json.starts_with(b"record ")));
        assert_eq!(pending.len() as u64, spool.stats().records);
        assert!(last > highest, "a sequence came back");
        highest = newest;
    }
}

/// Not a test by itself: fills the small file system that it is given.
#[test]
#[ignore = "run by the test that gives it a small file system"]
fn child_fills_the_disk() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let dir = Path::new(&dir);
    let spool = open(dir);
    let text = vec![b'x'; 8 * 1024];
    let mut kept = 0u64;
    let error = loop {
        match spool.append(Class::Evidence, &text) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SpoolError::DiskFull { .. }), "{error:?}");
    assert!(kept > 10);
    // What was kept can still leave, and then there is room again: no restart needed.
    let pending = spool.pending(None, usize::MAX, usize::MAX).unwrap();
    assert_eq!(pending.len() as u64, kept);
    let last = pending.last().unwrap().sequence;
    assert_eq!(spool.acknowledge("b", &[(0, last)]).unwrap(), kept);
    assert_eq!(
        spool.append(Class::Evidence, &text).unwrap().first,
        last + 1
    );
    writeln!(std::io::stdout(), "filled and went on").unwrap();
}

#[test]
fn a_full_disk_is_said_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "sh",
            "-ec",
            r#"mount -t tmpfs -o size=2m tmpfs "$0"; exec "$@""#,
        ])
        .arg(dir.path())
        .arg(own_binary());
    let child = child(command, "child_fills_the_disk", dir.path());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("filled and went on"),
        "{said}"
    );
}
