//! The outbox against a reference that is a map: whatever is done in whatever order, both hold the
//! same records under the same sequences, across closings and boots.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use cordon_spool::{Class, Options, Spool};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    Append(Vec<(Class, Vec<u8>)>),
    Acknowledge {
        boot: usize,
        ranges: Vec<(u64, u64)>,
    },
    Reopen,
    Reboot,
}

fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(vec![Class::Notice, Class::State, Class::Evidence])
}

fn act() -> impl Strategy<Value = Act> {
    let record = (class(), prop::collection::vec(any::<u8>(), 0..300));
    // Small numbers are relative to the boot's first sequence; the rest is what a hostile peer sends.
    let end = prop_oneof![8 => 0..40u64, 1 => Just(u64::MAX), 1 => any::<u64>()];
    prop_oneof![
        5 => prop::collection::vec(record, 0..5).prop_map(Act::Append),
        4 => (0..4usize, prop::collection::vec((end.clone(), end), 0..4))
            .prop_map(|(boot, ranges)| Act::Acknowledge { boot, ranges }),
        1 => Just(Act::Reopen),
        1 => Just(Act::Reboot),
    ]
}

/// (boot, sequence) -> text, and every sequence that was ever given.
#[derive(Default)]
struct Reference {
    boot: usize,
    records: BTreeMap<(usize, u64), Vec<u8>>,
    given: BTreeSet<(usize, u64)>,
}

impl Reference {
    fn append(&mut self, first: u64, records: &[(Class, Vec<u8>)]) {
        for (sequence, (_, json)) in (first..).zip(records) {
            let above = self
                .given
                .range((self.boot, 0)..=(self.boot, u64::MAX))
                .next_back();
            assert!(
                above.is_none_or(|(_, last)| *last < sequence),
                "a sequence went back"
            );
            self.given.insert((self.boot, sequence));
            self.records.insert((self.boot, sequence), json.clone());
        }
    }

    fn acknowledge(&mut self, boot: usize, ranges: &[(u64, u64)]) -> u64 {
        let before = self.records.len();
        let covered = |sequence| {
            ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&sequence))
        };
        self.records
            .retain(|(of, sequence), _| *of != boot || !covered(*sequence));
        (before - self.records.len()) as u64
    }
}

fn name(boot: usize) -> String {
    format!("boot-{boot}")
}

fn open(dir: &tempfile::TempDir, boot: usize) -> Spool {
    Spool::open(dir.path(), &name(boot), Options::default()).unwrap()
}

fn all(spool: &Spool, max_records: usize) -> Vec<(String, u64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let some = spool.pending(after, max_records, 500).unwrap();
        let Some(last) = some.last() else {
            return found;
        };
        after = Some(last.position);
        found.extend(
            some.into_iter()
                .map(|one| (one.boot_id, one.sequence, one.json)),
        );
    }
}

fn check(acts: Vec<Act>, max_records: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut reference = Reference::default();
    let mut spool = open(&dir, 0);
    // The first database starts at the time since boot; later boots start at 1.
    let base = spool.append_all(&[]).unwrap().first;
    for act in acts {
        match act {
            Act::Append(records) => {
                let borrowed: Vec<_> = records
                    .iter()
                    .map(|(class, json)| (*class, json.as_slice()))
                    .collect();
                let appended = spool.append_all(&borrowed).unwrap();
                assert_eq!(appended.last + 1 - appended.first, records.len() as u64);
                assert_eq!(appended.dropped, 0);
                reference.append(appended.first, &records);
            }
            Act::Acknowledge { boot, ranges } => {
                let base = if boot == 0 { base } else { 1 };
                let ranges: Vec<_> = ranges
                    .into_iter()
                    .map(|(low, high)| (low.saturating_add(base), high.saturating_add(base)))
                    .collect();
                let removed = spool.acknowledge(&name(boot), &ranges).unwrap();
                assert_eq!(removed, reference.acknowledge(boot, &ranges));
            }
            Act::Reopen | Act::Reboot => {
                reference.boot += usize::from(matches!(act, Act::Reboot));
                drop(spool);
                spool = open(&dir, reference.boot);
            }
        }
        let wanted: Vec<_> = reference
            .records
            .iter()
            .map(|((boot, sequence), json)| (name(*boot), *sequence, json.clone()))
            .collect();
        assert_eq!(all(&spool, max_records), wanted);
        let text: u64 = reference
            .records
            .values()
            .map(|json| json.len() as u64)
            .sum();
        let stats = spool.stats();
        assert_eq!(stats.records, wanted.len() as u64);
        assert_eq!(
            stats.bytes,
            text + stats.records * cordon_spool::Stats::OVERHEAD
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_is_the_reference(acts in prop::collection::vec(act(), 1..30), max_records in 1..7usize) {
        check(acts, max_records);
    }
}
