//! Attempts that come in storms, told as often as is worth reading: at once, and then once a minute.

use std::time::{Duration, Instant};

use cordon_proto::record::{Actor, TamperReport};

/// From one report to the next.
pub(crate) const REPORT_EVERY: Duration = Duration::from_mins(1);

/// Attempts of one kind.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    told_at: Option<Instant>,
    untold: u64,
    /// The latest.
    last: Option<(String, Option<Actor>)>,
}

impl Attempts {
    /// `what` is one that came to nothing.
    pub(crate) fn add(&mut self, what: String, by: Option<Actor>) {
        self.untold += 1;
        self.last = Some((what, by));
    }

    /// What is to be told now, if anything is.
    pub(crate) fn due(&mut self, now: Instant) -> Option<TamperReport> {
        let is_due = |told_at: Instant| now.duration_since(told_at) >= REPORT_EVERY;
        if !self.told_at.is_none_or(is_due) {
            return None;
        }
        let (what, by) = self.last.take()?;
        self.told_at = Some(now);
        let what = match std::mem::take(&mut self.untold) {
            0 | 1 => what,
            count => format!("{what}, and {} more before it", count - 1),
        };
        Some(TamperReport {
            what,
            repaired: true,
            micros: 0,
            by,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(pid: u32) -> Actor {
        Actor {
            pid,
            uid: Some(0),
            exe: "/usr/bin/kill".into(),
        }
    }

    #[test]
    fn a_storm_is_told_at_once_and_then_once_a_minute_with_how_many_there_were() {
        let start = Instant::now();
        let mut attempts = Attempts::default();
        assert_eq!(attempts.due(start), None);
        attempts.add("SIGTERM".to_owned(), Some(by(7)));
        let first = attempts.due(start).unwrap();
        assert_eq!((first.what.as_str(), first.by), ("SIGTERM", Some(by(7))));
        for pid in 8..108 {
            attempts.add("SIGHUP".to_owned(), Some(by(pid)));
            assert_eq!(attempts.due(start + Duration::from_secs(30)), None);
        }
        let later = attempts.due(start + REPORT_EVERY).unwrap();
        assert_eq!(later.what, "SIGHUP, and 99 more before it");
        assert_eq!(later.by, Some(by(107)));
        assert_eq!(attempts.due(start + 2 * REPORT_EVERY), None);
    }
}
