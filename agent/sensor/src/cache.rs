//! What is remembered, in bytes, so that nothing grows unseen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How full a cache is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// Which one.
    pub name: &'static str,
    /// Bytes held, by an upper estimate.
    pub bytes: u64,
    /// Most bytes that it may hold.
    pub limit_bytes: u64,
    /// Entries held.
    pub entries: u64,
    /// Entries that had to go, or were not taken, for want of room since the start.
    pub evicted: u64,
}

/// A cache that says how full it is.
pub(crate) trait Bounded: Send + Sync {
    fn usage(&self) -> CacheUse;
}

/// Tells of a cache that only its own thread may touch.
pub(crate) struct Gauge {
    name: &'static str,
    entry_bytes: u64,
    limit_bytes: u64,
    entries: AtomicU64,
    evicted: AtomicU64,
}

impl Gauge {
    pub(crate) fn new(name: &'static str, entry_bytes: u64, limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            name,
            entry_bytes,
            limit_bytes,
            entries: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        })
    }

    pub(crate) fn set(&self, entries: usize, evicted: u64) {
        self.entries.store(entries as u64, Ordering::Relaxed);
        self.evicted.store(evicted, Ordering::Relaxed);
    }
}

impl Bounded for Gauge {
    fn usage(&self) -> CacheUse {
        let entries = self.entries.load(Ordering::Relaxed);
        CacheUse {
            name: self.name,
            bytes: entries * self.entry_bytes,
            limit_bytes: self.limit_bytes,
            entries,
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}
