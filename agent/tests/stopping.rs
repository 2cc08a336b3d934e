//! Processes are frozen and go on, by the daemon's thread and without a daemon.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cordon_agent::local::Answer;
use cordon_agent::recorder::Recorder;
use cordon_agent::stopping::{StopJob, Stopper, trees};
use cordon_contain::Tree;
use cordon_proto::record::{Record, RecordBody, StopAct, StopReport};
use cordon_sensor::ProcessKey;
use cordon_spool::{Options, Spool};
use serde_json::Value;
use support::{agent, complaint};
use tokio::sync::{Notify, oneshot};

/// A process that is nobody's of this test: what a test made itself counts as the agent's own.
struct Stray(ProcessKey);

impl Stray {
    fn new() -> Self {
        let made = Command::new("sh")
            .args(["-c", "sleep 1000 <&- >&- 2>&- & echo $!"])
            .output();
        let pid: u32 = String::from_utf8(made.unwrap().stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let began = Instant::now();
        while std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() != "sleep\n" {
            assert!(began.elapsed() < Duration::from_secs(10), "it never slept");
            std::thread::yield_now();
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1;
        let ticks: u64 = fields.split(' ').nth(19).unwrap().parse().unwrap();
        let start_ns = ticks * 10_000_000;
        Self(ProcessKey { pid, start_ns })
    }

    fn stands(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.pid)).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    }

    fn tree(&self) -> Tree {
        Tree {
            root: self.0,
            known: Vec::new(),
            protected: Vec::new(),
        }
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        let pid = self.0.pid.to_string();
        Command::new("kill").args(["-KILL", &pid]).status().unwrap();
    }
}

fn spool(dir: &Path) -> Spool {
    Spool::open(&dir.join("spool"), "boot-1", Options::default()).unwrap()
}

fn stops(spool: &Spool) -> Vec<StopReport> {
    let kept = spool.pending(None, 1000, 1 << 20).unwrap();
    let records = kept
        .iter()
        .map(|pending| serde_json::from_slice::<Record>(&pending.json).unwrap());
    let reports = records.map(|record| match record.body {
        RecordBody::Stop(report) => *report,
        other => panic!("another record: {other:?}"),
    });
    reports.collect()
}

#[test]
fn a_frozen_tree_is_told_and_goes_on_when_it_is_thawed() {
    let (dir, stray) = (tempfile::tempdir().unwrap(), Stray::new());
    let spool = Arc::new(spool(dir.path()));
    let written = Arc::new(Notify::new());
    let recorder = Recorder::start(Arc::clone(&spool), dir.path(), written).unwrap();
    let stopper = Stopper::start(dir.path(), recorder.clone(), Arc::new(OnceLock::new())).unwrap();
    stopper.stop(StopJob {
        act: StopAct::Frozen,
        tree: stray.tree(),
        name: Some("b00t:7:9".into()),
        reason: "sleep judged malicious".into(),
        event_mono_ns: 1,
        policy_version: 3,
        tell_always: true,
    });
    let (to, answered) = oneshot::channel();
    stopper.thaw("a false alarm".into(), to);
    let Answer::Done { detail, .. } = answered.blocking_recv().unwrap() else {
        panic!("not thawed");
    };
    assert_eq!(detail, "1 process goes on");
    assert!(!stray.stands());
    assert!(recorder.flush(Duration::from_secs(10)));
    let told = stops(&spool);
    let [frozen, thawed] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!((frozen.act, thawed.act), (StopAct::Frozen, StopAct::Thawed));
    assert_eq!(frozen.tree.as_deref(), Some("b00t:7:9"));
    assert_eq!((frozen.policy_version, thawed.policy_version), (3, 0));
    for report in [frozen, thawed] {
        assert!(report.proved && report.count == 1, "{report:?}");
        assert_eq!(report.processes[0].pid, stray.0.pid);
        assert!(report.processes[0].exe.ends_with("/sleep"), "{report:?}");
    }
}

#[test]
fn root_thaws_without_a_daemon_and_it_is_told_later() {
    let (dir, stray) = (tempfile::tempdir().unwrap(), Stray::new());
    let (base, state) = (dir.path().display(), dir.path().join("state"));
    std::fs::create_dir(&state).unwrap();
    let config = dir.path().join("agent.toml");
    let settings = format!("state_dir = '{base}/state'\nrun_dir = '{base}/run'\n");
    std::fs::write(&config, settings).unwrap();
    let config = config.to_str().unwrap();
    let said = |arguments: &[&str]| -> Value {
        let output = agent(&[arguments, &["--json", "--config", config]].concat(), b"");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", complaint(&output)))
    };
    let thaw = ["thaw", "--reason", "a false alarm"];
    assert_eq!(said(&thaw)["detail"], "nobody was frozen");
    assert!(trees(&state).freeze(&stray.tree()).unwrap().is_whole);
    assert!(stray.stands());
    assert_eq!(said(&["status"])["frozen"], 1);
    let thawed = said(&thaw);
    assert_eq!(
        (&thawed["done"], &thawed["detail"]),
        (&true.into(), &"1 process goes on".into())
    );
    assert!(!stray.stands());
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let spool = Spool::open(&state.join("spool"), boot.trim(), Options::default()).unwrap();
    let told = stops(&spool);
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].reason,
        "at the machine, the agent was not running: a false alarm"
    );
}
