//! Lists of programs that must not run, in the kernel itself. Needs root and a kernel with BTF.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cordon_behavior::event::Listed;
use cordon_sensor::{ExecGate, ExecList, ListedAct, Mode, Scope, SensorConfig};
use support::{Watch, exec_of, mark};

const MOST_PATHS: usize = 1024;
const MOST_SIZES: u64 = 4096;
const MOST_PATH_BYTES: usize = 254;

/// As much as can be listed, with the longest paths, and nothing that another letter's list has, but for `both`.
fn whole(letter: char, both: &Path) -> ExecList {
    let path = |n: usize| {
        let mut path = format!("/{letter}/{n:04}/");
        path.extend(std::iter::repeat_n(letter, MOST_PATH_BYTES - path.len()));
        path
    };
    let mut paths: BTreeSet<String> = (1..MOST_PATHS).map(path).collect();
    paths.insert(both.to_str().unwrap().to_owned());
    assert_eq!(paths.len(), MOST_PATHS);
    // Lengths that no program here has.
    let first = (1 << 40) + u64::from(letter) * MOST_SIZES;
    ExecList {
        paths,
        sizes: (first..first + MOST_SIZES).collect(),
        act: ListedAct::Tell,
    }
}

/// A program of the test's own.
fn copy(folder: &Path, name: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::copy("/usr/bin/true", &path).unwrap();
    path
}

fn watch() -> (Watch, ExecGate) {
    let mut watch = Watch::with(SensorConfig {
        scope: Scope::Host,
        mode: Mode::Ebpf,
        ..SensorConfig::default()
    });
    let gate = watch.sensor.take_exec_gate().unwrap();
    (watch, gate)
}

#[test]
fn a_whole_list_replaces_a_whole_list_and_what_is_on_both_is_listed_all_the_while() {
    const STARTS: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let both = copy(&folder, "on-both-lists");
    let (mut watch, gate) = watch();
    let lists = ['a', 'b'].map(|letter| whole(letter, &both));
    gate.set(&lists[0]).unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let swaps = std::thread::spawn(move || {
        let mut swaps = 0_usize;
        while !stopped.load(Ordering::Relaxed) {
            swaps += 1;
            // There is room for both, or this is refused.
            gate.set(&lists[swaps % 2]).unwrap();
        }
        (swaps, gate)
    });
    let mark = mark("both");
    for n in 0..STARTS {
        let status = Command::new(&both).arg(format!("{mark}-{n}")).status();
        assert!(status.unwrap().success());
    }
    let last = format!("{mark}-{}", STARTS - 1);
    watch.exec(&last);
    stop.store(true, Ordering::Relaxed);
    let (swaps, gate) = swaps.join().unwrap();
    assert!(swaps > 2, "{swaps}");
    let of_it =
        |event| exec_of(event).filter(|exec| exec.argv.iter().any(|arg| arg.starts_with(&mark)));
    let told: Vec<_> = watch
        .seen
        .iter()
        .filter_map(of_it)
        .map(|exec| exec.listed)
        .collect();
    assert_eq!(told, vec![Some(Listed::Told); STARTS]);

    // What is on no list any more is not listed.
    gate.set(&ExecList {
        act: ListedAct::Tell,
        ..ExecList::default()
    })
    .unwrap();
    let free = support::mark("free");
    assert!(Command::new(&both).arg(&free).status().unwrap().success());
    let (_, exec) = watch.exec(&free);
    assert_eq!(exec.listed, None);
}
