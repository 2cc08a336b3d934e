//! Remote ends are blocked, told, and reached again, by the daemon's thread and without a daemon. Each test has a network
//! of its own, in which the "remote" end is an address of its loopback device.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cordon_agent::blocking::{BlockJob, Blocker, PeerJob};
use cordon_agent::local::Answer;
use cordon_agent::recorder::Recorder;
use cordon_contain::{Blocks, Peer, ProbeTarget};
use cordon_proto::id::HostId;
use cordon_proto::policy::{AddressOrNetwork, Transport};
use cordon_proto::record::{BlockAct, BlockReport, Record, RecordBody};
use cordon_spool::{Options, Spool};
use jiff::{SignedDuration, Timestamp};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use support::{agent, complaint};
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};

const REMOTES: [&str; 2] = ["203.0.113.9:4444", "[2001:db8::9]:4444"];

/// This thread and what it starts are in a network namespace of their own from now on.
fn own_network() {
    unshare(CloneFlags::CLONE_NEWNET).expect("root is needed: run the tests as root");
    sh(
        "ip link set lo up; ip address add 203.0.113.9/32 dev lo; ip address add 2001:db8::9/128 dev lo nodad",
    );
}

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn targets() -> Vec<ProbeTarget> {
    let target = |address: &str| ProbeTarget {
        address: address.parse().unwrap(),
        transport: Transport::Tcp,
    };
    REMOTES.map(target).to_vec()
}

fn is_reached(remote: &str) -> bool {
    let remote: SocketAddr = remote.parse().unwrap();
    TcpStream::connect_timeout(&remote, Duration::from_millis(250)).is_ok()
}

fn job() -> BlockJob {
    BlockJob {
        remotes: targets(),
        spared: Vec::new(),
        until: Timestamp::now() + SignedDuration::from_hours(1),
        name: "b00t:7:9".into(),
        reason: "sh judged malicious".into(),
        event_mono_ns: 1,
        policy_version: 3,
    }
}

/// An outbox and whoever writes to it.
struct Told {
    dir: TempDir,
    spool: Arc<Spool>,
    recorder: Recorder,
}

impl Told {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Arc::new(spool(dir.path(), "boot-1"));
        let written = Arc::new(Notify::new());
        let recorder = Recorder::start(Arc::clone(&spool), dir.path(), written).unwrap();
        Self {
            dir,
            spool,
            recorder,
        }
    }

    fn blocker(&self) -> Blocker {
        let blocks = Blocks::open(self.dir.path()).unwrap();
        Blocker::start(blocks, self.recorder.clone()).unwrap()
    }

    fn reports(&self) -> Vec<BlockReport> {
        assert!(self.recorder.flush(Duration::from_secs(10)));
        reports(&self.spool)
    }
}

fn spool(dir: &Path, boot: &str) -> Spool {
    Spool::open(&dir.join("spool"), boot, Options::default()).unwrap()
}

fn reports(spool: &Spool) -> Vec<BlockReport> {
    let kept = spool.pending(None, 1000, 1 << 20).unwrap();
    let records = kept
        .iter()
        .map(|pending| serde_json::from_slice::<Record>(&pending.json).unwrap());
    let reports = records.map(|record| match record.body {
        RecordBody::Block(report) => *report,
        other => panic!("another record: {other:?}"),
    });
    reports.collect()
}

fn unblock(blocker: &Blocker, address: &str) -> Answer {
    let (to, answered) = oneshot::channel();
    blocker.unblock(address.parse().unwrap(), "a false alarm".into(), to);
    answered.blocking_recv().unwrap()
}

fn eventually(mut is_true: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !is_true() {
        if began.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

#[test]
fn remote_ends_are_blocked_told_and_reached_again() {
    own_network();
    let listeners = REMOTES.map(|remote| TcpListener::bind(remote).unwrap());
    let open = REMOTES.map(|remote| TcpStream::connect(remote).unwrap());
    let told = Told::new();
    let blocker = told.blocker();
    blocker.block(job());
    assert!(eventually(|| told.reports().len() == 1));
    let report = told.reports().remove(0);
    assert_eq!(report.act, BlockAct::Blocked);
    assert_eq!(report.tree.as_deref(), Some("b00t:7:9"));
    assert_eq!((report.addresses.len(), report.policy_version), (2, 3));
    assert!(
        report.proved && report.until.is_some() && report.event_to_block_micros.is_some(),
        "{report:?}"
    );
    assert_eq!(report.probes.len(), 2);
    assert!(
        report
            .probes
            .iter()
            .all(|probe| !probe.reached && !probe.expected)
    );
    // Both ends of each are this host's here.
    assert_eq!(report.cut, 4, "{open:?}");
    assert!(!REMOTES.iter().any(|remote| is_reached(remote)));
    // The same again is no news.
    assert!(eventually(|| blocker.in_force(Timestamp::now()).len() == 2));
    blocker.block(job());

    let Answer::Done { detail, .. } = unblock(&blocker, "203.0.113.9") else {
        panic!("not unblocked");
    };
    assert_eq!(detail, "203.0.113.9 can be reached again");
    assert_eq!(blocker.in_force(Timestamp::now()).len(), 1);
    assert_eq!(REMOTES.map(is_reached), [true, false]);
    let Answer::Failed { detail } = unblock(&blocker, "203.0.113.9") else {
        panic!("unblocked twice");
    };
    assert!(detail.starts_with("203.0.113.9 is not blocked"), "{detail}");
    assert!(matches!(
        unblock(&blocker, "2001:db8::9"),
        Answer::Done { .. }
    ));
    assert_eq!(REMOTES.map(is_reached), [true, true]);
    let reports = told.reports();
    let [_, first, second] = reports.as_slice() else {
        panic!("{reports:?}");
    };
    for report in [first, second] {
        assert_eq!(
            (report.act, report.policy_version),
            (BlockAct::Unblocked, 0)
        );
        assert!(report.proved && report.tree.is_none(), "{report:?}");
    }
    drop(listeners);
}

#[test]
fn an_isolated_host_is_blocked_told_once_and_reached_again() {
    own_network();
    let listeners = REMOTES.map(|remote| TcpListener::bind(remote).unwrap());
    let told = Told::new();
    let blocker = told.blocker();
    let host = HostId::generate();
    let block = |host, seconds| {
        let (to, answered) = oneshot::channel();
        let job = PeerJob {
            peer: Peer {
                host,
                addresses: targets().iter().map(|target| target.address.ip()).collect(),
                until: Timestamp::now() + SignedDuration::from_secs(seconds),
            },
            spared: Vec::new(),
            most: 1,
            reason: "host \"ep1\" is isolated".into(),
            policy_version: 3,
        };
        blocker.block_peer(job, to);
        answered.blocking_recv().unwrap()
    };
    for seconds in [600, 1200] {
        let Answer::Done { detail, .. } = block(host, seconds) else {
            panic!("not blocked");
        };
        assert!(detail.ends_with("with proof"), "{detail}");
    }
    assert!(matches!(
        block(HostId::generate(), 600),
        Answer::Failed { .. }
    ));
    assert_eq!(REMOTES.map(is_reached), [false, false]);
    let in_force = blocker.in_force(Timestamp::now());
    assert!(in_force.len() == 2 && in_force.iter().all(|block| block.peer == Some(host)));
    for detail in [
        "203.0.113.9, 2001:db8::9 can be reached again",
        "it was not blocked",
    ] {
        let (to, answered) = oneshot::channel();
        blocker.unblock_peer(host, "released".into(), to);
        let answer = answered.blocking_recv().unwrap();
        let wanted = Answer::Done {
            detail: detail.into(),
            isolation: None,
        };
        assert_eq!(answer, wanted);
    }
    assert_eq!(REMOTES.map(is_reached), [true, true]);
    let reports = told.reports();
    let [first, second] = reports.as_slice() else {
        panic!("{reports:?}");
    };
    assert_eq!((first.peer, first.policy_version), (Some(host), 3));
    assert!(first.proved && first.until.is_some() && second.proved);
    assert_eq!((second.act, second.peer), (BlockAct::Unblocked, Some(host)));
    drop(listeners);
}

#[test]
fn a_policy_that_protects_who_is_blocked_ends_the_block_and_no_other() {
    own_network();
    let listeners = REMOTES.map(|remote| TcpListener::bind(remote).unwrap());
    let told = Told::new();
    let blocker = told.blocker();
    blocker.block(job());
    assert!(eventually(|| told.reports().len() == 1));
    let protect = |entries: &[&str], version| {
        let entries: Vec<AddressOrNetwork> = entries.iter().map(|e| e.parse().unwrap()).collect();
        blocker.protect(&entries, version);
    };
    protect(&["203.0.112.0/24", "2001:db8::8"], 4);
    protect(&["203.0.113.0/24"], 5);
    assert!(eventually(|| told.reports().len() == 2));
    assert_eq!(REMOTES.map(is_reached), [true, false]);
    let report = told.reports().remove(1);
    assert_eq!(report.act, BlockAct::Unblocked);
    assert_eq!(report.addresses, [targets()[0].address.ip()]);
    assert_eq!(report.reason, "policy version 5 protects it");
    assert!(report.proved && report.policy_version == 5, "{report:?}");
    assert!(eventually(|| blocker.in_force(Timestamp::now()).len() == 1));

    // What is on disk is taken up at a start, and held against the policy as soon as there is one.
    drop(blocker);
    let again = told.blocker();
    assert!(eventually(|| again.in_force(Timestamp::now()).len() == 1));
    again.protect(&["2001:db8::/32".parse().unwrap()], 6);
    assert!(eventually(|| again.in_force(Timestamp::now()).is_empty()));
    assert_eq!(REMOTES.map(is_reached), [true, true]);
    drop(listeners);
}

#[test]
fn a_restart_takes_blocks_up_and_puts_back_what_the_kernel_forgot() {
    own_network();
    let listeners = REMOTES.map(|remote| TcpListener::bind(remote).unwrap());
    let told = Told::new();
    told.blocker().block(job());
    assert!(eventually(|| told.reports().len() == 1));
    for what_happened in ["true", "nft flush ruleset"] {
        sh(what_happened);
        let again = told.blocker();
        assert!(eventually(|| again.in_force(Timestamp::now()).len() == 2));
        assert!(
            !REMOTES.iter().any(|remote| is_reached(remote)),
            "{what_happened}"
        );
    }
    // Nobody is to blame for a reboot.
    assert_eq!(told.reports().len(), 1);
    drop(listeners);
}

#[test]
fn what_cannot_be_blocked_is_told_with_why() {
    own_network();
    let told = Told::new();
    std::fs::write(told.dir.path().join("blocks.json"), "{").unwrap();
    told.blocker().block(job());
    assert!(eventually(|| told.reports().len() == 1));
    let report = told.reports().remove(0);
    assert!(
        !report.proved && report.addresses.is_empty() && report.until.is_none(),
        "{report:?}"
    );
    assert_eq!(report.spared.len(), 2);
    assert!(
        report.spared[0].why.contains("blocks.json is damaged"),
        "{report:?}"
    );
}

#[test]
fn root_unblocks_without_a_daemon_and_it_is_told_later() {
    own_network();
    let dir = tempfile::tempdir().unwrap();
    let (base, state) = (dir.path().display(), dir.path().join("state"));
    let config = dir.path().join("agent.toml");
    let settings = format!("state_dir = '{base}/state'\nrun_dir = '{base}/run'\n");
    std::fs::write(&config, settings).unwrap();
    let config = config.to_str().unwrap();
    let run = |arguments: &[&str]| agent(&[arguments, &["--config", config]].concat(), b"");
    let said = |arguments: &[&str]| -> Value {
        let output = run(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", complaint(&output)))
    };
    assert_eq!(said(&["status"])["blocked"], serde_json::json!([]));
    let until = Timestamp::now() + SignedDuration::from_hours(1);
    let blocks = Blocks::open(&state).unwrap();
    let addresses = ["203.0.113.9".parse().unwrap()];
    assert!(
        blocks
            .block(&addresses, until, Timestamp::now())
            .unwrap()
            .is_whole
    );
    assert_eq!(said(&["status"])["blocked"][0]["address"], "203.0.113.9");
    let unblock = ["unblock", "203.0.113.9", "--reason", "a false alarm"];
    assert_eq!(said(&unblock)["done"], true);
    assert_eq!(said(&["status"])["blocked"], serde_json::json!([]));
    assert!(!sh("nft list ruleset").contains("cordon"));
    for (arguments, code) in [
        (&unblock[..], 1),
        (&["unblock", "example.org", "--reason", "x"], 2),
        (&["unblock", "203.0.113.9"], 2),
        (&["unblock", "--reason", "x"], 2),
    ] {
        assert_eq!(run(arguments).status.code(), Some(code), "{arguments:?}");
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let told = reports(&spool(&state, boot.trim()));
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].reason,
        "at the machine, the agent was not running: a false alarm"
    );
}
