//! Processes are frozen and go on, by the daemon's thread and without a daemon.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cordon_agent::host::HostFacts;
use cordon_agent::local::Answer;
use cordon_agent::ordered::By;
use cordon_agent::recorder::Recorder;
use cordon_agent::stopping::{StopJob, Stopper, TreeOrder, trees};
use cordon_contain::Tree;
use cordon_proto::id::OrderId;
use cordon_proto::record::{Ordered, Record, RecordBody, StopAct, StopReport};
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

fn stopper(dir: &Path, recorder: &Recorder) -> Stopper {
    let (facts, kin) = (HostFacts::read().unwrap(), Arc::new(OnceLock::new()));
    Stopper::start(dir, facts, recorder.clone(), kin).unwrap()
}

#[test]
fn a_frozen_tree_is_told_and_goes_on_when_it_is_thawed() {
    let (dir, stray) = (tempfile::tempdir().unwrap(), Stray::new());
    let spool = Arc::new(spool(dir.path()));
    let written = Arc::new(Notify::new());
    let recorder = Recorder::start(Arc::clone(&spool), dir.path(), written).unwrap();
    let stopper = stopper(dir.path(), &recorder);
    stopper.stop(StopJob {
        act: StopAct::Frozen,
        tree: stray.tree(),
        name: Some("b00t:7:9".into()),
        reason: "sleep judged malicious".into(),
        event_mono_ns: 1,
        policy_version: 3,
        tell_always: true,
        ordered: None,
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

/// Gives orders about processes, as the engine does when it has admitted them.
struct Orders {
    stopper: Stopper,
    id: OrderId,
}

impl Orders {
    fn give(&self, act: StopAct, root: ProcessKey, protected: &[&str], is_again: bool) -> Answer {
        let order = TreeOrder {
            act,
            root,
            protected: protected.iter().map(|path| (*path).to_owned()).collect(),
            by: By {
                ordered: Ordered {
                    order: self.id,
                    by: "ada".into(),
                    undoes: None,
                },
                reason: "ordered by ada: test".into(),
                policy_version: 7,
            },
            is_again,
        };
        let (to, answered) = oneshot::channel();
        self.stopper.obey(order, to);
        answered.blocking_recv().unwrap()
    }

    fn done(&self, act: StopAct, root: ProcessKey) -> String {
        match self.give(act, root, &[], false) {
            Answer::Done { detail, .. } => detail,
            other => panic!("not done: {other:?}"),
        }
    }

    fn failure(&self, act: StopAct, root: ProcessKey, protected: &[&str]) -> String {
        match self.give(act, root, protected, false) {
            Answer::Failed { detail } => detail,
            other => panic!("not failed: {other:?}"),
        }
    }
}

#[test]
fn an_ordered_tree_is_frozen_thawed_and_killed_and_each_is_told_with_who_ordered_it() {
    let (dir, stray) = (tempfile::tempdir().unwrap(), Stray::new());
    let spool = Arc::new(spool(dir.path()));
    let written = Arc::new(Notify::new());
    let recorder = Recorder::start(Arc::clone(&spool), dir.path(), written).unwrap();
    let orders = Orders {
        stopper: stopper(dir.path(), &recorder),
        id: OrderId::generate(),
    };
    let frozen = orders.done(StopAct::Frozen, stray.0);
    assert!(
        frozen.starts_with("1 processes are frozen; 0 of the tree run on"),
        "{frozen}"
    );
    assert!(stray.stands());
    let again = orders.done(StopAct::Frozen, stray.0);
    assert!(again.starts_with("0 processes are frozen"), "{again}");
    assert_eq!(orders.done(StopAct::Thawed, stray.0), "1 process goes on");
    assert!(!stray.stands());
    assert_eq!(orders.done(StopAct::Thawed, stray.0), "nobody was frozen");
    let killed = orders.done(StopAct::Killed, stray.0);
    assert!(
        killed.starts_with("1 processes are killed; 0 survive"),
        "{killed}"
    );
    // Ended is who was to be killed; whether by this order is only asked when it was begun before.
    let ended = orders.failure(StopAct::Killed, stray.0, &[]);
    assert!(ended.contains("nothing was done"), "{ended}");
    let finished = orders.give(StopAct::Killed, stray.0, &[], true);
    assert!(matches!(finished, Answer::Done { .. }), "{finished:?}");
    assert!(recorder.flush(Duration::from_secs(10)));
    let told = stops(&spool);
    let acts: Vec<StopAct> = told.iter().map(|report| report.act).collect();
    let wanted = [
        StopAct::Frozen,
        StopAct::Frozen,
        StopAct::Thawed,
        StopAct::Killed,
    ];
    assert_eq!(acts, wanted, "{told:?}");
    for report in &told {
        let by = report.ordered.as_ref().unwrap();
        assert_eq!((by.order, by.by.as_str()), (orders.id, "ada"));
        assert!(report.proved && report.policy_version == 7, "{report:?}");
    }
}

#[test]
fn who_has_the_pid_now_and_who_is_protected_is_not_touched_by_an_order() {
    let (dir, stray) = (tempfile::tempdir().unwrap(), Stray::new());
    let spool = Arc::new(spool(dir.path()));
    let recorder = Recorder::start(spool, dir.path(), Arc::new(Notify::new())).unwrap();
    let orders = Orders {
        stopper: stopper(dir.path(), &recorder),
        id: OrderId::generate(),
    };
    let before = ProcessKey {
        start_ns: stray.0.start_ns - 10_000_000,
        ..stray.0
    };
    let exe = std::fs::read_link(format!("/proc/{}/exe", stray.0.pid)).unwrap();
    let exe = exe.to_str().unwrap();
    for act in [StopAct::Killed, StopAct::Frozen, StopAct::CutOff] {
        let recycled = orders.failure(act, before, &[]);
        assert!(recycled.contains("given to another"), "{recycled}");
        let protected = orders.failure(act, stray.0, &[exe]);
        assert!(protected.contains("protected by the policy"), "{protected}");
    }
    let own = ProcessKey {
        pid: std::process::id(),
        start_ns: Tree::of_pid(std::process::id(), Vec::new())
            .unwrap()
            .root
            .start_ns,
    };
    let agent = orders.failure(StopAct::Killed, own, &[]);
    assert!(agent.contains("the agent itself"), "{agent}");
    assert!(!stray.stands());
}
