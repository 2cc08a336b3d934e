//! A map that forgets its oldest entries.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Holds at most `most` entries; the one that was first put in goes first.
#[derive(Debug)]
pub struct Recent<K, V> {
    most: usize,
    entries: HashMap<K, V>,
    order: VecDeque<K>,
    forgotten: u64,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    /// An empty map.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            entries: HashMap::new(),
            order: VecDeque::new(),
            forgotten: 0,
        }
    }

    /// What was put in under `key`, unless it was forgotten.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    /// Puts in or replaces; a replaced entry keeps its age.
    pub fn put(&mut self, key: K, value: V) {
        if self.entries.insert(key.clone(), value).is_some() {
            return;
        }
        self.order.push_back(key);
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
                self.forgotten += 1;
            }
        }
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// It holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of so many entries, by an upper estimate: a map has at most as many free slots again.
    pub const fn bytes_of(entries: usize) -> usize {
        entries * (2 * (size_of::<K>() + size_of::<V>() + 1) + 2 * size_of::<K>())
    }

    /// Entries that were forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_is_forgotten_first() {
        let mut recent = Recent::new(2);
        recent.put("a", 1);
        recent.put("b", 2);
        recent.put("a", 3);
        recent.put("c", 4);
        assert_eq!(recent.get(&"a"), None);
        assert_eq!(recent.get(&"b"), Some(&2));
        assert_eq!(recent.get(&"c"), Some(&4));
        assert_eq!((recent.len(), recent.forgotten()), (2, 1));
    }
}
