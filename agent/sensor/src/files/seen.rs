//! What was told lately, so that it is not told again and again.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use super::gauge::Gauge;

const MOST: usize = 8192;
/// A hash, its time, both in a table and in a queue.
const ENTRY_BYTES: usize = 64;

/// Remembers hashes for some time, the latest [`MOST`] of them.
pub(super) struct Seen {
    state: RandomState,
    told_ns: HashMap<u64, u64>,
    oldest: VecDeque<u64>,
    keep_ns: u64,
    pub gauge: Arc<Gauge>,
}

impl Seen {
    pub(super) fn new(name: &'static str, keep_ns: u64) -> Self {
        Self {
            state: RandomState::new(),
            told_ns: HashMap::new(),
            oldest: VecDeque::new(),
            keep_ns,
            gauge: Gauge::new(name, ENTRY_BYTES, MOST),
        }
    }

    /// Whether this was not told within the time; from now on it is.
    pub(super) fn is_new(&mut self, what: impl Hash, now_ns: u64) -> bool {
        let hash = self.state.hash_one(what);
        if let Some(told_ns) = self.told_ns.get_mut(&hash) {
            let is_over = now_ns.saturating_sub(*told_ns) >= self.keep_ns;
            if is_over {
                *told_ns = now_ns;
            }
            return is_over;
        }
        while self.told_ns.len() >= MOST {
            let Some(oldest) = self.oldest.pop_front() else {
                break;
            };
            self.told_ns.remove(&oldest);
            self.gauge.evicted(1);
        }
        self.told_ns.insert(hash, now_ns);
        self.oldest.push_back(hash);
        self.gauge.set(self.told_ns.len());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_new_again_when_its_time_is_over_or_its_room_was_needed() {
        let mut seen = Seen::new("test", 100);
        assert!(seen.is_new("a", 0) && !seen.is_new("a", 99) && seen.is_new("a", 100));
        for thing in 0..2 * MOST {
            assert!(seen.is_new(thing, 100));
        }
        assert!(seen.is_new("a", 101));
        assert!(seen.told_ns.len() <= MOST && seen.oldest.len() <= MOST);
    }
}
