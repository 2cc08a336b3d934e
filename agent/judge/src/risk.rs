//! Risk of a process tree: small signs that belong together.
//!
//! One weak sign is no attack; several different ones in one tree within the hour may be. Each judged story moves the
//! sum of its tree: what is suspicious raises it, what is clearly harmless lowers it, and it never falls below zero
//! (Page's cumulative sum, Biometrika 41, 1954). So a build with ten thousand harmless steps does not add up, however
//! long it takes, and a visitor's short shell does. Time halves what is left. What one story adds is bounded: no
//! single one, however suspicious, carries a tree over the line.

use std::collections::HashMap;
use std::hash::Hash;

use cordon_proto::policy::Thresholds;

/// A tree at this sum is over the line: three suspicious stories in a row, or two that are nearly malicious and
/// something beside them.
const LINE: f32 = 3.0;
/// What a story adds that is just suspicious, and at most.
const SUSPICIOUS: f32 = 1.0;
const MOST: f32 = 1.4;
/// What a harmless story takes away.
const HARMLESS: f32 = 0.25;
/// Half of a sum is gone after so long without a sign, in nanoseconds: half an hour.
const HALF_LIFE_NS: f64 = 30.0 * 60.0 * 1e9;
/// Stories of a tree that are known by their fingerprints: what is only done again is no further sign.
const KNOWN: usize = 16;

/// How a tree stands after a story.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TreeRisk {
    /// The sum, from 0; at [`TreeRisk::line`] it is over.
    pub sum: f32,
    /// Different suspicious stories that made it.
    pub signs: u32,
    /// The tree is over the line with this story.
    pub is_over: bool,
}

impl TreeRisk {
    /// The line.
    pub const fn line() -> f32 {
        LINE
    }
}

struct Tree {
    sum: f32,
    signs: u32,
    at_ns: u64,
    known: [u64; KNOWN],
    next: usize,
}

/// The sums of the trees that were heard of last; bounded, the longest silent one is forgotten first.
pub struct Risks<K> {
    most: usize,
    trees: HashMap<K, Tree>,
    forgotten: u64,
}

impl<K: Copy + Eq + Hash> Risks<K> {
    /// Remembers at most `most` trees, at least one.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            trees: HashMap::new(),
            forgotten: 0,
        }
    }

    /// Adds a judged story. `fingerprint` names what was read of it, `score` is its probability, `now_ns` a clock that
    /// never goes back.
    pub fn add(
        &mut self,
        tree: K,
        fingerprint: u64,
        score: f32,
        thresholds: Thresholds,
        now_ns: u64,
    ) -> TreeRisk {
        let step = step(score, thresholds);
        // A harmless story of a tree without a sum changes nothing, and there are millions.
        if step <= 0.0 && !self.trees.contains_key(&tree) {
            return TreeRisk {
                sum: 0.0,
                signs: 0,
                is_over: false,
            };
        }
        self.make_room(&tree);
        let one = self.trees.entry(tree).or_insert(Tree {
            sum: 0.0,
            signs: 0,
            at_ns: now_ns,
            known: [0; KNOWN],
            next: 0,
        });
        one.fade(now_ns);
        one.add(fingerprint, step);
        let risk = TreeRisk {
            sum: one.sum,
            signs: one.signs,
            is_over: one.sum >= LINE && step > 0.0,
        };
        if one.sum <= 0.0 {
            self.trees.remove(&tree);
        }
        risk
    }

    /// The sum of a tree as it was when its last story was added; 0 when there is none.
    pub fn sum(&self, tree: &K) -> f32 {
        self.trees.get(tree).map_or(0.0, |tree| tree.sum)
    }

    /// Trees that are remembered.
    pub fn len(&self) -> usize {
        self.trees.len()
    }

    /// None is.
    pub fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// Most bytes that `most` trees take.
    pub fn bytes_of(most: usize) -> usize {
        // A map has up to twice the slots that it fills.
        2 * most * (size_of::<K>() + size_of::<Tree>() + 1)
    }

    /// Trees that were forgotten for lack of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn make_room(&mut self, tree: &K) {
        if self.trees.len() < self.most || self.trees.contains_key(tree) {
            return;
        }
        let silent = self.trees.iter().min_by_key(|(_, tree)| tree.at_ns);
        if let Some(key) = silent.map(|(key, _)| *key) {
            self.trees.remove(&key);
            self.forgotten += 1;
        }
    }
}

impl Tree {
    fn fade(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.at_ns) as f64;
        self.sum *= 0.5f64.powf(passed / HALF_LIFE_NS) as f32;
        self.at_ns = self.at_ns.max(now_ns);
    }

    fn add(&mut self, fingerprint: u64, step: f32) {
        if step > 0.0 {
            if self.known.contains(&fingerprint) {
                return;
            }
            self.known[self.next] = fingerprint;
            self.next = (self.next + 1) % KNOWN;
            self.signs += 1;
        }
        self.sum = (self.sum + step).max(0.0);
    }
}

/// What a story of `score` adds to its tree, or takes from it.
fn step(score: f32, thresholds: Thresholds) -> f32 {
    let (low, high) = (
        log_odds(thresholds.suspicious),
        log_odds(thresholds.malicious),
    );
    let at = log_odds(score);
    if !at.is_finite() || at.is_nan() || score >= thresholds.suspicious {
        // Between suspicious and malicious it grows, beyond that it stays.
        let share = ((at - low) / (high - low).max(0.1)).clamp(0.0, 1.0);
        let share = if share.is_nan() { 1.0 } else { share };
        return SUSPICIOUS + (MOST - SUSPICIOUS) * share;
    }
    // A unit of log-odds below suspicion is neither here nor there.
    if at > low - 1.0 { 0.0 } else { -HARMLESS }
}

/// Of a probability, held away from where it has no end.
fn log_odds(probability: f32) -> f32 {
    let p = probability.clamp(1e-6, 1.0 - 1e-6);
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        suspicious: 0.8,
        malicious: 0.95,
    };
    const MINUTE: u64 = 60_000_000_000;

    fn after(scores: &[f32]) -> TreeRisk {
        let mut risks = Risks::new(8);
        let mut last = None;
        for (index, score) in scores.iter().enumerate() {
            let now = index as u64 * 1_000_000_000;
            last = Some(risks.add(1u32, index as u64 + 1, *score, THRESHOLDS, now));
        }
        last.unwrap()
    }

    #[test]
    fn one_story_is_never_enough_and_three_suspicious_ones_are() {
        for score in [0.1, 0.85, 0.949, 1.0, f32::NAN] {
            assert!(!after(&[score]).is_over, "{score}");
        }
        assert!(!after(&[0.94, 0.94]).is_over);
        let risk = after(&[0.85, 0.85, 0.9]);
        assert!(risk.is_over && risk.signs == 3, "{risk:?}");
    }

    #[test]
    fn a_long_harmless_work_never_adds_up() {
        let build: Vec<f32> = (0..5000)
            .map(|index| if index % 12 == 0 { 0.9 } else { 0.05 })
            .collect();
        let mut risks = Risks::new(8);
        for (index, score) in build.iter().enumerate() {
            let risk = risks.add(1u32, index as u64 + 1, *score, THRESHOLDS, index as u64);
            assert!(!risk.is_over, "{index}: {risk:?}");
        }
    }

    #[test]
    fn the_same_again_is_no_further_sign() {
        let mut risks = Risks::new(8);
        for _ in 0..100 {
            let risk = risks.add(1u32, 7, 0.94, THRESHOLDS, 0);
            assert!(!risk.is_over && risk.signs == 1);
        }
    }

    #[test]
    fn hours_between_the_signs_undo_them_and_no_clock_that_stands_still_does() {
        let mut risks = Risks::new(8);
        for index in 0..20 {
            let risk = risks.add(1u32, index + 1, 0.85, THRESHOLDS, index * 60 * MINUTE);
            assert!(!risk.is_over, "{risk:?}");
        }
        let before = risks.add(2u32, 1, 0.85, THRESHOLDS, 5 * MINUTE).sum;
        let back = risks.add(2u32, 2, 0.85, THRESHOLDS, MINUTE).sum;
        assert!(back > before);
    }

    #[test]
    fn the_trees_are_bounded_and_the_silent_go_first() {
        let mut risks = Risks::new(2);
        for tree in 0..5u32 {
            risks.add(tree, 1, 0.85, THRESHOLDS, u64::from(tree));
        }
        assert_eq!((risks.len(), risks.forgotten()), (2, 3));
        // The fourth is still known: its second story adds to the first.
        assert!(risks.add(4, 2, 0.85, THRESHOLDS, 5).sum > 1.5);
        risks.add(9, 1, 0.01, THRESHOLDS, 6);
        assert_eq!(risks.len(), 2);
    }
}
