//! Architectures side by side: fitted on the same stories, measured on the same sources and families left out.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::data::{Data, Side};
use super::draw::Draw;
use super::fit::{self, Example};
use super::float::Architecture;
use super::measure::{Kind, Share, auc, recall_at};
use super::run::fit_network;
use super::run::stories::{examples, held_out_stories, techniques};
use super::{Arguments, TrainError};
use crate::shape::Shape;

/// What each architecture found of what was left out, and what it was fitted on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// Seed, passes and stories of a pass, the same for all.
    pub training: String,
    /// The table.
    pub rows: Vec<Row>,
}

/// One architecture on one kind of stories.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The architecture.
    pub architecture: String,
    /// Trainable weights.
    pub weights: usize,
    /// What it was measured on.
    pub stories: String,
    /// Benign stories among them.
    pub benign: usize,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Recall at 1 % of false positives.
    pub recall_1: Share,
    /// Recall at 0.1 % of false positives.
    pub recall_01: Share,
    /// Seconds that fitting took.
    pub seconds: u64,
}

const ALL: [Architecture; 3] = [
    Architecture::Convolution,
    Architecture::Hybrid,
    Architecture::Attention,
];

/// Fits each, and measures.
pub fn compare(arguments: &Arguments, data: &Data) -> Result<Comparison, TrainError> {
    let shape = Shape::standard(techniques(data));
    let held_out = held_out_stories(data, Side::Test, &mut Draw::new(arguments.seed));
    let held_out: Vec<(String, Example)> = held_out
        .iter()
        .map(|one| one.source.clone())
        .zip(examples(&held_out, &shape))
        .collect();
    let mut rows = Vec::new();
    for architecture in ALL {
        let begun = Instant::now();
        let fitted = fit_network(arguments, data, (architecture, &shape))?;
        let network = fitted.network;
        let seconds = begun.elapsed().as_secs();
        fitted.checkpoint.forget();
        let only: Vec<&Example> = held_out.iter().map(|(_, example)| example).collect();
        let logits = fit::logits(&network, &only)?;
        let mut add = |name: &str, logits: &[f32], weights, seconds| {
            rows.extend(table(name, &held_out, logits, weights, seconds));
        };
        add(architecture.name(), &logits, network.size(), seconds);
        if architecture == Architecture::Convolution {
            let begun = Instant::now();
            let gate = fit::gate(
                &fitted.last,
                shape.gate_rows,
                fit::GATE_PASSES,
                &mut Draw::new(arguments.seed),
            );
            let seconds = begun.elapsed().as_secs();
            let said = |one: &&Example| gate.logit_of(&one.gate, &one.facts);
            let logits: Vec<f32> = only.iter().map(said).collect();
            add("gate (linear)", &logits, shape.gate_rows as usize, seconds);
        }
    }
    Ok(Comparison {
        training: format!(
            "seed {}, {} passes of at most {} stories",
            arguments.seed, arguments.epochs, arguments.stories
        ),
        rows,
    })
}

/// A row for each kind that has stories of both labels.
fn table(
    architecture: &str,
    held_out: &[(String, Example)],
    logits: &[f32],
    weights: usize,
    seconds: u64,
) -> Vec<Row> {
    let of_kind = |kind: Kind| -> Vec<(f32, bool)> {
        let all = held_out.iter().zip(logits);
        all.filter(|((source, _), _)| Kind::of(source) == kind)
            .map(|((_, example), logit)| (*logit, example.malicious))
            .collect()
    };
    let rows = Kind::ALL.iter().filter_map(|kind| {
        let scores = of_kind(*kind);
        Some(Row {
            architecture: architecture.to_owned(),
            weights,
            stories: kind.name().to_owned(),
            benign: scores.iter().filter(|(_, malicious)| !malicious).count(),
            auc: auc(&scores),
            recall_1: recall_at(&scores, 1e-2)?,
            recall_01: recall_at(&scores, 1e-3)?,
            seconds,
        })
    });
    rows.collect()
}
