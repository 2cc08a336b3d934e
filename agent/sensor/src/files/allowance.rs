//! How much CPU time a kind of work may take.

use std::time::{Duration, Instant};

use crate::clock;

/// So much may be taken at once.
const BURST_NS: i64 = 200_000_000;
/// What was taken comes back as this part of the time that passes.
const SHARE: u32 = 50;

/// CPU time that may still be taken; below zero the work waits.
#[derive(Debug)]
pub(super) struct Allowance {
    left_ns: i64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self {
            left_ns: BURST_NS,
            at: Instant::now(),
        }
    }

    /// When the work may be done.
    pub(super) fn free_at(&self) -> Instant {
        let debt = Duration::from_nanos(self.left_ns.min(0).unsigned_abs());
        self.at + debt * SHARE
    }

    /// Does the work and takes what it costs.
    pub(super) fn spend<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before_ns = clock::thread_ns();
        let done = work();
        let spent_ns = clock::thread_ns().saturating_sub(before_ns).cast_signed();
        let now = Instant::now();
        let earned_ns = (now - self.at).as_nanos() as i64 / i64::from(SHARE);
        self.left_ns = (self.left_ns + earned_ns).min(BURST_NS) - spent_ns;
        self.at = now;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overspent_is_waited_for() {
        let mut allowance = Allowance::new();
        assert!(allowance.free_at() <= Instant::now());
        let end_ns = clock::thread_ns() + 2 * BURST_NS as u64;
        allowance.spend(|| while clock::thread_ns() < end_ns {});
        // A fifth of a second too much, fifty times over.
        assert!(allowance.free_at() > Instant::now() + Duration::from_secs(5));
    }
}
