//! How full a table of the watching thread is, told to whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::CacheUse;
use crate::cache::Bounded;

/// What a table's owner sets and others read.
#[derive(Debug)]
pub(super) struct Gauge {
    name: &'static str,
    entry_bytes: u64,
    most: u64,
    entries: AtomicU64,
    evicted: AtomicU64,
}

impl Gauge {
    /// Of a table of at most `most` entries of `entry_bytes` each, an upper estimate.
    pub(super) fn new(name: &'static str, entry_bytes: usize, most: usize) -> Arc<Self> {
        Arc::new(Self {
            name,
            entry_bytes: entry_bytes as u64,
            most: most as u64,
            entries: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        })
    }

    pub(super) fn set(&self, entries: usize) {
        self.entries.store(entries as u64, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self, more: u64) {
        self.evicted.fetch_add(more, Ordering::Relaxed);
    }
}

impl Bounded for Gauge {
    fn usage(&self) -> CacheUse {
        let entries = self.entries.load(Ordering::Relaxed);
        CacheUse {
            name: self.name,
            bytes: entries * self.entry_bytes,
            limit_bytes: self.most * self.entry_bytes,
            entries,
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}
