//! Programs on the policy's list, by the daemon's thread: what is held, what is told, and what could not be looked at.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::os::linux::fs::MetadataExt as _;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cordon_agent::host::HostFacts;
use cordon_agent::judging::Counts;
use cordon_agent::prevention::Prevention;
use cordon_agent::recorder::Recorder;
use cordon_agent::stopping::Stopper;
use cordon_behavior::event::{Exec, FileIdentity, Listed};
use cordon_proto::policy::Policy;
use cordon_proto::record::{Record, RecordBody, StopAct};
use cordon_sensor::{Event, EventBody, ProcessKey};
use cordon_spool::{Options, Spool};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::Notify;

const SLEEP: &str = "/usr/bin/sleep";
const LIMIT: Duration = Duration::from_secs(20);

/// A process that stands still, as one that the kernel holds does.
struct Held(ProcessKey);

impl Held {
    fn new() -> Self {
        let made = Command::new("sh")
            .args(["-c", "sleep 1000 <&- >&- 2>&- & echo $!"])
            .output();
        let pid = String::from_utf8(made.unwrap().stdout).unwrap();
        let pid: u32 = pid.trim().parse().unwrap();
        let comm = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        eventually("its image", || comm() == "sleep\n");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1;
        let ticks: u64 = fields.split(' ').nth(19).unwrap().parse().unwrap();
        let held = Self(ProcessKey {
            pid,
            start_ns: ticks * 10_000_000,
        });
        held.signal("-STOP");
        eventually("it to stand still", || held.state() == Some('T'));
        held
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.pid.to_string();
        // One that has ended is not there to be signalled.
        drop(Command::new("kill").args([signal, &pid]).output().unwrap());
    }

    /// `None` when it has ended.
    fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.pid)).ok()?;
        let state = stat.rsplit_once(") ")?.1.chars().next()?;
        (state != 'Z').then_some(state)
    }

    fn event(&self, listed: Option<Listed>) -> Event {
        let meta = std::fs::metadata(SLEEP).unwrap();
        let seconds = u64::try_from(meta.st_mtime()).unwrap();
        let nanos = u64::try_from(meta.st_mtime_nsec()).unwrap();
        let exec = Exec {
            exe: SLEEP.into(),
            argv: vec!["sleep".into(), "1000".into()],
            identity: Some(FileIdentity {
                device: meta.st_dev(),
                inode: meta.st_ino(),
                mtime_ns: seconds * 1_000_000_000 + nanos,
                size: meta.st_size(),
            }),
            listed,
            ..Exec::default()
        };
        Event {
            mono_ns: 1,
            wall_ns: 1,
            process: self.0,
            cgroup_id: 0,
            container: None,
            body: EventBody::Exec(Box::new(exec)),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.signal("-KILL");
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "{what} never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn policy(version: u64, mode: &str, programs: &Value) -> Policy {
    let policy = json!({
        "version": version, "site": "hq", "group": "servers", "mode": mode,
        "issued_at": "2026-11-01T00:00:00Z", "expires_at": "2027-11-01T00:00:00Z",
        "isolation": {"lease_seconds": 3600, "without_proof": "stay_shut", "allow": []},
        "caps": {"isolations_per_hour": 2}, "protected_processes": [], "order_keys": [],
        "blocked_programs": programs,
    });
    serde_json::from_value(policy).unwrap()
}

/// One that lists the content of [`SLEEP`], or of nothing that there is.
fn lists(version: u64, mode: &str, is_listed: bool) -> Policy {
    let content = std::fs::read(SLEEP).unwrap();
    let digest = if is_listed {
        hex::encode(Sha256::digest(&content))
    } else {
        hex::encode([7; 32])
    };
    let files = json!([{"sha256": digest, "bytes": content.len()}]);
    policy(version, mode, &json!({ "files": files }))
}

struct Bench {
    _dir: TempDir,
    spool: Arc<Spool>,
    recorder: Recorder,
    prevention: Prevention,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(&dir.path().join("spool"), "boot-1", Options::default()).unwrap();
        let spool = Arc::new(spool);
        let written = Arc::new(Notify::new());
        let recorder = Recorder::start(Arc::clone(&spool), dir.path(), written).unwrap();
        let kin = Arc::new(OnceLock::new());
        let facts = HostFacts::read().unwrap();
        let stopper = Stopper::start(dir.path(), facts.clone(), recorder.clone(), kin).unwrap();
        let counts = Arc::new(Counts::default());
        let prevention = Prevention::start(recorder.clone(), stopper, counts, facts).unwrap();
        Self {
            _dir: dir,
            spool,
            recorder,
            prevention,
        }
    }

    fn records(&self) -> Vec<RecordBody> {
        assert!(self.recorder.flush(LIMIT));
        let kept = self.spool.pending(None, 10_000, 1 << 24).unwrap();
        let records = kept.iter();
        records
            .map(|one| serde_json::from_slice::<Record>(&one.json).unwrap().body)
            .collect()
    }
}

#[test]
fn a_policy_that_arrives_while_a_program_is_held_decides_about_it() {
    // Listed when it was held and not any more; and the other way round; and with a mode that never acts.
    for (then, now, ends) in [
        (
            lists(2, "autonomous", true),
            lists(3, "autonomous", false),
            false,
        ),
        (
            lists(2, "autonomous", false),
            lists(3, "autonomous", true),
            true,
        ),
        (
            lists(2, "autonomous", true),
            lists(3, "observe", true),
            false,
        ),
    ] {
        let (bench, held) = (Bench::new(), Held::new());
        bench.prevention.rule(Some(&then));
        bench.prevention.rule(Some(&now));
        assert_eq!(held.state(), Some('T'));
        bench.prevention.note(&held.event(Some(Listed::Held)));
        eventually("an end of its being held", || held.state() != Some('T'));
        if ends {
            eventually("its end", || held.state().is_none());
        } else {
            eventually("it to sleep on", || held.state() == Some('S'));
        }
    }
}

/// No policy at all lets everybody go on.
#[test]
fn a_policy_that_goes_away_leaves_nobody_held() {
    let (bench, held) = (Bench::new(), Held::new());
    bench.prevention.rule(Some(&lists(2, "autonomous", true)));
    bench.prevention.rule(None);
    bench.prevention.note(&held.event(Some(Listed::Held)));
    eventually("it to go on", || held.state() == Some('S'));
}

#[test]
fn starts_that_could_not_be_looked_at_are_counted_and_told() {
    const GIVEN: u64 = 3000;
    const MOST_WAITING: u64 = 1024;
    let (bench, held) = (Bench::new(), Held::new());
    bench.prevention.rule(Some(&lists(2, "autonomous", false)));
    // Its end is waited for, for a second: meanwhile nobody looks.
    bench.prevention.note(&held.event(Some(Listed::Killed)));
    for _ in 1..GIVEN {
        bench.prevention.note(&held.event(None));
    }
    let lost = || {
        let records = bench.records();
        let counts = records.iter().filter_map(|body| match body {
            RecordBody::Loss(loss) if loss.source == "prevention" => Some(loss.count),
            _ => None,
        });
        counts.sum::<u64>()
    };
    eventually("word of the loss", || lost() > 0);
    assert!(lost() <= GIVEN - MOST_WAITING, "{}", lost());
    assert!(lost() >= GIVEN - MOST_WAITING - 100, "{}", lost());
}

#[test]
fn each_listed_program_is_one_incident_however_often_it_is_started() {
    let bench = Bench::new();
    bench
        .prevention
        .rule(Some(&policy(4, "autonomous", &json!({"paths": [SLEEP]}))));
    let processes = [Held::new(), Held::new()];
    for held in &processes {
        held.signal("-KILL");
        eventually("its end", || held.state().is_none());
        bench.prevention.note(&held.event(Some(Listed::Killed)));
    }
    let mut records = Vec::new();
    eventually("its records", || {
        records = bench.records();
        records.len() >= 2
    });
    // The second start is told with the next report.
    let [RecordBody::Detection(detection), RecordBody::Stop(stop)] = records.as_slice() else {
        panic!("{records:?}");
    };
    assert_eq!(Some(&detection.tree), stop.tree.as_ref());
    assert_eq!(
        (stop.act, stop.count, stop.proved),
        (StopAct::Prevented, 1, true)
    );
    assert_eq!(detection.decision, "prevent");
    assert_eq!(detection.verdict.model, "policy");
    assert_eq!(
        detection.decision_reason,
        "the policy lists it: killed before its first instruction (policy version 4)"
    );
    assert!(detection.decision_reason_zh.contains("策略版本 4"));
    let process = detection.story.process.as_ref().unwrap();
    assert_eq!(process.argv, ["sleep", "1000"]);
}
