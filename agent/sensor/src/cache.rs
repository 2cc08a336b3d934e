//! What is remembered, in bytes, so that nothing grows unseen.

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
