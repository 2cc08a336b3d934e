//! How often a reader may be woken.

use std::time::{Duration, Instant};

/// A wake-up costs more than the event that it is for, and a part of it is paid by who made the event:
/// on a virtual machine the interrupt of the other processor alone takes ten microseconds. So no more
/// than one each this long...
const INTERVAL: Duration = Duration::from_millis(10);
/// ...but for as many as fit into this, so that nothing in a burst of work waits.
const BURST: Duration = Duration::from_secs(1);
/// How long a reader looks away when there were more. It is the most that an event of a busy host waits. Events of a
/// batch share the price of the first, which finds all caches cold: `cargo xtask bench sensor --only sweep` shows what
/// one costs at each rate.
pub(crate) const NAP: Duration = Duration::from_millis(24);

/// Up to 100 wake-ups a second for ever, and 100 at once after a quiet time.
pub(crate) struct Pace {
    /// When the past wake-ups are paid for.
    paid: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// Whether the reader may ask to be woken; else it takes a nap of [`NAP`] first.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let from = self.paid.max(now);
        if from - now > BURST {
            return false;
        }
        self.paid = from + INTERVAL;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_read_at_once_and_a_storm_by_naps() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let burst = (0..200).filter(|_| pace.allows(now)).count();
        assert_eq!(burst, 101);
        let mut woken = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(1);
            woken += u32::from(pace.allows(now));
        }
        assert_eq!(woken, 100);
        now += BURST + INTERVAL;
        assert!((0..100).all(|_| pace.allows(now)));
    }
}
