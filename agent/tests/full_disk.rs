//! An agent whose disk is full or takes nothing: nothing is lost without being counted, and no host stays shut for it.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cordon_agent::recorder::Recorder;
use cordon_contain::{Containment, IsolationSpec};
use cordon_proto::AGENT_SOCKET_MARK;
use cordon_proto::id::IsolationId;
use cordon_proto::record::{LossReport, RecordBody, TamperReport};
use cordon_spool::{Options, Spool};
use jiff::{SignedDuration, Timestamp};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use support::AGENT;
use tokio::sync::Notify;

const LIMIT: Duration = Duration::from_secs(20);

/// Runs `job` where `folder` is a file system of its own, of so many MiB, and without the machine's network; both are gone
/// with the threads and programs that see them.
fn on_small_disk(folder: &Path, mebibytes: u32, job: impl FnOnce() + Send + 'static) {
    let folder = folder.to_owned();
    let inside = move || {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
        let none = None::<&str>;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, "/", none, private, none).unwrap();
        let size = format!("size={mebibytes}m");
        let tmpfs = Some("tmpfs");
        mount(tmpfs, &folder, tmpfs, MsFlags::empty(), Some(size.as_str())).unwrap();
        job();
    };
    std::thread::spawn(inside).join().unwrap();
}

fn fill(folder: &Path) {
    use std::io::Write as _;
    let mut fill = fs::File::create(folder.join("fill")).unwrap();
    while fill.write_all(&[b'x'; 4096]).is_ok() {}
}

fn evidence(n: usize) -> RecordBody {
    RecordBody::Tamper(TamperReport {
        what: format!("interference {n} {}", "x".repeat(4096)),
        repaired: true,
        micros: 0,
        by: None,
    })
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_full_disk_does_not_take_waits_and_what_cannot_wait_is_counted() {
    const GIVEN: usize = 3000;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    on_small_disk(folder.path(), 12, move || {
        let spool = Spool::open(&dir.join("spool"), "boot", Options::default()).unwrap();
        let spool = Arc::new(spool);
        let written = Arc::new(Notify::new());
        let recorder = Recorder::start(Arc::clone(&spool), &dir, written).unwrap();
        recorder.record(evidence(0));
        assert!(recorder.flush(LIMIT));
        assert_eq!(recorder.trouble(), None);

        fill(&dir);
        for n in 1..GIVEN {
            recorder.record(evidence(n));
        }
        let lost = recorder.take_lost();
        assert!(lost > 0, "the queue is bounded");
        eventually("word of the disk", || {
            let trouble = recorder.trouble();
            trouble.is_some_and(|why| why.contains("free space on its file system"))
        });
        // The count of what was lost has no room either, and is not lost for that.
        let report = LossReport {
            source: "spool".into(),
            count: lost,
            reason: "the disk did not keep up".into(),
        };
        eventually("a full queue", || {
            !recorder.offer(RecordBody::Loss(report.clone()))
        });

        fs::remove_file(dir.join("fill")).unwrap();
        eventually("room in the queue", || {
            recorder.offer(RecordBody::Loss(report.clone()))
        });
        eventually("everything on the disk", || recorder.flush(LIMIT));
        assert_eq!(recorder.trouble(), None);
        let pending = spool.pending(None, 2 * GIVEN, usize::MAX).unwrap();
        let kept = pending.iter().filter(|record| {
            let json = String::from_utf8_lossy(&record.json);
            json.contains("interference")
        });
        assert_eq!(kept.count() + usize::try_from(lost).unwrap(), GIVEN);
    });
}

fn spec(lasts: SignedDuration) -> IsolationSpec {
    IsolationSpec {
        id: IsolationId::generate(),
        reason: "drill".into(),
        tree: None,
        started_at: Timestamp::now(),
        lease_expires_at: Some(Timestamp::now() + lasts),
        controllers: vec!["192.0.2.1:7443".parse().unwrap()],
        allow: Vec::new(),
        policy_version: 1,
        moment: None,
    }
}

/// A folder for state whose disk is read-only, with an isolation on it as a boot finds it.
struct ReadOnly {
    config: String,
    state: std::path::PathBuf,
}

impl ReadOnly {
    fn with(base: &Path, isolation: &IsolationSpec) -> Self {
        let (config, state) = (base.join("agent.toml"), base.join("state"));
        let root = base.display();
        let settings = format!("state_dir = '{root}/state'\nrun_dir = '{root}/run'\n");
        fs::write(&config, settings).unwrap();
        let containment = Containment::open(&state, AGENT_SOCKET_MARK).unwrap();
        containment.intend(isolation).unwrap();
        let read_only = Self {
            config: config.to_str().unwrap().to_owned(),
            state,
        };
        read_only.remount("ro");
        read_only
    }

    fn remount(&self, how: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(&self.state)
            .status();
        assert!(status.unwrap().success());
    }

    fn agent(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(AGENT);
        command.args(arguments).args(["--config", &self.config]);
        command.output().unwrap()
    }

    fn is_shut() -> bool {
        let listed = Command::new("nft").args(["list", "tables"]).output();
        let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
        listed.contains("inet cordon")
    }
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    let said = [String::from_utf8_lossy(out), String::from_utf8_lossy(err)].concat();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn a_boot_on_a_read_only_disk_shuts_the_host_again_and_root_opens_it() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().to_owned();
    fs::create_dir(folder.join("state")).unwrap();
    on_small_disk(&base.path().join("state"), 1, move || {
        let isolation = spec(SignedDuration::from_hours(1));
        let disk = ReadOnly::with(&folder, &isolation);
        let restored = said(&disk.agent(&["restore"]));
        assert!(
            restored.contains(&format!("isolation {} is in force", isolation.id)),
            "{restored}"
        );
        assert!(ReadOnly::is_shut());

        let opened = said(&disk.agent(&["release", "--reason", "the owner is here"]));
        assert!(!ReadOnly::is_shut());
        // What is so, what it leaves, and why.
        for part in [
            "the host is open",
            "a restart of agent or host shuts it again",
            "Read-only file system",
        ] {
            assert!(opened.contains(part), "{opened}");
        }
        disk.remount("rw");
        let opened = said(&disk.agent(&["release", "--reason", "once more"]));
        assert!(!opened.contains("restart"), "{opened}");
        let restored = said(&disk.agent(&["restore"]));
        assert!(restored.contains("the host is open"), "{restored}");
        assert!(!ReadOnly::is_shut());
    });
}

#[test]
fn a_lease_ends_on_a_read_only_disk_at_every_start() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().to_owned();
    fs::create_dir(folder.join("state")).unwrap();
    on_small_disk(&base.path().join("state"), 1, move || {
        let disk = ReadOnly::with(&folder, &spec(SignedDuration::from_secs(-1)));
        for _ in 0..2 {
            let restored = said(&disk.agent(&["restore"]));
            assert!(restored.contains("the host is open"), "{restored}");
            assert!(
                restored.contains("the disk still says that the host is isolated"),
                "{restored}"
            );
            assert!(!ReadOnly::is_shut());
        }
        // A daemon that cannot start for its disk does as much: nobody else counts the lease.
        disk.remount("rw");
        let containment = Containment::open(&disk.state, AGENT_SOCKET_MARK).unwrap();
        let soon = spec(SignedDuration::from_secs(4));
        containment.isolate(&soon).unwrap();
        assert!(ReadOnly::is_shut());
        disk.remount("ro");
        let ran = disk.agent(&["run"]);
        assert!(!ran.status.success());
        assert!(ReadOnly::is_shut(), "the lease is not over yet");
        std::thread::sleep(Duration::from_millis(4100));
        let ran = disk.agent(&["run"]);
        assert!(!ran.status.success());
        assert!(!ReadOnly::is_shut());
    });
}
