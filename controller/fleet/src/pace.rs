//! How fast agents may send: slower when commits fall behind, nearly nothing while the disk is full.
//!
//! ```text
//! free -- a commit took long --> slow -- no room, locked --> stopped
//!   ^---- a commit was quick ----'  ^------- a commit ----------'
//! ```

use std::time::Duration;

const LONG: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_millis(250);

/// The speed that a session's agent was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speed {
    /// Anything that an agent may have to say.
    Free,
    /// The writer is behind.
    Slow,
    /// Nothing can be committed now.
    Stopped,
}

impl Speed {
    /// After a commit that took so long, from the batch's arrival.
    pub(crate) fn after_commit(self, took: Duration) -> Self {
        match self {
            Self::Free if took > LONG => Self::Slow,
            Self::Slow if took < QUICK => Self::Free,
            // The batch that waited out the trouble says nothing of how quick the next will be.
            Self::Stopped => Self::Slow,
            same => same,
        }
    }

    /// For [`cordon_proto::pb::Pace`].
    pub(crate) fn records_per_second(self) -> u32 {
        match self {
            Self::Free => 20_000,
            Self::Slow => 200,
            Self::Stopped => 1,
        }
    }
}

/// How long to wait before the `attempt`th repetition of a commit: 0.5 s, doubling, at most 30 s.
pub(crate) fn pause(attempt: u32) -> Duration {
    let half_seconds = 1u64 << attempt.min(6);
    Duration::from_millis(500 * half_seconds).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_writer_slows_agents_and_a_quick_one_frees_them() {
        let slow = Speed::Free.after_commit(Duration::from_secs(2));
        assert_eq!(slow, Speed::Slow);
        assert_eq!(slow.after_commit(Duration::from_millis(500)), Speed::Slow);
        assert_eq!(slow.after_commit(Duration::from_millis(10)), Speed::Free);
    }

    #[test]
    fn a_stopped_agent_starts_slowly() {
        let speed = Speed::Stopped.after_commit(Duration::from_mins(5));
        assert_eq!(speed, Speed::Slow);
    }

    #[test]
    fn the_pause_grows_and_is_bounded() {
        let pauses: Vec<Duration> = (0..40).map(pause).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses[0], Duration::from_millis(500));
        assert_eq!(pauses[39], Duration::from_secs(30));
    }
}
