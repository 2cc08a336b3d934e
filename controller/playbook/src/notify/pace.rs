//! How fast one channel may be spoken to: Feishu's limits, which suit any chat.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};

const PER_SECOND: usize = 5;
const PER_MINUTE: usize = 100;
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
/// For an answer that asks for silence without saying how long.
const DEFAULT_WAIT: Duration = Duration::from_mins(1);
/// Nobody mutes an alarm for longer.
const MAX_WAIT: Duration = Duration::from_hours(1);

/// The last minute of one channel.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Milliseconds of each message in the last minute, oldest first; at most [`PER_MINUTE`].
    sent: VecDeque<i64>,
    muted_until: i64,
}

impl Pace {
    /// Counts a message, or says how long to wait before the next may go.
    pub(super) fn admit(&mut self, now: Timestamp) -> Result<(), Duration> {
        let now = now.as_millisecond();
        // A clock that was set back would otherwise keep the channel silent for as long.
        self.sent.retain(|at| *at <= now && now - at < MINUTE);
        if self.muted_until > now + MAX_WAIT.as_millis() as i64 {
            self.muted_until = 0;
        }
        let free_again = [
            self.muted_until,
            self.window_frees_at(PER_SECOND, SECOND),
            self.window_frees_at(PER_MINUTE, MINUTE),
        ];
        let wait = free_again.into_iter().max().unwrap_or(0) - now;
        if wait > 0 {
            return Err(Duration::from_millis(wait as u64));
        }
        self.sent.push_back(now);
        Ok(())
    }

    /// Stays silent until `wait` has passed.
    pub(super) fn mute(&mut self, now: Timestamp, wait: Duration) {
        self.muted_until = now.as_millisecond() + wait.min(MAX_WAIT).as_millis() as i64;
    }

    fn window_frees_at(&self, most: usize, length: i64) -> i64 {
        self.sent
            .len()
            .checked_sub(most)
            .and_then(|index| self.sent.get(index))
            .map_or(0, |oldest| oldest + length)
    }
}

/// What `Retry-After` asks for, in seconds or as a date.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Duration {
    let text = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let wait = text.and_then(|text| {
        if let Ok(seconds) = text.trim().parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Duration::try_from(until.duration_since(now)).ok()
    });
    wait.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
    }

    /// No window of any start may hold more than the limit, whatever the caller's rhythm.
    #[test]
    fn no_window_holds_more_than_its_limit() {
        for step in [0, 1, 37, 150, 199, 210, 590, 610] {
            let mut pace = Pace::default();
            let mut admitted = Vec::new();
            let mut now = 0;
            while now < 3 * MINUTE && admitted.len() < 1_000 {
                match pace.admit(at(now)) {
                    Ok(()) => admitted.push(now),
                    Err(wait) => now += wait.as_millis() as i64,
                }
                now += step;
            }
            for (most, length) in [(PER_SECOND, SECOND), (PER_MINUTE, MINUTE)] {
                for window in admitted.windows(most + 1) {
                    assert!(window[most] - window[0] >= length, "{step}: {window:?}");
                }
            }
        }
    }

    #[test]
    fn a_muted_channel_waits_exactly_as_long_as_asked() {
        let mut pace = Pace::default();
        pace.mute(at(0), Duration::from_secs(7));
        assert_eq!(pace.admit(at(1_000)), Err(Duration::from_secs(6)));
        assert_eq!(pace.admit(at(7_000)), Ok(()));
    }

    #[test]
    fn a_clock_set_back_silences_nobody() {
        let mut pace = Pace::default();
        for _ in 0..PER_SECOND {
            pace.admit(at(0)).unwrap();
        }
        pace.mute(at(0), MAX_WAIT);
        assert_eq!(pace.admit(at(-10 * 365 * 24 * 60 * MINUTE)), Ok(()));
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        let now: Timestamp = "2015-10-21T07:27:50Z".parse().unwrap();
        for (text, seconds) in [
            (Some("17"), 17),
            (Some("Wed, 21 Oct 2015 07:28:00 GMT"), 10),
            (Some("Wed, 21 Oct 2015 07:27:00 GMT"), 60),
            (Some("99999999"), 3_600),
            (Some("soon"), 60),
            (None, 60),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(text) = text {
                headers.insert(RETRY_AFTER, text.parse().unwrap());
            }
            assert_eq!(retry_after(&headers, now).as_secs(), seconds, "{text:?}");
        }
    }
}
