//! How fast the controller wants records.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// At most so many records in each second, until the controller says another number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    per_second: Option<u32>,
    began: Option<Instant>,
    sent: u32,
}

impl Pace {
    /// The controller's wish; 0 is no limit.
    pub fn set(&mut self, per_second: u32) {
        self.per_second = (per_second > 0).then_some(per_second);
    }

    /// How many records may go now, at most `most`.
    pub fn room(&mut self, most: usize, now: Instant) -> usize {
        let Some(per_second) = self.per_second else {
            return most;
        };
        let is_over = self
            .began
            .is_none_or(|began| now.duration_since(began) >= WINDOW);
        if is_over {
            self.began = Some(now);
            self.sent = 0;
        }
        most.min(per_second.saturating_sub(self.sent) as usize)
    }

    /// So many went.
    pub fn sent(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count as u32);
    }

    /// When there is room again, if there is none now.
    pub fn next(&self) -> Option<Instant> {
        let per_second = self.per_second?;
        (self.sent >= per_second).then_some(self.began? + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_as_many_records_as_the_controller_wants() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.room(100, start), 100);
        pace.set(30);
        assert_eq!(pace.room(100, start), 30);
        pace.sent(20);
        assert_eq!(pace.room(100, start), 10);
        pace.sent(10);
        assert_eq!(pace.room(100, start + Duration::from_millis(999)), 0);
        assert_eq!(pace.next(), Some(start + WINDOW));
        assert_eq!(pace.room(100, start + WINDOW), 30);
        pace.set(0);
        assert_eq!(pace.room(100, start), 100);
    }
}
