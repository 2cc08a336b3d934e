//! Slows down guessing of passwords. Pure: the time is an argument.
//!
//! Failures are counted for an address and for an account as tried from that address. Not for an
//! account as such: anybody could then lock its owner out. Memory is bounded; the oldest entry
//! makes room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

/// Failures that cost nothing, for people who mistype.
const FREE_BY_ACCOUNT: u32 = 5;
const FREE_BY_ADDRESS: u32 = 20;
const LONGEST: Duration = Duration::from_mins(5);
/// Failures this old are forgotten.
const MEMORY: Duration = Duration::from_mins(15);
const MOST_ENTRIES: usize = 4_096;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Account(IpAddr, String),
}

impl Key {
    fn free(&self) -> u32 {
        match self {
            Self::Address(_) => FREE_BY_ADDRESS,
            Self::Account(..) => FREE_BY_ACCOUNT,
        }
    }
}

struct Failures {
    count: u32,
    last: Timestamp,
}

/// Failed sign-ins of late.
#[derive(Default)]
pub struct Throttle {
    failures: HashMap<Key, Failures>,
}

impl Throttle {
    /// How long this caller has to wait before the next try; nothing when it may try now.
    pub fn wait(&self, address: IpAddr, account: &str, now: Timestamp) -> Option<Duration> {
        let waits = keys(address, account).map(|key| self.wait_of(&key, now));
        waits.into_iter().flatten().max()
    }

    /// Counts a failure.
    pub fn failed(&mut self, address: IpAddr, account: &str, now: Timestamp) {
        for key in keys(address, account) {
            self.make_room(&key, now);
            let entry = self.failures.entry(key).or_insert(Failures {
                count: 0,
                last: now,
            });
            entry.count = entry.count.saturating_add(1);
            entry.last = now;
        }
    }

    /// Forgets an account's failures from this address: its owner is there. The address's own count
    /// stays, or a guesser with one good account could clear it at will.
    pub fn succeeded(&mut self, address: IpAddr, account: &str) {
        self.failures.remove(&account_key(address, account));
    }

    fn wait_of(&self, key: &Key, now: Timestamp) -> Option<Duration> {
        let failures = self.failures.get(key)?;
        let over = failures.count.checked_sub(key.free())?;
        let wait = LONGEST.min(Duration::from_secs(2_u64.saturating_pow(over)));
        let since = elapsed(failures.last, now);
        wait.checked_sub(since).filter(|left| !left.is_zero())
    }

    fn make_room(&mut self, key: &Key, now: Timestamp) {
        if self.failures.contains_key(key) {
            return;
        }
        if self.failures.len() >= MOST_ENTRIES {
            self.failures
                .retain(|_, failures| elapsed(failures.last, now) < MEMORY);
        }
        if self.failures.len() >= MOST_ENTRIES {
            let oldest = self
                .failures
                .iter()
                .min_by_key(|(_, failures)| failures.last);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.failures.remove(&key);
            }
        }
    }
}

fn keys(address: IpAddr, account: &str) -> [Key; 2] {
    [Key::Address(address), account_key(address, account)]
}

/// Account names are bounded before they get here; a longer one is no account.
fn account_key(address: IpAddr, account: &str) -> Key {
    Key::Account(address, account.to_owned())
}

/// A clock that was set back counts as no time gone by.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_few_mistakes_cost_nothing_and_the_next_cost_ever_more() {
        let mut throttle = Throttle::default();
        for _ in 0..FREE_BY_ACCOUNT - 1 {
            throttle.failed(HERE, "admin", at(0));
            assert_eq!(throttle.wait(HERE, "admin", at(0)), None);
        }
        let mut waits = Vec::new();
        for _ in 0..4 {
            throttle.failed(HERE, "admin", at(0));
            waits.push(throttle.wait(HERE, "admin", at(0)).unwrap().as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8]);
        assert_eq!(throttle.wait(HERE, "admin", at(8)), None);
    }

    #[test]
    fn an_owner_elsewhere_is_not_locked_out() {
        let mut throttle = Throttle::default();
        for _ in 0..100 {
            throttle.failed(HERE, "admin", at(0));
        }
        assert_eq!(throttle.wait(HERE, "admin", at(0)), Some(LONGEST));
        assert_eq!(throttle.wait(THERE, "admin", at(0)), None);
    }

    #[test]
    fn many_accounts_from_one_address_are_one_guesser() {
        let mut throttle = Throttle::default();
        for n in 0..=FREE_BY_ADDRESS {
            throttle.failed(HERE, &format!("user{n}"), at(0));
        }
        throttle.succeeded(HERE, "user1");
        assert!(throttle.wait(HERE, "another", at(0)).is_some());
    }

    #[test]
    fn success_forgives_an_account() {
        let mut throttle = Throttle::default();
        for _ in 0..=FREE_BY_ACCOUNT {
            throttle.failed(HERE, "admin", at(0));
        }
        throttle.succeeded(HERE, "admin");
        assert_eq!(throttle.wait(HERE, "admin", at(0)), None);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut throttle = Throttle::default();
        for n in 0..MOST_ENTRIES as u32 * 2 {
            let address = IpAddr::V4(std::net::Ipv4Addr::from_bits(n));
            throttle.failed(address, "admin", at(i64::from(n)));
            assert!(throttle.failures.len() <= MOST_ENTRIES);
        }
    }
}
