//! Measuring: recall and false positives with intervals, on stories that nothing was fitted or calibrated on.

use serde::{Deserialize, Serialize};

use crate::calibration::Form;

/// What the model said of one held-out story.
#[derive(Clone, Debug)]
pub struct Scored {
    /// Where the story is from.
    pub source: String,
    /// Its label.
    pub malicious: bool,
    /// The technique it is labelled with.
    pub technique: Option<String>,
    /// What the story is made of.
    pub form: Form,
    /// Malice logit of the quantized network.
    pub network: f32,
    /// Logit of the gate.
    pub gate: f32,
    /// The likeliest technique.
    pub named: Option<String>,
}

/// A share with its 95 % Wilson interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How many.
    pub hits: usize,
    /// Of how many.
    pub of: usize,
}

impl Share {
    /// Counts.
    pub fn of<T>(items: impl IntoIterator<Item = T>, hit: impl Fn(&T) -> bool) -> Self {
        let mut share = Self { hits: 0, of: 0 };
        for item in items {
            share.of += 1;
            share.hits += usize::from(hit(&item));
        }
        share
    }

    /// The interval's ends.
    pub fn interval(self) -> (f64, f64) {
        if self.of == 0 {
            return (0.0, 1.0);
        }
        let (n, p, z) = (self.of as f64, self.hits as f64 / self.of as f64, 1.96f64);
        let middle = p + z * z / (2.0 * n);
        let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + z * z / n;
        (
            ((middle - half) / scale).max(0.0),
            ((middle + half) / scale).min(1.0),
        )
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.of == 0 {
            return f.write_str("no stories");
        }
        let (low, high) = self.interval();
        let percent = 100.0 * self.hits as f64 / self.of as f64;
        write!(
            f,
            "{percent:.2} % ({}/{}, 95 % {:.2} to {:.2})",
            self.hits,
            self.of,
            100.0 * low,
            100.0 * high
        )
    }
}

/// Kinds of held-out stories that are measured apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Public text.
    Public,
    /// Lines of ours that were kept apart, and sessions of left-out lines.
    Written,
    /// Recorded families that were left out as a whole.
    Recorded,
    /// Other runs of recorded scenarios that were fitted: they tell less, and are more the more is fitted, so that
    /// together with families left out they would hide what those cost.
    Runs,
    /// Composed stories of sockets and services.
    Composed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Public,
        Self::Written,
        Self::Recorded,
        Self::Runs,
        Self::Composed,
    ];

    /// The kind of a source.
    pub fn of(source: &str) -> Self {
        match source {
            "ours" | "sessions" => Self::Written,
            _ if source.starts_with("pack:") => Self::Written,
            "composed" => Self::Composed,
            _ if source.starts_with("recorded:") => Self::Recorded,
            _ if source.starts_with("runs:") => Self::Runs,
            _ => Self::Public,
        }
    }

    /// As the card calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public text left out",
            Self::Written => "our lines and sessions left out",
            Self::Recorded => "recorded families left out",
            Self::Runs => "other runs of what was fitted",
            Self::Composed => "composed (same generator: optimistic)",
        }
    }
}

/// How a judge ranks stories.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ranking {
    /// Benign stories among them.
    pub benign: usize,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Recall at 1 % of false positives.
    pub recall_1: Share,
    /// Recall at 0.1 % of false positives.
    pub recall_01: Share,
}

impl Ranking {
    /// Of scores with their labels; `None` without stories of both labels.
    pub fn of(scores: &[(f32, bool)]) -> Option<Self> {
        Some(Self {
            benign: scores.iter().filter(|(_, malicious)| !malicious).count(),
            auc: auc(scores),
            recall_1: recall_at(scores, 1e-2)?,
            recall_01: recall_at(scores, 1e-3)?,
        })
    }
}

/// Recall where `share` of the benign stories is called an attack. The threshold is taken from the very stories, so it
/// ranks models; it is not what a fleet would see. `None` without stories of both labels.
pub fn recall_at(scores: &[(f32, bool)], share: f64) -> Option<Share> {
    let benign = scores.iter().filter(|(_, malicious)| !malicious);
    let mut benign: Vec<f32> = benign.map(|(score, _)| *score).collect();
    if benign.len() == scores.len() {
        return None;
    }
    benign.sort_by(|a, b| b.total_cmp(a));
    let least = *benign.get((benign.len() as f64 * share) as usize)?;
    let attacks = scores.iter().filter(|(_, malicious)| *malicious);
    Some(Share::of(attacks, |(score, _)| *score > least))
}

/// Mean recall over all thresholds that mistake at most `share` of the benign: at one threshold alone a single story
/// decides (the partial area under the ROC curve; `McClish`, Medical Decision Making 9, 1989). `None` without an attack or
/// without a benign story.
pub fn early_recall(scores: &[(f32, bool)], share: f64) -> Option<f64> {
    let benign = scores.iter().filter(|(_, malicious)| !malicious).count();
    let last = (benign as f64 * share) as usize;
    let steps = (0..=last).map(|mistaken| {
        // The middle between two counts, so that no rounding moves it to the next.
        let found = recall_at(scores, (mistaken as f64 + 0.5) / benign as f64)?;
        Some(found.hits as f64 / found.of as f64)
    });
    let sum: Option<f64> = steps.sum();
    Some(sum? / (last + 1) as f64)
}

/// Area under the ROC curve.
fn auc(scored: &[(f32, bool)]) -> f64 {
    let mut order = scored.to_vec();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = order.iter().filter(|(_, malicious)| *malicious).count();
    let negatives = order.len() - positives;
    let ranked = order.iter().enumerate().filter(|(_, one)| one.1);
    let ranks: f64 = ranked.map(|(rank, _)| rank as f64 + 1.0).sum();
    (ranks - (positives * (positives + 1)) as f64 / 2.0) / (positives * negatives).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_recall_is_the_mean_up_to_the_budget() {
        // Two of a hundred benign stories stand out; of four attacks one is above both, one between them.
        let mut scores: Vec<(f32, bool)> =
            (0..98).map(|index| (index as f32 * 1e-3, false)).collect();
        scores.extend([(9.0, false), (5.0, false)]);
        scores.extend([10.0, 7.0, 1.0, -1.0].map(|score| (score, true)));
        assert_eq!(early_recall(&scores, 0.0), Some(0.25));
        assert_eq!(early_recall(&scores, 0.01), Some(0.375));
        assert_eq!(early_recall(&scores, 0.02), Some(0.5));
        assert_eq!(early_recall(&[(1.0, true)], 0.01), None);
        assert_eq!(early_recall(&[(1.0, false)], 0.01), None);
    }

    #[test]
    fn intervals_are_honest_about_small_counts() {
        let none = Share { hits: 0, of: 1500 };
        assert!(none.interval().1 > 0.002);
        let (low, high) = Share { hits: 9, of: 10 }.interval();
        assert!(low < 0.6 && high > 0.98);
    }
}
