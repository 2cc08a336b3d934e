//! So many a second.

const SECOND: u64 = 1_000_000_000;

/// What was taken in the second at hand.
#[derive(Debug, Default)]
pub(super) struct Budget {
    since_ns: u64,
    used: u32,
}

impl Budget {
    /// Whether fewer than `most` were taken in this second.
    pub(super) fn has(&mut self, now_ns: u64, most: u32) -> bool {
        if now_ns.saturating_sub(self.since_ns) >= SECOND {
            *self = Self {
                since_ns: now_ns,
                used: 0,
            };
        }
        self.used < most
    }

    /// Takes one.
    pub(super) fn take(&mut self) -> bool {
        self.used += 1;
        true
    }
}
