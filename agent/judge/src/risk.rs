//! Risk of a process tree: what its other steps say of the next one.
//!
//! Much of what an intruder types an administrator types too; but an administrator does one such thing among many that
//! no intruder has a use for, and most of an intruder's shell looks like an intruder's. So a tree remembers the
//! log-odds that its last different steps had by themselves. Their mean, drawn towards nothing while they are few, is
//! evidence of its own about the next step, and evidence adds up in log-odds (Good, *Probability and the Weighing of
//! Evidence*, 1950): where most steps look like an attack a doubtful one is called so, and where it stands alone
//! among harmless ones it is not.
//!
//! It is bounded both ways. No harmless step is called malicious for its company, and who pads an attack with harmless
//! steps hides it by no more than that. What is only done again says nothing new, so a build of ten thousand steps
//! is no more than its last different ones. Time halves what is remembered.

use std::collections::HashMap;
use std::hash::Hash;

use cordon_model::calibration::sigmoid;
use cordon_proto::policy::Thresholds;

/// Log-odds of a step that says nothing of its tree: what one has that is just suspicious by itself, which few honest
/// runs have.
const NEUTRAL: f32 = 2.6;
/// A step says no more than that, however sure the model is.
const OF_A_STEP: f32 = 4.0;
/// What the mean of a tree counts beside a story's own log-odds.
const WEIGHT: f32 = 2.0;
/// The mean of fewer steps than that is mostly drawn to nothing.
const FEW: f32 = 4.0;
/// Different steps that a tree remembers.
const STEPS: usize = 16;
/// Half of what a step says is gone after so long, in nanoseconds: half an hour.
const HALF_LIFE_NS: f64 = 30.0 * 60.0 * 1e9;

/// What the other steps of a tree say of the next one. Nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TreeRisk {
    /// Log-odds that they add, at most [`TreeRisk::MOST`] either way.
    pub log_odds: f32,
    /// How many there are.
    pub steps: u32,
    /// How many of them look like an attack rather than not.
    pub signs: u32,
}

impl TreeRisk {
    /// No tree adds more, or takes more away.
    pub const MOST: f32 = 2.0;

    /// What a story has to reach by itself, so that with its tree it reaches `thresholds`.
    pub(crate) fn thresholds(self, thresholds: Thresholds) -> Thresholds {
        Thresholds {
            suspicious: moved(thresholds.suspicious, -self.log_odds),
            malicious: moved(thresholds.malicious, -self.log_odds),
        }
    }

    /// The score of a story with its tree, of what it is by itself.
    pub(crate) fn score(self, alone: f32) -> f32 {
        moved(alone, self.log_odds)
    }
}

/// A judged story of a tree.
#[derive(Clone, Copy, Debug)]
struct Step<K> {
    process: K,
    print: u64,
    log_odds: f32,
    /// From 1, with time less.
    weight: f32,
}

#[derive(Debug)]
struct Tree<K> {
    steps: Vec<Step<K>>,
    at_ns: u64,
}

/// The trees that were heard of last; bounded: those that were silent for longest are forgotten, half of all at a time.
pub struct Risks<K> {
    most: usize,
    /// Heard of since the others were last put aside.
    young: HashMap<K, Tree<K>>,
    old: HashMap<K, Tree<K>>,
    forgotten: u64,
}

impl<K: Copy + Eq + Hash> Risks<K> {
    /// Remembers at most `most` trees, at least two.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(2),
            young: HashMap::new(),
            old: HashMap::new(),
            forgotten: 0,
        }
    }

    /// What the tree's other steps say of a story of `process`. `print` names what is read of the story, `now_ns` is of
    /// a clock that never goes back.
    pub fn of(&self, tree: &K, process: K, print: u64, now_ns: u64) -> TreeRisk {
        let known = self.young.get(tree).or_else(|| self.old.get(tree));
        known.map_or_else(TreeRisk::default, |tree| tree.risk(process, print, now_ns))
    }

    /// Remembers a judged story of a tree: of each process the last one, of the same again the first.
    pub fn add(&mut self, tree: K, process: K, print: u64, log_odds: f32, now_ns: u64) {
        if log_odds.is_nan() {
            return;
        }
        let step = Step {
            process,
            print,
            log_odds: log_odds.clamp(NEUTRAL - OF_A_STEP, NEUTRAL + OF_A_STEP),
            weight: 1.0,
        };
        self.heard_of(tree, now_ns).add(step, now_ns);
    }

    /// Trees that are remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// None is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most bytes that `most` trees take.
    pub fn bytes_of(most: usize) -> usize {
        // A map has up to twice the slots that it fills.
        most * (2 * (size_of::<K>() + size_of::<Tree<K>>() + 1) + STEPS * size_of::<Step<K>>())
    }

    /// Trees that were forgotten for lack of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn heard_of(&mut self, tree: K, now_ns: u64) -> &mut Tree<K> {
        let known = self.old.remove(&tree);
        if !self.young.contains_key(&tree) && self.young.len() >= self.most / 2 {
            self.forgotten += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
        let fresh = || Tree {
            steps: Vec::new(),
            at_ns: now_ns,
        };
        self.young
            .entry(tree)
            .or_insert_with(|| known.unwrap_or_else(fresh))
    }
}

impl<K: Copy + Eq> Tree<K> {
    fn add(&mut self, step: Step<K>, now_ns: u64) {
        let left = self.left(now_ns);
        for step in &mut self.steps {
            step.weight *= left;
        }
        self.at_ns = self.at_ns.max(now_ns);
        if let Some(known) = self
            .steps
            .iter_mut()
            .find(|one| one.process == step.process)
        {
            *known = step;
        } else if self.steps.iter().all(|one| one.print != step.print) {
            if self.steps.len() == STEPS {
                self.steps.remove(0);
            }
            self.steps.push(step);
        }
    }

    fn risk(&self, process: K, print: u64, now_ns: u64) -> TreeRisk {
        let (mut risk, mut sum, mut weight) = (TreeRisk::default(), 0.0, 0.0);
        for step in &self.steps {
            if step.process == process || step.print == print {
                continue;
            }
            risk.steps += 1;
            risk.signs += u32::from(step.log_odds > NEUTRAL);
            sum += step.weight * (step.log_odds - NEUTRAL);
            weight += step.weight;
        }
        let left = self.left(now_ns);
        let mean = left * sum / (left * weight + FEW);
        risk.log_odds = (WEIGHT * mean).clamp(-TreeRisk::MOST, TreeRisk::MOST);
        risk
    }

    /// The share that time has left since the tree's last step.
    fn left(&self, now_ns: u64) -> f32 {
        let passed = now_ns.saturating_sub(self.at_ns) as f64;
        0.5f64.powf(passed / HALF_LIFE_NS) as f32
    }
}

/// A probability with so much added to its log-odds; the very same one where that is nothing.
fn moved(probability: f32, by: f32) -> f32 {
    if by == 0.0 {
        return probability;
    }
    sigmoid(log_odds(probability) + by)
}

/// Infinite at 0 and 1.
pub(crate) fn log_odds(probability: f32) -> f32 {
    (probability / (1.0 - probability)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;
    /// Of who is asked about: no step of a test has it.
    const OTHER: u32 = 9_999;

    /// A tree whose steps had these log-odds, one a second.
    fn after(steps: &[f32]) -> TreeRisk {
        let mut risks = Risks::new(8);
        for (at, log_odds) in steps.iter().enumerate() {
            let now = at as u64 * 1_000_000_000;
            risks.add(1u32, at as u32, at as u64, *log_odds, now);
        }
        let now = steps.len() as u64 * 1_000_000_000;
        risks.of(&1, OTHER, u64::MAX, now)
    }

    #[test]
    fn company_leans_a_verdict_and_the_more_there_is_of_it() {
        assert_eq!(after(&[]), TreeRisk::default());
        let (one, three) = (after(&[3.0]), after(&[3.0; 3]));
        assert!(0.0 < one.log_odds && one.log_odds < three.log_odds);
        assert_eq!((three.steps, three.signs), (3, 3));
        let among_harmless = after(&[-3.0, 3.0, -3.0, -3.0, -3.0]);
        assert!(among_harmless.log_odds < 0.0 && among_harmless.signs == 1);
    }

    #[test]
    fn no_tree_adds_or_takes_more_than_is_said() {
        for steps in [[f32::INFINITY; 500], [1e30; 500]] {
            assert!((after(&steps).log_odds - TreeRisk::MOST).abs() < 1e-6);
        }
        for steps in [[f32::NEG_INFINITY; 500], [-9.0; 500]] {
            assert!((after(&steps).log_odds + TreeRisk::MOST).abs() < 1e-6);
        }
        assert_eq!(after(&[f32::NAN]), TreeRisk::default());
    }

    #[test]
    fn one_weak_step_never_becomes_malicious_for_its_company() {
        let thresholds = Thresholds {
            suspicious: 0.94,
            malicious: 0.97,
        };
        let worst = after(&[9.0; 16]);
        let weak = 0.5;
        assert!(worst.score(weak) < thresholds.suspicious);
        assert!(weak < worst.thresholds(thresholds).suspicious);
    }

    #[test]
    fn what_a_story_needs_and_what_it_gets_are_the_same() {
        let thresholds = Thresholds {
            suspicious: 0.94,
            malicious: 0.97,
        };
        for steps in [vec![4.0; 6], vec![-4.0; 6], vec![0.7]] {
            let risk = after(&steps);
            let needed = risk.thresholds(thresholds);
            assert!((risk.score(needed.malicious) - thresholds.malicious).abs() < 1e-5);
            assert!((risk.score(needed.suspicious) - thresholds.suspicious).abs() < 1e-5);
        }
        let nothing = TreeRisk::default();
        assert_eq!(nothing.thresholds(thresholds), thresholds);
        for end in [0.0, 1.0] {
            let ends = Thresholds {
                suspicious: end,
                malicious: end,
            };
            assert_eq!(after(&[4.0; 6]).thresholds(ends), ends);
            assert!((after(&[4.0; 6]).score(end) - end).abs() < f32::EPSILON);
        }
    }

    #[test]
    fn a_story_is_no_company_to_itself_and_the_same_again_is_no_further_step() {
        let mut risks = Risks::new(8);
        for at in 0..100 {
            risks.add(1u32, at, 7, 3.0, 0);
        }
        assert_eq!(risks.of(&1, OTHER, 8, 0).steps, 1);
        assert_eq!(risks.of(&1, OTHER, 7, 0), TreeRisk::default());
        assert_eq!(risks.of(&1, 0, 8, 0), TreeRisk::default());
        // A story that grew counts as it is now.
        risks.add(1, 0, 9, -3.0, 0);
        let risk = risks.of(&1, OTHER, 8, 0);
        assert!(risk.steps == 1 && risk.log_odds < 0.0, "{risk:?}");
    }

    #[test]
    fn padding_pushes_out_no_more_than_the_oldest_steps() {
        let long: Vec<f32> = (0..5_000)
            .map(|at| if at % 12 == 0 { 3.5 } else { -2.5 })
            .collect();
        let risk = after(&long);
        assert!(risk.log_odds < 0.0, "{risk:?}");
        let mut padded = vec![3.5; 8];
        padded.extend([-2.5; 8]);
        let risk = after(&padded);
        assert_eq!((risk.steps, risk.signs), (16, 8));
    }

    #[test]
    fn hours_undo_what_was_and_a_clock_that_stands_still_does_not() {
        let mut risks = Risks::new(8);
        for at in 0..6 {
            risks.add(1u32, at, u64::from(at), 3.5, 5 * MINUTE);
        }
        let of = |now| risks.of(&1, OTHER, 99, now).log_odds;
        assert!(of(35 * MINUTE) < of(5 * MINUTE));
        assert!(of(600 * MINUTE) < 0.01);
        assert!((of(MINUTE) - of(5 * MINUTE)).abs() < f32::EPSILON);
    }

    #[test]
    fn the_trees_are_bounded_and_the_silent_go_first() {
        let mut risks = Risks::new(4);
        for tree in 0..100u32 {
            risks.add(tree, tree, 1, 3.0, u64::from(tree));
            // This one is heard of again and again.
            risks.add(1_000, tree, u64::from(tree), 3.0, u64::from(tree));
            assert!(risks.len() <= 4);
        }
        assert!(risks.forgotten() > 90);
        assert_eq!(risks.of(&1_000, OTHER, 2_000, 100).steps, 16);
        assert_eq!(risks.of(&3, OTHER, 2_000, 100), TreeRisk::default());
    }
}
