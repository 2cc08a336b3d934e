//! In front of the verdict cache: which entry of it answers a story that is asked again word for word.
//!
//! Bounded in entries, in two generations as the cache itself.

use std::collections::HashMap;

use crate::cache::Key;
use crate::fingerprint::Fingerprint;

/// A slot with the free one beside it that the map may have.
const ENTRY_BYTES: usize = 2 * (size_of::<Fingerprint>() + size_of::<Key>() + 1);

pub(crate) struct Front {
    most: usize,
    young: HashMap<Fingerprint, Key>,
    old: HashMap<Fingerprint, Key>,
}

impl Front {
    /// Holds at most `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            most: bytes / ENTRY_BYTES,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    pub(crate) fn get(&mut self, fingerprint: Fingerprint) -> Option<Key> {
        if let Some(key) = self.young.get(&fingerprint) {
            return Some(*key);
        }
        let key = self.old.remove(&fingerprint)?;
        self.put(fingerprint, key);
        Some(key)
    }

    pub(crate) fn put(&mut self, fingerprint: Fingerprint, key: Key) {
        let half = self.most / 2;
        if half == 0 {
            return;
        }
        if self.young.len() >= half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(fingerprint, key);
    }

    pub(crate) fn bytes(&self) -> usize {
        (self.young.len() + self.old.len()) * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use cordon_behavior::story::Story;
    use cordon_model::Reads;

    use super::*;
    use crate::fingerprint::Fingerprints;

    #[test]
    fn the_bound_holds_and_what_is_asked_for_stays() {
        let (fingerprints, reads) = (Fingerprints::default(), Reads::everything());
        let of = |number: u32| {
            let story = Story {
                command: Some(number.to_string()),
                ..Story::default()
            };
            fingerprints.of(&story, &reads)
        };
        let bound = 64 * ENTRY_BYTES;
        let mut front = Front::new(bound);
        let asked = of(0);
        front.put(asked, Key::numbered(0));
        for number in 1..1000 {
            front.put(of(number), Key::numbered(number));
            assert!(front.bytes() <= bound, "{}", front.bytes());
            assert_eq!(front.get(asked), Some(Key::numbered(0)));
        }
        assert_eq!(front.get(of(1)), None);
        let mut none = Front::new(0);
        none.put(asked, Key::numbered(0));
        assert_eq!(none.get(asked), None);
    }
}
