//! Whose turn it is while the network has less time than there are stories: the riskiest first, within a share of one
//! core.
//!
//! Pure: who asks has the clock, and tells what a judgement took.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Log-odds from which a story does not wait for the share: it may use as much again as may be saved up.
const PRESSING: f32 = 2.0;
/// What may be saved up while nothing waits: so long of one core.
const SAVED_NS: i64 = 2_000_000_000;

/// How much of one core judging may take, over time. What is not used is saved up to two seconds' worth, and spent at
/// once when much comes together.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    percent: u8,
    left_ns: i64,
    /// Until when was gained; nothing was before the first look.
    at_ns: Option<u64>,
}

impl Budget {
    /// Of `percent` of one core, 1 to 100; what may be saved up is there.
    pub fn new(percent: u8) -> Self {
        Self {
            percent: percent.clamp(1, 100),
            left_ns: SAVED_NS,
            at_ns: None,
        }
    }

    /// Counts what was used.
    pub fn spend(&mut self, ns: u64) {
        let used = i64::try_from(ns).unwrap_or(i64::MAX);
        // One long judgement is no reason to be blind for minutes.
        self.left_ns = self.left_ns.saturating_sub(used).max(-2 * SAVED_NS);
    }

    /// How long until a story of this risk may be judged, nanoseconds; 0: now. `now_ns` is a clock that never goes back.
    pub fn wait_ns(&mut self, risk: f32, now_ns: u64) -> u64 {
        let at_ns = self.at_ns.unwrap_or(now_ns);
        let passed = now_ns.saturating_sub(at_ns);
        self.at_ns = Some(at_ns.max(now_ns));
        let gained = passed / 100 * u64::from(self.percent);
        let gained = i64::try_from(gained).unwrap_or(SAVED_NS);
        self.left_ns = self.left_ns.saturating_add(gained).min(SAVED_NS);
        let least = if is_pressing(risk) { -SAVED_NS } else { 0 };
        let lacking = u64::try_from(least - self.left_ns).unwrap_or(0);
        lacking * 100 / u64::from(self.percent)
    }
}

fn is_pressing(risk: f32) -> bool {
    // What is not a number is not harmless.
    risk.is_nan() || risk >= PRESSING
}

/// Something that waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waiting<K, V> {
    /// What it is.
    pub key: K,
    /// How risky it seems, log-odds.
    pub risk: f32,
    /// What came with it first.
    pub value: V,
}

/// In the order of a queue: the riskiest first, of those the one that has waited for longest.
type Place = (Rank, Reverse<u64>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Rank(f32);

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Those who wait, bounded: when there is no room the least risky goes.
#[derive(Debug)]
pub struct Queue<K, V> {
    most: usize,
    places: HashMap<K, Place>,
    order: BTreeMap<Place, Waiting<K, V>>,
    arrived: u64,
}

impl<K: Copy + Eq + Hash, V> Queue<K, V> {
    /// Room for `most`, at least one.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            places: HashMap::new(),
            order: BTreeMap::new(),
            arrived: 0,
        }
    }

    /// Puts one in. Who waits already keeps its place among its equals and what came with it, and rises when it has become riskier.
    /// Answers who had to go, which may be the new one.
    pub fn put(&mut self, key: K, risk: f32, value: V) -> Option<Waiting<K, V>> {
        // What is not a number is not harmless.
        let risk = if risk.is_nan() { f32::INFINITY } else { risk };
        if let Some(place) = self.places.get(&key).copied() {
            if Rank(risk) > place.0
                && let Some(mut waiting) = self.order.remove(&place)
            {
                waiting.risk = risk;
                self.place((Rank(risk), place.1), waiting);
            }
            return None;
        }
        self.arrived += 1;
        let waiting = Waiting { key, risk, value };
        self.place((Rank(risk), Reverse(self.arrived)), waiting);
        if self.order.len() <= self.most {
            return None;
        }
        let (_, gone) = self.order.pop_first()?;
        self.places.remove(&gone.key);
        Some(gone)
    }

    fn place(&mut self, place: Place, waiting: Waiting<K, V>) {
        self.places.insert(waiting.key, place);
        self.order.insert(place, waiting);
    }

    /// How risky the next one is.
    pub fn next_risk(&self) -> Option<f32> {
        self.order.last_key_value().map(|(_, next)| next.risk)
    }

    /// Takes the next one out.
    pub fn pop(&mut self) -> Option<Waiting<K, V>> {
        let (_, next) = self.order.pop_last()?;
        self.places.remove(&next.key);
        Some(next)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Most bytes that `most` waiting take.
    pub fn bytes_of(most: usize) -> usize {
        // A map has up to twice the slots that it fills, and so has a tree.
        let place = size_of::<K>() + size_of::<Place>() + 1;
        2 * most * (place + size_of::<Place>() + size_of::<Waiting<K, V>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_riskiest_comes_first_and_equals_in_their_order() {
        let mut queue = Queue::new(8);
        for (key, risk) in [(1, -1.0), (2, 3.0), (3, -1.0), (4, f32::NAN)] {
            assert!(queue.put(key, risk, key * 10).is_none());
        }
        // It rises, and does not fall again; what came with it first stays.
        assert!(queue.put(3, 0.5, 99).is_none() && queue.put(3, -9.0, 98).is_none());
        let order: Vec<(i32, i32)> = std::iter::from_fn(|| queue.pop())
            .map(|one| (one.key, one.value))
            .collect();
        assert_eq!(order, [(4, 40), (2, 20), (3, 30), (1, 10)]);
        assert!(queue.is_empty() && queue.places.is_empty());
    }

    #[test]
    fn without_room_the_least_risky_goes_and_the_bound_holds() {
        let mut queue = Queue::new(3);
        let mut gone = Vec::new();
        for key in 0..10 {
            gone.extend(queue.put(key, if key == 4 { 5.0 } else { -2.0 }, ()));
            assert!(queue.len() <= 3 && queue.places.len() == queue.len());
        }
        assert_eq!(gone.len(), 7);
        assert!(gone.iter().all(|one| one.key != 4));
        assert_eq!(queue.next_risk(), Some(5.0));
        // Of equals the last to come goes first: those who wait for longer are next.
        assert_eq!(gone[0].key, 3);
    }

    #[test]
    fn the_share_holds_over_time_and_what_presses_overdraws_once() {
        let mut budget = Budget::new(25);
        let (mut now, mut used) = (0, 0);
        let end = 60_000 * MS;
        while now < end {
            let wait = budget.wait_ns(-1.0, now);
            now += wait;
            if wait == 0 {
                budget.spend(5 * MS);
                now += 5 * MS;
                used += 5 * MS;
            }
        }
        let allowed = end / 4 + SAVED_NS as u64;
        assert!(
            used <= allowed + 10 * MS && used >= allowed - 100 * MS,
            "{used} of {allowed}"
        );
        // Nothing is left, and an attack is judged all the same; but not for ever.
        assert!(budget.wait_ns(-1.0, now) > 0 || budget.left_ns >= 0);
        let mut pressing = 0;
        while budget.wait_ns(f32::INFINITY, now) == 0 && pressing < 10_000 {
            budget.spend(5 * MS);
            pressing += 1;
        }
        assert!((390..=410).contains(&pressing), "{pressing}");
        let wait = budget.wait_ns(f32::NAN, now);
        assert!(wait > 0 && wait < 100 * MS, "{wait}");
    }

    #[test]
    fn one_judgement_that_takes_hours_blinds_for_seconds_and_a_clock_may_stand_still() {
        let mut budget = Budget::new(50);
        budget.spend(u64::MAX);
        assert!(budget.wait_ns(-1.0, 0) <= 8_000 * MS);
        assert!(budget.wait_ns(-1.0, 0) <= 8_000 * MS);
        assert_eq!(budget.wait_ns(-1.0, u64::MAX), 0);
    }
}
