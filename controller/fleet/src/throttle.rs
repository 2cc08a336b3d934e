//! A bound on failed enrolments: guessing tokens must stay slow, and so must filling the audit log.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

const WINDOW: SignedDuration = SignedDuration::from_mins(1);
const PER_SOURCE: u32 = 10;
const IN_ALL: u32 = 600;
const MOST_SOURCES: usize = 4096;

/// Failures within a window.
#[derive(Clone, Copy)]
struct Count {
    since: Timestamp,
    failures: u32,
}

impl Count {
    fn is_over(self, now: Timestamp) -> bool {
        // A clock that was set back ends the window too, or it would last for as long.
        now < self.since || now.duration_since(self.since) >= WINDOW
    }
}

/// Counts failures by source address.
#[derive(Default)]
pub(crate) struct Throttle {
    sources: HashMap<IpAddr, Count>,
    all: Option<Count>,
}

impl Throttle {
    /// Whether another try is let in.
    pub(crate) fn admits(&self, source: IpAddr, now: Timestamp) -> bool {
        let below = |count: Option<&Count>, most| {
            count.is_none_or(|count| count.is_over(now) || count.failures < most)
        };
        below(self.sources.get(&network(source)), PER_SOURCE) && below(self.all.as_ref(), IN_ALL)
    }

    /// Counts a failure.
    pub(crate) fn failed(&mut self, source: IpAddr, now: Timestamp) {
        bump(self.all.get_or_insert(Count::new(now)), now);
        if self.sources.len() >= MOST_SOURCES {
            self.sources.retain(|_, count| !count.is_over(now));
        }
        // With more sources than that in one minute, the bound on all of them holds alone.
        if self.sources.len() < MOST_SOURCES {
            let count = self.sources.entry(network(source));
            bump(count.or_insert(Count::new(now)), now);
        }
    }
}

impl Count {
    fn new(since: Timestamp) -> Self {
        Self { since, failures: 0 }
    }
}

fn bump(count: &mut Count, now: Timestamp) {
    if count.is_over(now) {
        *count = Count::new(now);
    }
    count.failures += 1;
}

/// One IPv6 host has a whole /64.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_source_is_shut_out_for_a_minute_and_others_are_not() {
        let (source, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut throttle = Throttle::default();
        for _ in 0..PER_SOURCE {
            assert!(throttle.admits(source, at(0)));
            throttle.failed(source, at(0));
        }
        assert!(!throttle.admits(source, at(59)));
        assert!(throttle.admits(other, at(59)));
        assert!(throttle.admits(source, at(60)));
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let mut throttle = Throttle::default();
        for last in 0..PER_SOURCE {
            throttle.failed(format!("2001:db8::{last:x}").parse().unwrap(), at(0));
        }
        assert!(!throttle.admits("2001:db8::ffff".parse().unwrap(), at(1)));
        assert!(throttle.admits("2001:db8:0:1::1".parse().unwrap(), at(1)));
    }

    #[test]
    fn many_sources_fill_neither_memory_nor_the_log() {
        let mut throttle = Throttle::default();
        for n in 0..u32::try_from(MOST_SOURCES).unwrap() + 10 {
            throttle.failed(std::net::Ipv4Addr::from_bits(n).into(), at(0));
        }
        assert_eq!(throttle.sources.len(), MOST_SOURCES);
        assert!(!throttle.admits("192.0.2.1".parse().unwrap(), at(1)));
    }
}
