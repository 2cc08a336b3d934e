//! The time that a lease is counted by.

use jiff::{SignedDuration, Timestamp};

use crate::proposal::Clocks;

/// Begins as the wall clock, and goes on as one that nobody sets. Whoever sets the wall clock forward does not open a host
/// before its lease is over, and whoever sets it back does not keep it shut for longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    anchor: Clocks,
}

impl Timeline {
    /// Of a host that is open, or shut from now on.
    pub fn starting(now: Clocks) -> Self {
        Self { anchor: now }
    }

    /// Of an isolation that began at `started_at` on its own time. `anchor` is a moment of that time on both clocks, if
    /// one is known of this boot. Without one only the wall clock says how long the host was down, and it may have been
    /// set: it counts from the beginning of the isolation at the earliest, so that a lease never grows.
    pub fn resumed(anchor: Option<Clocks>, started_at: Timestamp, now: Clocks) -> Self {
        // A clock that nobody sets does not go back: this anchor is of another boot after all.
        let anchor = anchor.filter(|anchor| anchor.boot_ns <= now.boot_ns);
        let anchor = anchor.unwrap_or(Clocks {
            wall: now.wall.max(started_at),
            boot_ns: now.boot_ns,
        });
        Self { anchor }
    }

    /// A moment of it, to resume it by.
    pub fn anchor(self) -> Clocks {
        self.anchor
    }

    /// What time it is.
    pub fn at(self, now: Clocks) -> Timestamp {
        let passed = now.boot_ns.saturating_sub(self.anchor.boot_ns);
        let passed = SignedDuration::from_nanos(i64::try_from(passed).unwrap_or(i64::MAX));
        let time = self.anchor.wall.checked_add(passed);
        time.unwrap_or(Timestamp::MAX)
    }
}
