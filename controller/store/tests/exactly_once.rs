//! Records are kept exactly once, however they arrive, with what follows from them.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use cordon_proto::id::IsolationId;
use cordon_proto::record::IsolationState;
use cordon_store::{IncomingRecord, Store};
use proptest::prelude::*;
use support::{BOOT, all, at, database, detection, garbage, host, incidents, isolation, record};

/// What a host may report.
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
        Fact::Garbage => garbage(sequence),
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
