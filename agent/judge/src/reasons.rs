//! Why the model says so: parts of the story whose absence makes it say less.
//!
//! The model is asked again without a part (occlusion). It is asked in log-odds, since a score of
//! 0.9999 hardly moves in probability while its log-odds still do.
//!
//! 1. Each group of parts (the arguments, the ancestors, the connections, ...) is left out by itself.
//! 2. When no group alone matters, because the story says the same thing twice, each group is also
//!    shown alone, and what it says so is what it counts for.
//! 3. The heaviest group is divided, and its heaviest share again, as long as runs are left and the
//!    shares together tell at least half of what the whole did, left out or shown alone.
//! 4. What is heaviest is left out first, the next one in addition, and so on.
//!
//! **How to read a weight.** It is how much the score falls in step 4 when its part goes, those that
//! went before being gone already. So the weights of a verdict add up to what its score falls by
//! without all of its reasons, and a part that says what another said already has no weight of its
//! own. A weight near 0 stands by a part that carries log-odds ([`REDUNDANT`] at least) while the
//! score stays where it is, because the rest of the story is enough for it.

use std::ops::Range;

use cordon_behavior::story::Story;
use cordon_model::Model;

use crate::occlude::without;
use crate::part::Part;

/// A group whose absence costs fewer log-odds than this says nothing that others do not.
const REDUNDANT: f32 = 1.0;
/// A reason below this weight, of a part below [`REDUNDANT`], is not worth a line.
const LEAST_WEIGHT: f32 = 0.01;
/// Into how many shares a group is divided.
const SHARES: usize = 4;

/// What was found for one story. It is kept by position, not by text: a story that reads the same
/// may name another address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// The groups of the parts that the story had: only a story with the same ones may use it.
    pub(crate) groups: Vec<u8>,
    /// Which parts, and their weight; heaviest first.
    pub(crate) reasons: Vec<(Range<usize>, f32)>,
}

impl Found {
    pub(crate) fn bytes(&self) -> usize {
        self.groups.capacity() + self.reasons.capacity() * size_of::<(Range<usize>, f32)>()
    }

    /// Whether these reasons are about `parts`.
    pub(crate) fn fits(&self, parts: &[Part]) -> bool {
        self.groups
            .iter()
            .copied()
            .eq(parts.iter().map(Part::group))
    }
}

/// Bounds of a search.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Most reasons.
    pub(crate) reasons: usize,
    /// Most runs of the model.
    pub(crate) runs: usize,
}

/// Looks for the parts of `story` that carry its score; also says how often the model was run.
///
/// `log_odds` is the model's answer to a story. Where parts were left out in vain, the reason is the
/// story as a whole.
pub(crate) fn find(
    story: &Story,
    parts: &[Part],
    bounds: Bounds,
    log_odds: &dyn Fn(&Story) -> f32,
) -> (Found, usize) {
    let mut search = Search {
        story,
        parts,
        log_odds,
        whole: log_odds(story),
        nothing: None,
        runs: 0,
        // The last step has its runs set aside: without them there is no weight.
        most_runs: bounds.runs.saturating_sub(bounds.reasons),
    };
    let candidates = search.candidates();
    search.most_runs = bounds.runs;
    let reasons = search.weigh(candidates, bounds.reasons);
    let groups = parts.iter().map(Part::group).collect();
    (Found { groups, reasons }, search.runs)
}

/// Parts that stand together, and the log-odds that they carry.
#[derive(Clone, Debug)]
struct Candidate {
    parts: Range<usize>,
    carries: f32,
}

struct Search<'a> {
    story: &'a Story,
    parts: &'a [Part],
    log_odds: &'a dyn Fn(&Story) -> f32,
    /// The answer to the story itself.
    whole: f32,
    /// The answer to the story without any of its parts, once it was asked for.
    nothing: Option<f32>,
    runs: usize,
    most_runs: usize,
}

impl Search<'_> {
    /// `None` when no run is left, or the model has no finite answer.
    fn run(&mut self, left_out: &[Part]) -> Option<f32> {
        if self.runs >= self.most_runs {
            return None;
        }
        self.runs += 1;
        let answer = (self.log_odds)(&without(self.story, left_out));
        answer.is_finite().then_some(answer)
    }

    fn nothing(&mut self) -> Option<f32> {
        if self.nothing.is_none() {
            self.nothing = self.run(self.parts);
        }
        self.nothing
    }

    fn candidates(&mut self) -> Vec<Candidate> {
        let mut candidates = self.measured(groups(self.parts));
        if candidates.iter().all(|one| one.carries < REDUNDANT) {
            self.show_alone(&mut candidates);
        }
        self.divide(&mut candidates);
        candidates.sort_by(|a, b| b.carries.total_cmp(&a.carries));
        candidates
    }

    fn measured(&mut self, ranges: Vec<Range<usize>>) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for parts in ranges {
            if let Some(rest) = self.run(&self.parts[parts.clone()]) {
                candidates.push(Candidate {
                    parts,
                    carries: self.whole - rest,
                });
            }
        }
        candidates
    }

    fn show_alone(&mut self, candidates: &mut [Candidate]) {
        let Some(nothing) = self.nothing() else {
            return;
        };
        for one in candidates {
            let mut others = self.parts.to_vec();
            others.drain(one.parts.clone());
            if let Some(alone) = self.run(&others) {
                one.carries = one.carries.max(alone - nothing);
            }
        }
    }

    /// Puts shares in the place of what they are shares of, heaviest first.
    fn divide(&mut self, candidates: &mut Vec<Candidate>) {
        let mut settled = Vec::new();
        while let Some(whole) = take_heaviest(candidates) {
            let ranges = shares(&whole.parts);
            if ranges.len() < 2 || self.most_runs - self.runs < ranges.len() {
                settled.push(whole);
                continue;
            }
            let mut found = self.measured(ranges);
            if !tells(&found, whole.carries) {
                self.show_alone(&mut found);
            }
            if tells(&found, whole.carries) {
                candidates.extend(found);
            } else {
                settled.push(whole);
            }
        }
        *candidates = settled;
    }

    fn weigh(&mut self, candidates: Vec<Candidate>, most: usize) -> Vec<(Range<usize>, f32)> {
        let mut score = Model::probability_of(self.whole);
        let mut gone = Vec::new();
        let mut reasons: Vec<(Range<usize>, f32)> = Vec::new();
        for one in candidates.into_iter().take(most) {
            gone.extend_from_slice(&self.parts[one.parts.clone()]);
            let Some(rest) = self.run(&gone) else {
                break;
            };
            let rest = Model::probability_of(rest);
            if score - rest >= LEAST_WEIGHT || (one.carries >= REDUNDANT && rest <= score) {
                reasons.push((one.parts, score - rest));
            }
            score = rest;
        }
        if reasons.is_empty() && most > 0 {
            reasons.push((0..self.parts.len(), self.weight_of_all()));
        }
        reasons.sort_by(|a, b| b.1.total_cmp(&a.1));
        reasons
    }

    fn weight_of_all(&mut self) -> f32 {
        let nothing = self.nothing().unwrap_or(self.whole);
        Model::probability_of(self.whole) - Model::probability_of(nothing)
    }
}

/// What carries nothing is given away.
fn take_heaviest(candidates: &mut Vec<Candidate>) -> Option<Candidate> {
    candidates.retain(|one| one.carries > 0.0);
    let carries = |at: &usize| candidates[*at].carries;
    let heaviest = (0..candidates.len()).max_by(|a, b| carries(a).total_cmp(&carries(b)))?;
    Some(candidates.swap_remove(heaviest))
}

/// Whether `shares` explain at least half of the log-odds that they carry together.
fn tells(shares: &[Candidate], carries: f32) -> bool {
    let told: f32 = shares.iter().map(|share| share.carries.max(0.0)).sum();
    told >= carries / 2.0
}

/// Runs of parts of one group.
fn groups(parts: &[Part]) -> Vec<Range<usize>> {
    let mut start = 0;
    parts
        .chunk_by(|a, b| a.group() == b.group())
        .map(|chunk| {
            let range = start..start + chunk.len();
            start = range.end;
            range
        })
        .collect()
}

/// `range` in at most [`SHARES`] nearly equal shares.
fn shares(range: &Range<usize>) -> Vec<Range<usize>> {
    let count = range.len().min(SHARES);
    let at = |share: usize| range.start + share * range.len() / count;
    (0..count).map(|share| at(share)..at(share + 1)).collect()
}
