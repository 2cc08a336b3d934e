//! How much may be kept, and how much of it a story shows.

/// Bounds of a [`crate::Behavior`]. Of each list the newest are kept, and of files the most
/// sensitive before the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes that the graph may hold; raised to [`Limits::LEAST_BYTES`] when smaller.
    pub bytes: usize,
    /// Most bytes of text (path, working directory, arguments) kept of one image.
    pub image_bytes: usize,
    /// Ended processes are forgotten this long after their end, nanoseconds.
    pub keep_ended_ns: u64,
    /// Most ancestors that a story names.
    pub ancestors: usize,
    /// Most children that a story names.
    pub children: usize,
    /// Most TCP connections to other machines kept of a process and shown in a story.
    pub connections: usize,
    /// The same for flows within this machine: TCP, UDP and accepted ones, each by itself.
    pub loopback: usize,
    /// The same for accepted connections of other machines: an address and local port each.
    pub accepted: usize,
    /// The same for UDP peers.
    pub datagrams: usize,
    /// The same for listening sockets.
    pub listening: usize,
    /// The same for names that were asked for.
    pub names: usize,
    /// The same for operations on watched files.
    pub files: usize,
    /// The same for each kind of fact: mounts, modules, logins and the like.
    pub facts: usize,
    /// Logins of the host that no known process made.
    pub logins: usize,
}

impl Limits {
    /// Below this a graph could not hold one lineage of full-size images.
    pub const LEAST_BYTES: usize = 256 * 1024;

    pub(crate) fn floored(mut self) -> Self {
        self.bytes = self.bytes.max(Self::LEAST_BYTES);
        self.image_bytes = self.image_bytes.clamp(256, 16 * 1024);
        self.logins = self.logins.min(256);
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 12 * 1024 * 1024,
            image_bytes: 8 * 1024,
            keep_ended_ns: 10 * 60 * 1_000_000_000,
            ancestors: 8,
            children: 16,
            connections: 32,
            loopback: 8,
            accepted: 16,
            datagrams: 16,
            listening: 16,
            names: 32,
            files: 32,
            facts: 8,
            logins: 32,
        }
    }
}
