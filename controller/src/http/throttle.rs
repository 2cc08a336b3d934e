//! Slows down guessing of passwords. Pure: the time is an argument.
//!
//! Tries are counted for an address and for an account as tried from that address. Not for an
//! account as such: anybody could then lock its owner out. A try is counted before the password is
//! checked and taken back when it was right, so that many tries at once count as many. Memory is
//! bounded; the oldest entry makes room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

/// Failed tries that cost nothing, for people who mistype.
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
    /// Counts a try, or says how long to wait before the next one is let through.
    pub fn admit(&mut self, from: IpAddr, account: &str, now: Timestamp) -> Result<(), Duration> {
        let waits = keys(from, account).map(|key| self.wait_of(&key, now));
        if let Some(wait) = waits.into_iter().flatten().max() {
            return Err(wait);
        }
        for key in keys(from, account) {
            self.make_room(&key, now);
            let fresh = Failures {
                count: 0,
                last: now,
            };
            let entry = self.failures.entry(key).or_insert(fresh);
            entry.count = entry.count.saturating_add(1);
            entry.last = now;
        }
        Ok(())
    }

    /// The admitted try was right. The account's failures from this address are forgotten: its owner
    /// is there. Of the address's only this try is, or a guesser with one good account could clear
    /// them at will.
    pub fn succeeded(&mut self, from: IpAddr, account: &str) {
        self.failures.remove(&account_key(from, account));
        if let Some(entry) = self.failures.get_mut(&Key::Address(from)) {
            entry.count = entry.count.saturating_sub(1);
        }
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

    /// Tries until it has to wait.
    fn exhaust(throttle: &mut Throttle, account: &str, now: Timestamp) -> (u32, Duration) {
        let mut tries = 0;
        loop {
            match throttle.admit(HERE, account, now) {
                Ok(()) => tries += 1,
                Err(wait) => return (tries, wait),
            }
        }
    }

    #[test]
    fn a_few_mistakes_cost_nothing_and_the_next_cost_ever_more() {
        let mut throttle = Throttle::default();
        let mut now = 0;
        let mut waits = Vec::new();
        let (free, mut wait) = exhaust(&mut throttle, "admin", at(now));
        assert_eq!(free, FREE_BY_ACCOUNT);
        for _ in 0..4 {
            waits.push(wait.as_secs());
            now += wait.as_secs().cast_signed();
            let tries;
            (tries, wait) = exhaust(&mut throttle, "admin", at(now));
            assert_eq!(tries, 1);
        }
        assert_eq!(waits, [1, 2, 4, 8]);
    }

    #[test]
    fn the_wait_is_bounded_and_an_owner_elsewhere_is_not_locked_out() {
        let mut throttle = Throttle::default();
        let mut now = 0;
        for _ in 0..20 {
            let (_, wait) = exhaust(&mut throttle, "admin", at(now));
            assert!(wait <= LONGEST);
            now += wait.as_secs().cast_signed();
        }
        assert_eq!(throttle.admit(THERE, "admin", at(now)), Ok(()));
    }

    #[test]
    fn many_accounts_from_one_address_are_one_guesser() {
        let mut throttle = Throttle::default();
        for n in 0..FREE_BY_ADDRESS {
            throttle.admit(HERE, &format!("user{n}"), at(0)).unwrap();
        }
        throttle.admit(HERE, "another", at(0)).unwrap_err();
    }

    #[test]
    fn success_forgives_the_account_and_costs_the_address_nothing() {
        let mut throttle = Throttle::default();
        for _ in 0..FREE_BY_ADDRESS * 2 {
            throttle.admit(HERE, "admin", at(0)).unwrap();
            throttle.succeeded(HERE, "admin");
        }
        let (tries, _) = exhaust(&mut throttle, "admin", at(0));
        assert_eq!(tries, FREE_BY_ACCOUNT);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut throttle = Throttle::default();
        for n in 0..MOST_ENTRIES as u32 * 2 {
            let from = IpAddr::V4(std::net::Ipv4Addr::from_bits(n));
            throttle.admit(from, "admin", at(i64::from(n))).unwrap();
            assert!(throttle.failures.len() <= MOST_ENTRIES);
        }
    }
}
