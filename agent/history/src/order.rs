//! Putting what a log says into the order of its time, as far as a bounded window allows.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::seen::Seen;

/// A record that is later in the log than another may be older by this much.
const WINDOW_NS: u64 = 2_000_000_000;
const MOST: usize = 4096;
const MOST_BYTES: usize = 8 << 20;

#[derive(Default)]
pub(crate) struct Window {
    waiting: BinaryHeap<Waiting>,
    bytes: usize,
    newest_ns: u64,
    put: u64,
}

/// The oldest is the greatest; of one time, the one that was told first.
struct Waiting {
    number: u64,
    seen: Seen,
}

impl Window {
    pub(crate) fn put(&mut self, seen: Seen) {
        self.newest_ns = self.newest_ns.max(seen.wall_ns);
        self.bytes += seen.bytes();
        self.put += 1;
        self.waiting.push(Waiting {
            number: self.put,
            seen,
        });
    }

    /// What nothing older can follow any more, or what there is no room for.
    pub(crate) fn take(&mut self) -> Option<Seen> {
        let oldest = self.waiting.peek()?;
        let is_due = oldest.seen.wall_ns.saturating_add(WINDOW_NS) <= self.newest_ns;
        let is_full = self.waiting.len() > MOST || self.bytes > MOST_BYTES;
        if is_due || is_full {
            return self.take_last();
        }
        None
    }

    /// The oldest, whether something older may follow or not.
    pub(crate) fn take_last(&mut self) -> Option<Seen> {
        let seen = self.waiting.pop()?.seen;
        self.bytes -= seen.bytes();
        Some(seen)
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        let mine = (self.seen.wall_ns, self.number);
        (other.seen.wall_ns, other.number).cmp(&mine)
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}
