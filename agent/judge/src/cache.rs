//! Remembered verdicts, bounded in bytes.
//!
//! Two generations instead of a list in the order of use: what is asked for moves to the young one;
//! when that has half of the bytes it becomes the old one, and what the old one still held is
//! forgotten. It costs one map look-up and no bookkeeping.

use std::collections::HashMap;
use std::sync::Arc;

use cordon_model::model::Input;
use cordon_proto::verdict::Stage;
use sha2::{Digest as _, Sha256};

use crate::reasons::Found;

/// Names a story as the model reads it: two stories with other pids, ports or addresses of one
/// class are one. A cryptographic hash, since an attacker writes the text: a collision made on
/// purpose would lend an attack a benign verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 16]);

impl Key {
    pub(crate) fn of(input: &Input) -> Self {
        // In one piece: many small ones cost more than the hash.
        let mut bytes = Vec::with_capacity(2048);
        for (field, piece) in input.tokens.iter() {
            // Field and length first, so that no two streams have the same bytes.
            bytes.push(field as u8);
            bytes.extend_from_slice(&(piece.len() as u32).to_le_bytes());
            bytes.extend_from_slice(piece.as_bytes());
        }
        // The end of the tokens: no field has this number.
        bytes.push(u8::MAX);
        for fact in input.facts {
            bytes.extend_from_slice(&fact.to_bits().to_le_bytes());
        }
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        Self(std::array::from_fn(|index| digest[index]))
    }

    #[cfg(test)]
    pub(crate) fn numbered(number: u32) -> Self {
        Self(u128::from(number).to_le_bytes())
    }
}

/// What is remembered: nothing that depends on a policy.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Calibrated probability; may be anything but a number.
    pub(crate) score: f32,
    pub(crate) stage: Stage,
    pub(crate) techniques: Vec<String>,
    /// Once somebody asked for them.
    pub(crate) found: Option<Found>,
}

impl Entry {
    fn bytes(&self) -> usize {
        let techniques: usize = self
            .techniques
            .iter()
            .map(|id| id.capacity() + size_of::<String>())
            .sum();
        // The map has at most as many free slots again as it has entries.
        let slot = 2 * (size_of::<Key>() + size_of::<Arc<Self>>() + 1);
        slot + size_of::<Self>() + techniques + self.found.as_ref().map_or(0, Found::bytes)
    }
}

#[derive(Default)]
struct Generation {
    entries: HashMap<Key, Arc<Entry>>,
    bytes: usize,
}

impl Generation {
    fn put(&mut self, key: Key, entry: Arc<Entry>) {
        self.bytes += entry.bytes();
        if let Some(before) = self.entries.insert(key, entry) {
            self.bytes -= before.bytes();
        }
    }

    fn take(&mut self, key: &Key) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }
}

pub(crate) struct Cache {
    most_bytes: usize,
    young: Generation,
    old: Generation,
    forgotten: u64,
}

impl Cache {
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            young: Generation::default(),
            old: Generation::default(),
            forgotten: 0,
        }
    }

    pub(crate) fn get(&mut self, key: &Key) -> Option<Arc<Entry>> {
        if let Some(entry) = self.young.entries.get(key) {
            return Some(Arc::clone(entry));
        }
        let entry = self.old.take(key)?;
        self.put(*key, Arc::clone(&entry));
        Some(entry)
    }

    pub(crate) fn put(&mut self, key: Key, entry: Arc<Entry>) {
        let half = self.most_bytes / 2;
        if entry.bytes() > half {
            self.forgotten += 1;
            return;
        }
        if self.young.bytes + entry.bytes() > half {
            let young = std::mem::take(&mut self.young);
            let forgotten = std::mem::replace(&mut self.old, young);
            self.forgotten += forgotten.entries.len() as u64;
        }
        self.young.put(key, entry);
    }

    /// Verdicts that were forgotten for lack of room.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(crate) fn len(&self) -> usize {
        self.young.entries.len() + self.old.entries.len()
    }

    /// Never more than the bound.
    pub(crate) fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(techniques: usize) -> Arc<Entry> {
        Arc::new(Entry {
            score: 0.5,
            stage: Stage::Model,
            techniques: vec!["T1059.004".to_owned(); techniques],
            found: None,
        })
    }

    #[test]
    fn the_bound_holds_and_what_is_asked_for_stays() {
        let most_bytes = 16 * 1024;
        let mut cache = Cache::new(most_bytes);
        cache.put(Key::numbered(0), entry(1));
        for number in 1..10_000 {
            cache.put(Key::numbered(number), entry(number as usize % 9));
            assert!(cache.bytes() <= most_bytes, "{}", cache.bytes());
            assert!(
                cache.get(&Key::numbered(0)).is_some(),
                "forgotten after {number}"
            );
        }
        assert!(cache.get(&Key::numbered(1)).is_none());
        assert!(cache.forgotten() > 9000);
    }

    #[test]
    fn no_room_remembers_nothing() {
        let mut cache = Cache::new(0);
        cache.put(Key::numbered(1), entry(0));
        assert!(cache.get(&Key::numbered(1)).is_none());
        assert_eq!((cache.bytes(), cache.forgotten()), (0, 1));
    }

    #[test]
    fn an_entry_that_is_put_again_is_counted_once() {
        let mut cache = Cache::new(1 << 20);
        cache.put(Key::numbered(1), entry(1));
        let once = cache.bytes();
        cache.put(Key::numbered(1), entry(1));
        assert_eq!(cache.bytes(), once);
    }
}
