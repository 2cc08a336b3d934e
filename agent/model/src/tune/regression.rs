//! The stories that a tuned model is held against: our own, left out of every fit, and part of the program, so that
//! nobody who writes labels can write them too.

use std::sync::Arc;

use cordon_behavior::story::Story;
use serde::{Deserialize, Serialize};

use super::reading::Reading;
use crate::model::Model;

const STORIES: &[u8] = include_bytes!("../../regression.jsonl.zst");

/// What one of them is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What the model says of it is to stay, while labels pull elsewhere.
    Keep,
    /// Nothing is fitted on it: it measures what was lost.
    Check,
}

/// One of them, a line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    /// What for.
    pub part: Part,
    /// Its label.
    pub malicious: bool,
    /// What a judge reads.
    pub story: Story,
}

/// All of them.
pub fn stories() -> Vec<Held> {
    let text = zstd::decode_all(STORIES).expect("the program's own stories unpack");
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).expect("the program's own stories parse"))
        .collect()
}

/// What a model says of stories with labels, at its own thresholds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Malicious ones.
    pub attacks: usize,
    /// Of them, called suspicious or malicious.
    pub found: usize,
    /// Of them, called malicious.
    pub found_malicious: usize,
    /// Benign ones.
    pub benign: usize,
    /// Of them, called suspicious or malicious.
    pub mistaken: usize,
    /// Of them, called malicious.
    pub mistaken_malicious: usize,
}

impl Figures {
    pub(super) fn of<'a>(
        model: &Model,
        stories: impl IntoIterator<Item = (&'a Arc<Reading>, bool)>,
    ) -> Self {
        let thresholds = model.thresholds();
        let mut figures = Self::default();
        for (reading, malicious) in stories {
            let said = reading.probability(model);
            let called = usize::from(said >= thresholds.suspicious);
            let certain = usize::from(said >= thresholds.malicious);
            let counts = if malicious {
                figures.attacks += 1;
                [&mut figures.found, &mut figures.found_malicious]
            } else {
                figures.benign += 1;
                [&mut figures.mistaken, &mut figures.mistaken_malicious]
            };
            let [any, worst] = counts;
            *any += called;
            *worst += certain;
        }
        figures
    }

    /// Whether fewer attacks are found than `before`, or more benign stories mistaken, at either threshold.
    pub fn is_worse_than(&self, before: &Self) -> bool {
        self.found < before.found
            || self.found_malicious < before.found_malicious
            || self.mistaken > before.mistaken
            || self.mistaken_malicious > before.mistaken_malicious
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            attacks,
            found,
            found_malicious,
            benign,
            mistaken,
            mistaken_malicious,
        } = self;
        write!(
            f,
            "{found} of {attacks} attacks are found ({found_malicious} malicious) and {mistaken} of {benign} benign ones mistaken ({mistaken_malicious} malicious)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_of_each_kind_to_lose_something() {
        let stories = stories();
        for (part, malicious, least) in [
            (Part::Keep, true, 150),
            (Part::Keep, false, 150),
            (Part::Check, true, 300),
            (Part::Check, false, 300),
        ] {
            let found = stories.iter().filter(|one| one.part == part);
            let found = found.filter(|one| one.malicious == malicious).count();
            assert!(found >= least, "{part:?} {malicious}: {found}");
        }
    }

    #[test]
    fn worse_is_fewer_found_or_more_mistaken_at_either_threshold() {
        let before = Figures {
            attacks: 10,
            found: 8,
            found_malicious: 6,
            benign: 10,
            mistaken: 2,
            mistaken_malicious: 1,
        };
        assert!(!before.is_worse_than(&before));
        for spoil in [
            |figures: &mut Figures| figures.found -= 1,
            |figures: &mut Figures| figures.found_malicious -= 1,
            |figures: &mut Figures| figures.mistaken += 1,
            |figures: &mut Figures| figures.mistaken_malicious += 1,
        ] {
            let mut after = before;
            spoil(&mut after);
            assert!(after.is_worse_than(&before));
        }
    }
}
