//! What the daemon measures of itself on the judging thread: how late stories are, and how full its caches.
//!
//! One thread writes, anybody reads, nobody waits: plain atomics of a fixed size.

use std::sync::atomic::{AtomicU64, Ordering};

use cordon_sensor::CacheUse;
use serde::{Deserialize, Serialize};

/// Four steps for each doubling, from 1 µs to over an hour: a percentile is told at most a quarter too high.
const STEPS: usize = 4;
const BUCKETS: usize = 32 * STEPS;

/// Time from the kernel's stamp of an event to the judge's having the story that it led to.
#[derive(Debug)]
pub struct Lag {
    buckets: [AtomicU64; BUCKETS],
    max_us: AtomicU64,
}

/// What a [`Lag`] has measured so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LagSummary {
    /// Half were not later than this, microseconds.
    pub p50_us: u64,
    /// 99 of 100 were not later than this, microseconds.
    pub p99_us: u64,
    /// The latest, microseconds.
    pub max_us: u64,
    /// How many stories.
    pub count: u64,
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            max_us: AtomicU64::new(0),
        }
    }
}

impl Lag {
    /// Counts one story.
    pub fn add(&self, nanoseconds: u64) {
        let micros = nanoseconds / 1000;
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.max_us.fetch_max(micros, Ordering::Relaxed);
    }

    /// What was measured so far.
    pub fn summary(&self) -> LagSummary {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|at| at.load(Ordering::Relaxed))
            .collect();
        let count = counts.iter().sum();
        let max_us = self.max_us.load(Ordering::Relaxed);
        let within = |part: f64| {
            let wanted = (count as f64 * part).ceil() as u64;
            let mut sum = 0;
            let at = counts.iter().position(|count| {
                sum += count;
                sum >= wanted.max(1)
            });
            at.map_or(0, |at| upper_edge(at).min(max_us))
        };
        LagSummary {
            p50_us: within(0.5),
            p99_us: within(0.99),
            max_us,
            count,
        }
    }
}

fn bucket(micros: u64) -> usize {
    let value = micros.clamp(1, u64::from(u32::MAX));
    let power = value.ilog2() as usize;
    let step = ((value << 2) >> power) as usize - STEPS;
    power * STEPS + step
}

/// The largest value that falls into the bucket, or a little more.
fn upper_edge(bucket: usize) -> u64 {
    let (power, step) = (bucket / STEPS, bucket % STEPS);
    ((STEPS + step + 1) as u64) << power >> 2
}

/// A cache of the judging thread, as that thread last told of it.
#[derive(Debug, Default)]
pub struct Gauge {
    bytes: AtomicU64,
    entries: AtomicU64,
    evicted: AtomicU64,
}

impl Gauge {
    /// The owner tells how full it is.
    pub fn set(&self, bytes: usize, entries: usize, evicted: u64) {
        self.bytes.store(bytes as u64, Ordering::Relaxed);
        self.entries.store(entries as u64, Ordering::Relaxed);
        self.evicted.store(evicted, Ordering::Relaxed);
    }

    /// How many entries were told last.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// What was told last.
    pub fn read(&self, name: &str, limit_bytes: usize) -> CacheStatus {
        CacheStatus {
            name: name.to_owned(),
            bytes: self.bytes.load(Ordering::Relaxed),
            limit_bytes: limit_bytes as u64,
            entries: self.entries.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}

/// How full a cache is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStatus {
    /// Which one.
    pub name: String,
    /// Bytes held, by an upper estimate.
    pub bytes: u64,
    /// Most bytes that it may hold.
    pub limit_bytes: u64,
    /// Entries held.
    pub entries: u64,
    /// Entries that had to go for want of room since the start.
    pub evicted: u64,
}

impl From<CacheUse> for CacheStatus {
    fn from(usage: CacheUse) -> Self {
        Self {
            name: usage.name.to_owned(),
            bytes: usage.bytes,
            limit_bytes: usage.limit_bytes,
            entries: usage.entries,
            evicted: usage.evicted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_never_too_low_and_at_most_a_quarter_too_high() {
        for micros in [1, 2, 3, 5, 7, 100, 1023, 1024, 50_000, 3_000_000] {
            let edge = upper_edge(bucket(micros));
            assert!(edge >= micros, "{edge} for {micros}");
            assert!(
                edge as f64 <= micros as f64 * 1.25 + 1.0,
                "{edge} for {micros}"
            );
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_middle_and_the_end_are_told_apart() {
        let lag = Lag::default();
        assert_eq!(lag.summary(), LagSummary::default());
        for _ in 0..98 {
            lag.add(100_000);
        }
        lag.add(9_000_000);
        lag.add(20_000_000);
        let summary = lag.summary();
        assert!((100..=125).contains(&summary.p50_us), "{summary:?}");
        assert!((9000..=11_250).contains(&summary.p99_us), "{summary:?}");
        assert_eq!((summary.max_us, summary.count), (20_000, 100));
    }
}
