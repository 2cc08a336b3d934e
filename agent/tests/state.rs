//! What must outlive a restart: policy, orders, outbox, journal.

// Long because each of these is written, lost and read back in its own way.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cordon_agent::filing::HeldFile;
use cordon_agent::orders::{Fate, Goal, Orders, Step, fate};
use cordon_agent::policy_store::{Offer, PolicyStore};
use cordon_agent::recorder::Recorder;
use cordon_agent::uplink::Window;
use cordon_proto::envelope::{Envelope, sign};
use cordon_proto::id::{HostId, IsolationId, OrderId};
use cordon_proto::order::{Order, OrderState, Receipt, Verb};
use cordon_proto::policy::Policy;
use cordon_proto::record::{LossReport, Record, RecordBody, TamperReport};
use cordon_respond::isolation::State;
use cordon_spool::{Class, Options, Spool};
use jiff::{SignedDuration, Timestamp};
use support::{Ca, key};
use tokio::sync::Notify;

fn policy(version: u64, group: &str) -> Policy {
    serde_json::from_value(serde_json::json!({
        "version": version, "site": "test", "group": group,
        "issued_at": "2026-01-01T00:00:00Z", "expires_at": "2026-02-01T00:00:00Z", "mode": "autonomous",
        "isolation": {"lease_seconds": 60, "without_proof": "stay_shut", "allow": []},
        "caps": {"isolations_per_hour": 1}, "protected_processes": [], "order_keys": [],
    }))
    .unwrap()
}

#[test]
fn the_last_good_policy_outlives_restarts_and_refusals() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Ca::new().identity("controller:7443", key(1).verifying_key());
    let mut store = PolicyStore::load(dir.path(), &identity);
    let offer = |store: &mut PolicyStore, policy: &Policy, seed| {
        store.offer(&sign(policy, &key(seed)).to_json())
    };
    assert!(matches!(
        offer(&mut store, &policy(2, "servers"), 1),
        Offer::Taken(2)
    ));
    // Long past its expiry: it still protects, and says that it is stale.
    assert!(store.stale_since(Timestamp::now()).is_some());

    let refusals = [
        (
            offer(&mut store, &policy(3, "servers"), 9),
            0,
            "no valid signature",
        ),
        (
            offer(&mut store, &policy(1, "servers"), 1),
            1,
            "not newer than version 2",
        ),
        (
            offer(&mut store, &policy(3, "desktops"), 1),
            3,
            "this host is in test/servers",
        ),
        (store.offer(b"{"), 0, "not valid DSSE JSON"),
    ];
    for (refusal, wanted_version, wanted) in refusals {
        let Offer::Refused { version, why } = refusal else {
            panic!("{refusal:?} should be refused: {wanted}");
        };
        let why = cordon_agent::chain(&why);
        assert!(why.contains(wanted), "{why}");
        assert_eq!(version, wanted_version, "{why}");
    }
    assert!(matches!(
        offer(&mut store, &policy(2, "servers"), 1),
        Offer::Same
    ));
    assert_eq!(PolicyStore::load(dir.path(), &identity).version(), 2);

    std::fs::write(dir.path().join("policy.json"), b"{\"payloadType\":").unwrap();
    assert_eq!(PolicyStore::load(dir.path(), &identity).version(), 0);
}

fn order(verb: Verb, now: Timestamp) -> Order {
    Order {
        id: OrderId::generate(),
        host: HostId::generate(),
        verb,
        reason: "test".into(),
        requested_by: "admin".into(),
        issued_at: now,
        expires_at: now + SignedDuration::from_mins(10),
        undoes: None,
    }
}

fn read(receipt: &Envelope, seed: u8) -> Receipt {
    receipt.open(&[key(seed).verifying_key()]).unwrap()
}

#[test]
fn an_order_and_its_receipts_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (host, now) = (HostId::generate(), Timestamp::now());
    let mut orders = Orders::load(dir.path(), host, &key(5)).unwrap();
    let order = order(Verb::Release, now);
    let started = orders.begin(&order, Goal::Open, None, now).unwrap();
    assert_eq!(read(&started, 5).state, OrderState::Started);

    let mut orders = Orders::load(dir.path(), host, &key(5)).unwrap();
    assert!(orders.is_taken(order.id));
    assert_eq!(orders.unsettled(), [(order.id, Goal::Open)]);
    let isolation = IsolationId::generate();
    let done = orders.settle(order.id, Fate::Done("open".into()), Some(isolation), now);
    let receipt = read(&done, 5);
    assert_eq!(
        (receipt.state, receipt.host, receipt.isolation),
        (OrderState::Done, host, Some(isolation))
    );

    let orders = Orders::load(dir.path(), host, &key(5)).unwrap();
    assert!(orders.unsettled().is_empty());
    assert_eq!(orders.receipts(order.id), [started, done]);
}

#[test]
fn an_order_that_the_disk_does_not_take_is_taken_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (host, now) = (HostId::generate(), Timestamp::now());
    let mut orders = Orders::load(dir.path(), host, &key(5)).unwrap();
    // In the place of the temporary file: writing fails whoever asks, root too.
    std::fs::create_dir(dir.path().join("orders.json.new")).unwrap();
    let order = order(Verb::Release, now);
    let refused = orders.begin(&order, Goal::Open, None, now).unwrap_err();
    assert!(!orders.is_taken(order.id));
    let started = orders.begin_unkept(&order, Goal::Open, None, &refused, now);
    let receipt = read(&started, 5);
    assert_eq!(receipt.state, OrderState::Started);
    let said =
        "release began; a restart of the agent forgets it, because it is not on the disk: cannot";
    assert!(receipt.detail.starts_with(said), "{}", receipt.detail);
    // Given again in the meantime, it is answered and not carried out again.
    assert!(orders.is_taken(order.id));
    assert_eq!(orders.unsettled(), [(order.id, Goal::Open)]);
    let done = orders.settle(order.id, Fate::Done("open".into()), None, now);
    assert_eq!(orders.receipts(order.id), [started, done]);

    let orders = Orders::load(dir.path(), host, &key(5)).unwrap();
    assert!(!orders.is_taken(order.id));
}

#[test]
fn a_step_outlives_a_restart_whole_and_counts_for_an_hour() {
    let dir = tempfile::tempdir().unwrap();
    let (host, now) = (HostId::generate(), Timestamp::now());
    let mut orders = Orders::load(dir.path(), host, &key(5)).unwrap();
    let process = "0f3c9a1e:412:3210000000".parse().unwrap();
    let kill = Order {
        undoes: Some(OrderId::generate()),
        ..order(Verb::KillTree { process }, now)
    };
    let step = Goal::Step(Box::new(Step {
        order: kill.clone(),
        at: now,
        file: Some(HeldFile {
            path: "/tmp/x".into(),
            sha256: "00".into(),
        }),
    }));
    orders.begin(&kill, step.clone(), None, now).unwrap();
    let thaw = order(Verb::Release, now);
    orders.begin(&thaw, Goal::Open, None, now).unwrap();
    let mut orders = Orders::load(dir.path(), host, &key(5)).unwrap();
    assert_eq!(orders.unsettled()[0], (kill.id, step));
    orders.settle(kill.id, Fate::Done("0 survive".into()), None, now);
    let orders = Orders::load(dir.path(), host, &key(5)).unwrap();
    let at = |minutes| now + SignedDuration::from_mins(minutes);
    assert_eq!(orders.steps_last_hour(at(59)), 1);
    assert_eq!(orders.steps_last_hour(at(61)), 0);
    assert_eq!(
        orders.steps_last_hour(at(-5)),
        1,
        "a clock that was set back"
    );
}

#[test]
fn a_damaged_list_of_orders_is_set_aside_and_the_agent_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("orders.json"), b"[{").unwrap();
    let orders = Orders::load(dir.path(), HostId::generate(), &key(5)).unwrap();
    assert!(orders.unsettled().is_empty());
    assert!(dir.path().join("orders.json.damaged").exists());
}

#[test]
fn a_release_is_done_only_when_the_host_is_open() {
    assert!(matches!(
        fate(&Goal::Open, &State::Open, &[]),
        Some(Fate::Done(_))
    ));
    let goal = Goal::Shut {
        id: IsolationId::generate(),
        lease: None,
    };
    assert!(matches!(
        fate(&goal, &State::Open, &[]),
        Some(Fate::Failed(_))
    ));
}

fn spool(dir: &std::path::Path) -> Arc<Spool> {
    Arc::new(Spool::open(&dir.join("spool"), "boot-1", Options::default()).unwrap())
}

fn record(n: u64) -> Record {
    Record {
        at: Timestamp::now(),
        body: RecordBody::Loss(LossReport {
            source: "test".into(),
            count: n,
            reason: "test".into(),
        }),
    }
}

fn journal_bytes(state_dir: &std::path::Path) -> u64 {
    let journal = state_dir.join("evidence.journal");
    std::fs::metadata(journal).unwrap().len()
}

#[test]
fn what_is_recorded_is_in_the_outbox_in_order_and_the_journal_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let recorder =
        Recorder::start(Arc::clone(&spool), dir.path(), Arc::new(Notify::new())).unwrap();
    for n in 0..100 {
        recorder.record(record(n).body);
    }
    recorder.journal(&record(100));
    assert!(journal_bytes(dir.path()) > 0);
    recorder.record_journaled(&record(100));
    assert!(recorder.flush(Duration::from_secs(10)));
    let kept = spool.pending(None, 1000, 1 << 20).unwrap();
    let counts = kept.iter().map(|pending| {
        let record: Record = serde_json::from_slice(&pending.json).unwrap();
        let RecordBody::Loss(loss) = record.body else {
            panic!("another record");
        };
        loss.count
    });
    assert!(counts.eq(0..=100));
    assert_eq!(journal_bytes(dir.path()), 0);
    assert_eq!(recorder.take_lost(), 0);
}

fn tamper(n: u64) -> RecordBody {
    RecordBody::Tamper(TamperReport {
        what: format!("test {n}"),
        repaired: true,
        micros: n,
        by: None,
    })
}

/// The outbox takes nothing, as when the disk is slow; then the agent is killed: what the recorder wrote is all that
/// there is. The detection without reasons keeps the journal from being emptied meanwhile.
#[test]
fn evidence_that_has_not_reached_the_outbox_is_taken_up_once_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let start =
        || Recorder::start(Arc::clone(&spool), dir.path(), Arc::new(Notify::new())).unwrap();
    let recorder = start();
    recorder.journal(
        &serde_json::from_slice(&detection(Timestamp::now(), &serde_json::json!([]))).unwrap(),
    );
    for n in 0..3 {
        recorder.record(tamper(n));
    }
    recorder.record(record(3).body);
    // As it lies there at the moment of the kill.
    let journal = dir.path().join("evidence.journal");
    let left = std::fs::read(&journal).unwrap();
    assert_eq!(left.split(|byte| *byte == b'\n').count(), 5);
    assert!(recorder.flush(Duration::from_secs(10)));
    drop(recorder);
    // Two of the three got there before the kill, and the detection did not.
    let sent = spool.pending(None, 2, 1 << 20).unwrap();
    let rest: Vec<u8> = [&left[..], &left[..40]].concat();
    let other = tempfile::tempdir().unwrap();
    let fresh = self::spool(other.path());
    for one in &sent {
        fresh.append(Class::Evidence, &one.json).unwrap();
    }
    std::fs::write(other.path().join("evidence.journal"), rest).unwrap();
    drop(Recorder::start(Arc::clone(&fresh), other.path(), Arc::new(Notify::new())).unwrap());
    let kinds = fresh.pending(None, 10, 1 << 20).unwrap();
    let kinds: Vec<String> = kinds
        .iter()
        .map(|pending| {
            let record: serde_json::Value = serde_json::from_slice(&pending.json).unwrap();
            format!("{} {}", record["kind"], record["body"]["micros"])
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "\"tamper\" 0",
            "\"tamper\" 1",
            "\"detection\" null",
            "\"tamper\" 2"
        ]
    );
    assert_eq!(journal_bytes(other.path()), 0);
}

fn detection(at: Timestamp, reasons: &serde_json::Value) -> Vec<u8> {
    let json = serde_json::json!({
        "at": at, "kind": "detection", "body": {
            "tree": "75f71021:19:2339533799545", "pid": 20, "story": {"id": "20@1", "process": {"exe": "/bin/sh"}},
            "verdict": {"id": "20@1", "score": 0.98, "verdict": "malicious", "techniques": [], "reasons": reasons,
                "stage": "model", "model": "behavior-1@7d5d3647cd1b", "micros": 1200},
            "policy_version": 1, "decision": "isolate", "decision_reason": "malicious", "event_mono_ns": 7,
        }
    });
    let record: Record = serde_json::from_value(json).unwrap();
    cordon_agent::recorder::to_json(&record)
}

/// `kill -9` between the journal and the outbox, and between the outbox and the journal's end. In the outbox the
/// record has its reasons.
#[test]
fn a_journal_left_behind_is_taken_up_exactly_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("evidence.journal");
    let spool = spool(dir.path());
    let start = || {
        let written = Arc::new(Notify::new());
        drop(Recorder::start(Arc::clone(&spool), dir.path(), written).unwrap());
        assert_eq!(journal_bytes(dir.path()), 0);
        spool.stats().records
    };
    let now = Timestamp::now();
    std::fs::write(&journal, detection(now, &serde_json::json!([]))).unwrap();
    assert_eq!(start(), 1);
    let kept = spool.pending(None, 10, 1 << 20).unwrap();
    assert_eq!(kept[0].json, detection(now, &serde_json::json!([])));

    let later = now + SignedDuration::from_secs(1);
    let explained = serde_json::json!([{"text": "standard input is a socket", "weight": 0.4}]);
    spool
        .append(Class::Evidence, &detection(later, &explained))
        .unwrap();
    std::fs::write(&journal, detection(later, &serde_json::json!([]))).unwrap();
    assert_eq!(start(), 2);

    // Cut short: the drop comes after the whole file, so nothing was done about it.
    let whole = detection(later, &serde_json::json!([]));
    std::fs::write(&journal, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(start(), 2);
}

/// What was decided about it later takes the place of what the journal had first, before and after a kill.
#[test]
fn a_detection_that_was_decided_anew_is_taken_up_once_as_it_was_last() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let start =
        || Recorder::start(Arc::clone(&spool), dir.path(), Arc::new(Notify::new())).unwrap();
    let decided = |at: Timestamp, decision: &str| -> Record {
        let mut record: serde_json::Value =
            serde_json::from_slice(&detection(at, &serde_json::json!([]))).unwrap();
        record["body"]["decision"] = decision.into();
        serde_json::from_value(record).unwrap()
    };
    let now = Timestamp::now();
    let recorder = start();
    recorder.journal(&decided(now, "recommend_isolate"));
    recorder.journal_again(&decided(now, "isolate"));
    let left = std::fs::read(dir.path().join("evidence.journal")).unwrap();
    recorder.record_journaled(&decided(now, "isolate"));
    assert!(recorder.flush(Duration::from_secs(10)));
    assert_eq!(journal_bytes(dir.path()), 0);
    drop(recorder);

    let decisions = |spool: &Spool| -> Vec<String> {
        let all = spool.pending(None, 10, 1 << 20).unwrap();
        all.iter()
            .map(|pending| {
                let record: serde_json::Value = serde_json::from_slice(&pending.json).unwrap();
                record["body"]["decision"].as_str().unwrap().to_owned()
            })
            .collect()
    };
    assert_eq!(decisions(&spool), ["isolate"]);
    let other = tempfile::tempdir().unwrap();
    let fresh = self::spool(other.path());
    std::fs::write(other.path().join("evidence.journal"), left).unwrap();
    drop(Recorder::start(Arc::clone(&fresh), other.path(), Arc::new(Notify::new())).unwrap());
    assert_eq!(decisions(&fresh), ["isolate"]);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_by_the_next_session() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    for n in 0..10u8 {
        spool.append(Class::Evidence, &[n]).unwrap();
    }
    let now = Instant::now();
    let mut window = Window::default();
    let room = window.room();
    let batches = window.send(spool.pending(window.after(), 6, 1 << 20).unwrap(), now);
    assert_eq!(batches.len(), 1);
    let sequences: Vec<u64> = batches[0]
        .records
        .iter()
        .map(|record| record.sequence)
        .collect();
    assert_eq!(sequences.len(), 6);
    assert_eq!(window.room(), room - 6);
    assert!(window.silence(now + Duration::from_secs(9)) >= Duration::from_secs(9));

    let ranges = [(sequences[0], sequences[1]), (sequences[4], sequences[5])];
    window.acknowledged("boot-1", &ranges, now);
    spool.acknowledge("boot-1", &ranges).unwrap();
    assert_eq!(window.room(), room - 2);
    // The next batch goes on behind the last one.
    let more = window.send(spool.pending(window.after(), 100, 1 << 20).unwrap(), now);
    assert_eq!(more[0].records.len(), 4);

    let mut next_session = Window::default();
    let again = next_session.send(
        spool.pending(next_session.after(), 100, 1 << 20).unwrap(),
        now,
    );
    let texts: Vec<u8> = again[0]
        .records
        .iter()
        .map(|record| record.json[0])
        .collect();
    assert_eq!(texts, [2, 3, 6, 7, 8, 9]);
    next_session.acknowledged("another boot", &[(0, u64::MAX)], now);
    next_session.acknowledged("boot-1", &[(0, u64::MAX)], now);
    assert_eq!(next_session.room(), room);
    assert_eq!(
        next_session.silence(now + Duration::from_secs(9)),
        Duration::ZERO
    );
}
