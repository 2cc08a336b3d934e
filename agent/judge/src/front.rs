//! What is known of a story that is asked again word for word: which entry of the verdict cache answers it, or that no
//! rule matches it.
//!
//! Bounded in entries, in two generations as the cache itself.

use std::collections::HashMap;

use crate::fingerprint::Fingerprint;

/// A slot with the free one beside it that the map may have.
const fn entry_bytes<V>() -> usize {
    2 * (size_of::<Fingerprint>() + size_of::<V>() + 1)
}

pub(crate) struct Front<V> {
    most: usize,
    young: HashMap<Fingerprint, V>,
    old: HashMap<Fingerprint, V>,
}

impl<V: Copy> Front<V> {
    /// Holds at most `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            most: bytes / entry_bytes::<V>(),
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    pub(crate) fn get(&mut self, fingerprint: Fingerprint) -> Option<V> {
        if let Some(value) = self.young.get(&fingerprint) {
            return Some(*value);
        }
        let value = self.old.remove(&fingerprint)?;
        self.put(fingerprint, value);
        Some(value)
    }

    pub(crate) fn put(&mut self, fingerprint: Fingerprint, value: V) {
        let half = self.most / 2;
        if half == 0 {
            return;
        }
        if self.young.len() >= half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(fingerprint, value);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.len() * entry_bytes::<V>()
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use cordon_behavior::story::Story;
    use cordon_model::Reads;

    use super::*;
    use crate::cache::Key;
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
        let bound = 64 * entry_bytes::<Key>();
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
