//! Isolating and opening on disks that are full, or that take nothing at all: real ones, behind a loop device.
#![allow(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod lab;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use cordon_contain::{Containment, Health, IsolationSpec, Opened, Recovered};
use cordon_proto::AGENT_SOCKET_MARK;
use lab::Lab;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// A lab whose host keeps its state on a file system of 4 MiB, which nobody outside the host's own mount namespace sees.
struct Small {
    lab: Lab,
    folder: PathBuf,
    /// Of the file system's image.
    _image: tempfile::NamedTempFile,
}

impl Small {
    fn new() -> Self {
        let lab = Lab::new();
        let folder = lab.state.path().to_owned();
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(4 << 20).unwrap();
        lab.host.run(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(none, "/", none, flags, none).unwrap();
        });
        let (from, on) = (image.path().display(), folder.display());
        // The loop device is freed with the mount, and that is gone with the namespace, however the test ends.
        lab.host.sh(&format!(
            "mkfs.ext4 -q -m 0 {from}; mount -o loop {from} {on}"
        ));
        let small = Self {
            lab,
            folder,
            _image: image,
        };
        // An agent has started while there was room.
        small.lab.contain(|_| ());
        small
    }

    /// Until not a byte more fits.
    fn fill(&self) {
        let folder = self.folder.clone();
        let refused = self.lab.host.run(move || {
            let fill = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(folder.join("fill"));
            let mut fill = fill.unwrap();
            // What was set aside for a write is there for others once it is done.
            for _ in 0..3 {
                for chunk in [64 << 10, 1024, 1] {
                    while fill.write_all(&vec![b'x'; chunk]).is_ok() {}
                }
                drop(fill.sync_all());
            }
            fs::write(folder.join("more"), [b'x'; 8192]).unwrap_err()
        });
        assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
    }

    fn remount(&self, how: &str) {
        let on = self.folder.display();
        self.lab.host.sh(&format!("mount -o remount,{how} {on}"));
    }

    fn files(&self) -> Vec<String> {
        let on = self.folder.display();
        let names = self.lab.host.sh(&format!("ls {on}"));
        names.split_whitespace().map(str::to_owned).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.files().iter().any(|file| file == name)
    }

    fn isolate(&self, spec: &IsolationSpec) -> Result<(), String> {
        let spec = spec.clone();
        let done = self.lab.contain(move |c| c.isolate(&spec));
        done.map(drop).map_err(|error| in_full(&error))
    }

    fn release(&self) -> Opened {
        self.lab.contain(Containment::release).unwrap()
    }
}

fn in_full(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(in_full);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// Whoever fills it fills it again whenever something becomes free.
#[test]
fn a_full_disk_keeps_no_host_from_being_shut_nor_from_being_opened() {
    let small = Small::new();
    let lab = &small.lab;
    for round in 0..2 {
        small.fill();
        let spec = lab::spec();
        let wanted = spec.clone();
        lab.contain(move |c| c.intend(&wanted)).unwrap();
        assert!(lab.is_open(), "nothing is dropped by an intent");
        small.fill();
        let id = spec.id;
        let applied = lab.contain(move |c| c.apply(id)).unwrap();
        assert_eq!(applied.warnings, Vec::<String>::new(), "round {round}");
        assert!(lab.is_shut());
        small.fill();

        // Whoever starts next knows of it, from the disk.
        let recovered = lab.contain(Containment::recover).unwrap();
        assert_eq!(recovered, Recovered::Adopted(spec.clone()));
        lab.host.sh("nft flush ruleset");
        assert!(lab.contain(Containment::repair).unwrap().is_some());
        assert!(lab.is_shut());

        small.fill();
        let opened = small.release();
        assert_eq!(opened.spec, Some(spec));
        assert!(opened.still_on_disk.is_none(), "{opened:?}");
        assert!(lab.is_open());
        assert!(!small.has("isolation.json") && !small.has("isolation.json.new"));
        // With a little room there is some for the next one, before anybody else has it.
        lab.host.sh(&format!("rm {}/fill", small.folder.display()));
        lab.contain(|_| ());
    }
}

#[test]
fn without_any_room_nothing_is_dropped_and_the_error_says_what_to_do() {
    let small = Small::new();
    let on = small.folder.display().to_string();
    small.lab.host.sh(&format!("rm {on}/isolation.spare-*"));
    small.fill();
    let refused = small.isolate(&lab::spec()).unwrap_err();
    let expected =
        format!("could not write {on}/isolation.json.new (free some space on its file system)");
    assert!(refused.starts_with(&expected), "{refused}");
    assert!(small.lab.is_open());
    assert_eq!(small.lab.contain(Containment::current), None);
    // Half of a file would be in the way of everybody.
    assert!(!small.has("isolation.json.new") && !small.has("isolation.json"));

    small.lab.host.sh(&format!("rm {on}/fill"));
    small.isolate(&lab::spec()).unwrap();
    assert!(small.lab.is_shut());
}

#[test]
fn a_read_only_disk_begins_no_isolation_and_says_what_to_do() {
    let small = Small::new();
    small.remount("ro");
    let refused = small.isolate(&lab::spec()).unwrap_err();
    assert!(refused.contains("mount -o remount,rw"), "{refused}");
    assert!(refused.contains("Read-only file system"), "{refused}");
    assert!(small.lab.is_open());
    small.remount("rw");
    small.isolate(&lab::spec()).unwrap();
    assert!(small.lab.is_shut());
}

/// One process, as an agent is: what it cannot write down it knows until it ends.
#[test]
fn an_isolation_is_restored_and_repaired_on_a_disk_that_became_read_only() {
    let small = Small::new();
    let lab = &small.lab;
    let spec = lab.isolate();
    small.remount("ro");
    // As after a reboot; and with another subnet, so that the rules are others than the disk knows.
    lab.host
        .sh("nft flush ruleset; ip address add 10.79.0.1/24 dev up0");
    let state = small.folder.clone();
    let (recovered, healths) = lab.host.run(move || {
        let containment = Containment::open(&state, AGENT_SOCKET_MARK).unwrap();
        let recovered = containment.recover().unwrap();
        let first = containment.verify().unwrap();
        let flushed = std::process::Command::new("nft")
            .args(["flush", "ruleset"])
            .status();
        assert!(flushed.unwrap().success());
        let damaged = containment.verify().unwrap();
        assert!(containment.repair().unwrap().is_some());
        // Else it would be repaired for ever.
        assert_eq!(containment.repair().unwrap(), None);
        (recovered, [first, damaged, containment.verify().unwrap()])
    });
    let Recovered::Reapplied(found, applied) = recovered else {
        panic!("{recovered:?}");
    };
    assert_eq!(found, spec);
    assert!(
        applied.warnings[0].contains("not noted on disk"),
        "{applied:?}"
    );
    assert_eq!(healths, [Health::Whole, Health::Missing, Health::Whole]);
    assert!(lab.is_shut());
}

#[test]
fn a_read_only_disk_keeps_nobody_in_and_it_is_said_what_a_restart_does() {
    let small = Small::new();
    let lab = &small.lab;
    let spec = lab.isolate();
    small.remount("ro");
    let opened = small.release();
    assert_eq!(opened.spec.as_ref(), Some(&spec));
    let why = in_full(&opened.still_on_disk.unwrap());
    assert!(why.contains("Read-only file system"), "{why}");
    assert!(lab.is_open());

    // The disk is all that a start knows.
    let recovered = lab.contain(Containment::recover).unwrap();
    assert!(
        matches!(recovered, Recovered::Reapplied(..)),
        "{recovered:?}"
    );
    assert!(lab.is_shut());
    small.remount("rw");
    assert!(small.release().still_on_disk.is_none());
    assert!(lab.is_open() && !small.has("isolation.json"));
    assert_eq!(lab.contain(Containment::recover).unwrap(), Recovered::Open);
}

/// Neither the lock file nor room for one.
#[test]
fn a_host_is_opened_on_a_read_only_disk_that_never_had_a_lock() {
    let small = Small::new();
    small.lab.isolate();
    let on = small.folder.display();
    small.lab.host.sh(&format!("rm {on}/isolation.lock"));
    small.remount("ro");
    assert!(small.release().still_on_disk.is_some());
    assert!(small.lab.is_open());
}
