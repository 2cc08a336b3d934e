//! Records are kept exactly once, with what follows from them.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use cordon_proto::id::IsolationId;
use cordon_proto::record::IsolationState;
use cordon_store::{
    EventQuery, Gap, Incident, IncidentQuery, IncidentStatus, IncomingRecord, Reading,
    SequenceRange, Store,
};
use proptest::prelude::*;
use support::{BOOT, at, database, detection, host, isolation, record};

fn all() -> EventQuery {
    EventQuery {
        limit: 1000,
        ..EventQuery::default()
    }
}

async fn incidents(store: &Store) -> Vec<Incident> {
    let query = IncidentQuery {
        limit: 1000,
        ..IncidentQuery::default()
    };
    store.incidents(&query).await.unwrap()
}

/// What a host may report in the property below.
#[derive(Clone, Debug)]
enum Fact {
    Detection { tree: usize },
    Isolation { tree: usize, released: bool },
    Loss,
    Garbage,
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        3 => (0..3usize).prop_map(|tree| Fact::Detection { tree }),
        2 => (0..3usize, any::<bool>())
            .prop_map(|(tree, released)| Fact::Isolation { tree, released }),
        1 => Just(Fact::Loss),
        1 => Just(Fact::Garbage),
    ]
}

const TREES: [&str; 3] = ["a:1:1", "b:2:2", "c:3:3"];

fn incoming(sequence: u64, fact: &Fact) -> IncomingRecord {
    // Later sequences have earlier clocks: order must come from the sequence.
    let seconds = 1000 - sequence.cast_signed();
    match fact {
        Fact::Detection { tree } => detection(sequence, seconds, TREES[*tree]),
        Fact::Isolation { tree, released } => {
            let state = if *released { "released" } else { "confirmed" };
            let id = IsolationId(TREES_IDS[*tree].parse().unwrap());
            isolation(sequence, seconds, id, state, Some(TREES[*tree]))
        }
        Fact::Loss => {
            let body = serde_json::json!({ "source": "spool", "count": 1, "reason": "" });
            record(sequence, seconds, "loss", &body)
        }
        Fact::Garbage => IncomingRecord {
            sequence,
            json: vec![0xff, b'{', 0],
            reading: Reading::Unreadable {
                why: "not JSON".into(),
            },
        },
    }
}

const TREES_IDS: [&str; 3] = [
    "01890000-0000-7000-8000-00000000000a",
    "01890000-0000-7000-8000-00000000000b",
    "01890000-0000-7000-8000-00000000000c",
];

/// The same by a few lines of map and set: what the database must come to.
fn check_against_reference(facts: &[Fact], batches: &[Vec<usize>]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let db = database().await;
        let host = host(&db.store, "ep1").await.id;
        let mut reference: BTreeMap<u64, &Fact> = BTreeMap::new();
        for batch in batches {
            let sequences: BTreeSet<u64> = batch.iter().map(|index| *index as u64 + 1).collect();
            let records: Vec<IncomingRecord> = batch
                .iter()
                .map(|index| incoming(*index as u64 + 1, &facts[*index]))
                .collect();
            let fresh = sequences
                .iter()
                .filter(|s| !reference.contains_key(s))
                .count();
            let committed = db
                .store
                .commit_batch(host, BOOT, &records, at(5000))
                .await
                .unwrap();
            prop_assert_eq!(committed.fresh, fresh);
            let acknowledged: BTreeSet<u64> = committed
                .ranges
                .iter()
                .flat_map(|r| r.first..=r.last)
                .collect();
            prop_assert_eq!(acknowledged, sequences);
            reference.extend(
                batch
                    .iter()
                    .map(|index| (*index as u64 + 1, &facts[*index])),
            );
        }
        check_events(&db.store, &reference).await?;
        check_incidents(&db.store, &reference).await?;
        check_isolation(&db.store, host, &reference).await
    })
}

async fn check_events(
    store: &Store,
    reference: &BTreeMap<u64, &Fact>,
) -> Result<(), TestCaseError> {
    let events = store.events(&all()).await.unwrap();
    prop_assert_eq!(events.len(), reference.len());
    let kinds: BTreeMap<u64, &str> = events
        .iter()
        .map(|e| (e.sequence, e.kind.as_str()))
        .collect();
    for (sequence, fact) in reference {
        let kind = match fact {
            Fact::Detection { .. } => "detection",
            Fact::Isolation { .. } => "isolation",
            Fact::Loss => "loss",
            Fact::Garbage => "unreadable",
        };
        prop_assert_eq!(kinds.get(sequence), Some(&kind));
    }
    Ok(())
}

async fn check_incidents(
    store: &Store,
    reference: &BTreeMap<u64, &Fact>,
) -> Result<(), TestCaseError> {
    let mut wanted: BTreeMap<&str, (u64, u64, Vec<u64>)> = BTreeMap::new();
    for (sequence, fact) in reference {
        let (tree, detections, isolations) = match fact {
            Fact::Detection { tree } => (tree, 1, 0),
            Fact::Isolation { tree, .. } => (tree, 0, 1),
            Fact::Loss | Fact::Garbage => continue,
        };
        let entry = wanted.entry(TREES[*tree]).or_default();
        entry.0 += detections;
        entry.1 += isolations;
        entry.2.push(*sequence);
    }
    let found = incidents(store).await;
    prop_assert_eq!(found.len(), wanted.len());
    for incident in found {
        let (detections, isolations, sequences) = &wanted[incident.tree.as_str()];
        prop_assert_eq!(incident.detection_count, *detections);
        prop_assert_eq!(incident.isolation_count, *isolations);
        let clock = |sequence: u64| at(1000 - sequence.cast_signed());
        prop_assert_eq!(incident.opened_at, clock(*sequences.last().unwrap()));
        prop_assert_eq!(incident.updated_at, clock(sequences[0]));
    }
    Ok(())
}

async fn check_isolation(
    store: &Store,
    host: cordon_proto::id::HostId,
    reference: &BTreeMap<u64, &Fact>,
) -> Result<(), TestCaseError> {
    let newest = reference.values().rev().find_map(|fact| match fact {
        Fact::Isolation { released: true, .. } => Some(IsolationState::Released),
        Fact::Isolation { .. } => Some(IsolationState::Confirmed),
        _ => None,
    });
    let host = store.host(host).await.unwrap().unwrap();
    prop_assert_eq!(host.isolation.map(|report| report.state), newest);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Batches that repeat, overlap and come in any order.
    #[test]
    fn every_record_is_kept_exactly_once(
        (facts, batches) in prop::collection::vec(fact(), 1..24).prop_flat_map(|facts| {
            let index = 0..facts.len();
            let batch = prop::collection::vec(index, 1..12);
            (Just(facts), prop::collection::vec(batch, 1..8))
        })
    ) {
        check_against_reference(&facts, &batches)?;
    }
}

#[tokio::test]
async fn ranges_are_the_fewest_and_gaps_are_listed() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let batch = [5, 1, 2, 9, 2].map(|sequence| detection(sequence, 0, "a:1:1"));
    let committed = db
        .store
        .commit_batch(host, BOOT, &batch, at(0))
        .await
        .unwrap();
    let range = |first, last| SequenceRange { first, last };
    assert_eq!(committed.ranges, [range(1, 2), range(5, 5), range(9, 9)]);
    assert_eq!(committed.fresh, 4);
    let gap = |first, last| Gap {
        boot_id: BOOT.into(),
        first,
        last,
    };
    assert_eq!(db.store.gaps(host).await.unwrap(), [gap(3, 4), gap(6, 8)]);
}

#[tokio::test]
async fn an_unreadable_record_is_kept_marked_and_shown() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let garbage = incoming(1, &Fact::Garbage);
    db.store
        .commit_batch(host, BOOT, &[garbage], at(3))
        .await
        .unwrap();
    let events = db.store.events(&all()).await.unwrap();
    assert_eq!(events[0].kind, "unreadable");
    assert_eq!(events[0].note.as_deref(), Some("not JSON"));
    assert_eq!(events[0].body["raw"], "\u{fffd}{\0");
    assert_eq!(events[0].at, at(3));
}

#[tokio::test]
async fn an_isolation_without_a_tree_joins_its_like_or_the_newest_incident_or_none() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let (alone, first, by_hand) = (
        IsolationId::generate(),
        IsolationId::generate(),
        IsolationId::generate(),
    );
    let records = [
        isolation(1, 1, alone, "confirmed", None),
        detection(2, 2, "a:1:1"),
        isolation(3, 3, first, "confirmed", Some("a:1:1")),
        detection(4, 4, "b:2:2"),
        isolation(5, 5, first, "released", None),
        isolation(6, 6, by_hand, "confirmed", None),
    ];
    db.store
        .commit_batch(host, BOOT, &records, at(9))
        .await
        .unwrap();
    let found = incidents(&db.store).await;
    let [newest, oldest] = found.as_slice() else {
        panic!("{found:?}")
    };
    let ids = |incident: &Incident| -> Vec<IsolationId> {
        incident
            .isolations
            .iter()
            .map(|row| row.report.id)
            .collect()
    };
    assert_eq!(ids(oldest), [first, first]);
    assert_eq!(ids(newest), [by_hand]);
    assert_eq!(oldest.updated_at, at(5));
}

#[tokio::test]
async fn the_isolation_of_a_later_boot_stands_whatever_the_clock_says() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let (id, later) = (
        IsolationId::generate(),
        "00000000-0000-4000-8000-000000000002",
    );
    let shut = isolation(9, 900, id, "confirmed", None);
    db.store
        .commit_batch(host, BOOT, &[shut], at(0))
        .await
        .unwrap();
    let open = isolation(1, 100, id, "released", None);
    db.store
        .commit_batch(host, later, &[open], at(0))
        .await
        .unwrap();
    // What was left of the first boot arrives last.
    let rest = isolation(8, 800, id, "applied", None);
    db.store
        .commit_batch(host, BOOT, &[rest], at(0))
        .await
        .unwrap();
    let known = db.store.host(host).await.unwrap().unwrap();
    assert_eq!(known.isolation.unwrap().state, IsolationState::Released);
    assert_eq!(known.isolation_at, Some(at(100)));
}

#[tokio::test]
async fn a_closed_incident_opens_again_with_a_new_detection() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let store = &db.store;
    store
        .commit_batch(host, BOOT, &[detection(1, 1, "a:1:1")], at(0))
        .await
        .unwrap();
    let id = incidents(store).await[0].id;
    store.close_incident(id).await.unwrap();
    assert_eq!(incidents(store).await[0].status, IncidentStatus::Closed);
    store
        .commit_batch(host, BOOT, &[detection(2, 2, "a:1:1")], at(0))
        .await
        .unwrap();
    let incident = store.incident(id).await.unwrap().unwrap();
    assert_eq!(incident.status, IncidentStatus::Open);
    assert_eq!(incident.detections.len(), 2);
}

#[tokio::test]
async fn events_come_in_pages_and_by_host() {
    let db = database().await;
    let (one, two) = (
        host(&db.store, "ep1").await.id,
        host(&db.store, "ep2").await.id,
    );
    for (host, sequences) in [(one, 1..=5), (two, 1..=3)] {
        let records: Vec<_> = sequences.map(|s| detection(s, 0, "a:1:1")).collect();
        db.store
            .commit_batch(host, BOOT, &records, at(0))
            .await
            .unwrap();
    }
    let mut query = EventQuery {
        host: Some(one),
        limit: 2,
        before: None,
    };
    let mut seen = Vec::new();
    loop {
        let page = db.store.events(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.before = Some(last.key);
        seen.extend(page.iter().map(|event| (event.host.id, event.sequence)));
    }
    assert_eq!(seen, [5, 4, 3, 2, 1].map(|sequence| (one, sequence)));
}

#[tokio::test]
async fn an_applied_policy_is_what_the_host_holds_and_a_refused_one_is_not() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let report = |sequence, version, applied| {
        let body = serde_json::json!({ "version": version, "applied": applied, "detail": "" });
        record(sequence, 0, "policy", &body)
    };
    let records = [report(1, 3, true), report(2, 4, false)];
    db.store
        .commit_batch(host, BOOT, &records, at(0))
        .await
        .unwrap();
    let known = db.store.host(host).await.unwrap().unwrap();
    assert_eq!(known.policy_version, Some(3));
}
#[tokio::test]
async fn incidents_queue_one_card_for_each_channel() {
    let db = database().await;
    let host = host(&db.store, "ep1").await.id;
    let store = &db.store;
    store
        .commit_batch(host, BOOT, &[detection(1, 1, "a:1:1")], at(10))
        .await
        .unwrap();
    for queued in [1, 0] {
        assert_eq!(
            store
                .queue_notifications("feishu", at(10), at(12))
                .await
                .unwrap(),
            queued
        );
    }
    assert_eq!(
        store
            .queue_notifications("late", at(11), at(12))
            .await
            .unwrap(),
        0
    );
    assert!(
        store
            .due_notifications(at(11), 10)
            .await
            .unwrap()
            .is_empty()
    );
    let due = store.due_notifications(at(12), 10).await.unwrap();
    store
        .notification_failed(due[0].key, "muted", Some(at(60)))
        .await
        .unwrap();
    assert_eq!(store.next_notification_at().await.unwrap(), Some(at(60)));
    store.notification_sent(due[0].key, at(61)).await.unwrap();
    assert_eq!(store.next_notification_at().await.unwrap(), None);
    let cards = store.notifications(due[0].incident).await.unwrap();
    assert_eq!((cards[0].attempts, cards[0].sent_at), (2, Some(at(61))));
}
