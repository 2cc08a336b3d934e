//! How long to wait before the next try.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_mins(1);

/// Exponential, with full jitter: a fleet that lost its controller does not come back as one wave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure. `chance` is uniform in [0, 1).
    ///
    /// It lies between zero and a ceiling that begins at 0.5 s, doubles with each failure and ends at 60 s.
    pub fn next(&mut self, chance: f64) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let ceiling = FIRST.saturating_mul(1 << doublings).min(MOST);
        ceiling.mul_f64(chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_from_half_a_second_to_a_minute() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<f64> = (0..9).map(|_| backoff.next(1.0).as_secs_f64()).collect();
        assert_eq!(ceilings, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
    }

    #[test]
    fn the_pause_is_spread_over_the_whole_ceiling() {
        let pause = |chance| Backoff { failures: 3 }.next(chance);
        assert_eq!(pause(0.0), Duration::ZERO);
        assert_eq!(pause(0.25), Duration::from_secs(1));
    }

    #[test]
    fn endless_failures_do_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.next(1.0), MOST);
    }
}
