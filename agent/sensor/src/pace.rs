//! How often a reader may be woken.

use std::time::{Duration, Instant};

/// How long a reader looks away when it was woken too often. A wake-up costs more than the event that it is for: the
/// first event after it finds all caches cold, and a part is paid by who made the event (on a virtual machine the
/// interrupt of the other processor alone takes ten microseconds). It is the most that an event of a busy host waits:
/// `cargo xtask bench sensor --only sweep` shows what an event costs at each rate, and how long it waits.
pub(crate) const NAP: Duration = Duration::from_millis(24);
/// So a reader reads no more often than every [`NAP`]...
const INTERVAL: Duration = NAP;
/// ...but at once for as many times as fit into this, so that nothing in a burst of work waits.
const BURST: Duration = Duration::from_millis(2400);

/// 100 wake-ups at once after a quiet time; under a flow that never ends, one read each [`NAP`].
pub(crate) struct Pace {
    /// When the past reads are paid for.
    paid: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// Whether the reader may ask to be woken; else it takes a nap of [`NAP`] first.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.paid.saturating_duration_since(now) <= BURST
    }

    /// After a sleep, to be woken or a nap, something was there. A nap that was for nothing costs nothing: where
    /// little happens the reader asks to be woken again.
    pub(crate) fn read(&mut self, now: Instant) {
        self.paid = self.paid.max(now) + INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads of `seconds` of events that come one every `gap`, and how many of them were after a nap.
    fn reads(pace: &mut Pace, now: &mut Instant, seconds: u64, gap: Duration) -> (usize, usize) {
        let end = *now + Duration::from_secs(seconds);
        let mut next = *now + gap;
        let (mut reads, mut naps) = (0, 0);
        while *now < end {
            let is_nap = !pace.allows(*now);
            *now = if is_nap { *now + NAP } else { next.max(*now) };
            if *now >= next {
                pace.read(*now);
                (reads, naps) = (reads + 1, naps + usize::from(is_nap));
                while next <= *now {
                    next += gap;
                }
            }
        }
        (reads, naps)
    }

    #[test]
    fn a_burst_is_read_at_once_and_a_flow_by_naps() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let burst = (0..200).take_while(|_| {
            let is_allowed = pace.allows(now);
            pace.read(now);
            is_allowed
        });
        assert_eq!(burst.count(), 101);
        now += 2 * BURST + INTERVAL;
        let mut after = |gap| reads(&mut pace, &mut now, 60, gap);
        let (flow, naps) = after(Duration::from_millis(10));
        assert!((2500..=2700).contains(&flow), "{flow}");
        assert!(naps > 2300, "{naps}");
        // What comes seldom is read when it comes, once the flow is paid for.
        let (seldom, naps) = after(Duration::from_millis(40));
        assert!(seldom > 1400, "{seldom}");
        assert!(naps < 200, "{naps}");
    }
}
