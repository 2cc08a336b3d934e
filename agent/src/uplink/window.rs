//! What is on its way: sent in this session and not yet acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cordon_proto::pb;
use cordon_spool::{Pending, Position};

/// More records than this are not on their way at once.
const MOST: usize = 2048;

/// The records on their way. A new session begins with an empty one, so everything that was not acknowledged
/// is sent again; the controller knows what it has.
#[derive(Debug, Default)]
pub struct Window {
    after: Option<Position>,
    on_the_way: BTreeMap<String, BTreeSet<u64>>,
    count: usize,
    heard_at: Option<Instant>,
}

impl Window {
    /// The last record sent: the outbox goes on behind it.
    pub fn after(&self) -> Option<Position> {
        self.after
    }

    /// How many more may be sent.
    pub fn room(&self) -> usize {
        MOST.saturating_sub(self.count)
    }

    /// Notes what is sent and makes batches of it: one boot each.
    pub fn send(&mut self, records: Vec<Pending>, now: Instant) -> Vec<pb::Batch> {
        let mut batches: Vec<pb::Batch> = Vec::new();
        if self.count == 0 {
            self.heard_at = Some(now);
        }
        for record in records {
            self.after = Some(record.position);
            self.note(&record);
            let wire = pb::WireRecord {
                sequence: record.sequence,
                json: record.json,
            };
            match batches.last_mut() {
                Some(batch) if batch.boot_id == record.boot_id => batch.records.push(wire),
                _ => batches.push(pb::Batch {
                    boot_id: record.boot_id,
                    records: vec![wire],
                }),
            }
        }
        batches
    }

    /// Notes what is acknowledged.
    pub fn acknowledged(&mut self, boot_id: &str, ranges: &[(u64, u64)], now: Instant) {
        self.heard_at = Some(now);
        let Some(sequences) = self.on_the_way.get_mut(boot_id) else {
            return;
        };
        let before = sequences.len();
        for (first, last) in ranges {
            if first <= last {
                sequences.retain(|sequence| !(first..=last).contains(&sequence));
            }
        }
        self.count -= before - sequences.len();
        if sequences.is_empty() {
            self.on_the_way.remove(boot_id);
        }
    }

    /// For how long records are on their way and nothing was acknowledged.
    pub fn silence(&self, now: Instant) -> Duration {
        let heard = self.heard_at.filter(|_| self.count > 0);
        heard.map_or(Duration::ZERO, |heard| now.duration_since(heard))
    }

    fn note(&mut self, record: &Pending) {
        let sequences = self.on_the_way.entry(record.boot_id.clone()).or_default();
        self.count += usize::from(sequences.insert(record.sequence));
    }
}
