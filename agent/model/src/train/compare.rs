//! Architectures side by side: fitted on the same stories, measured on the same sources and families left out.

use std::collections::BTreeMap;
use std::slice;

use candle_core::quantized::GgmlDType;
use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::data::{Data, Side};
use super::fit::{self, Example};
use super::float::Architecture;
use super::measure::{Kind, Ranking};
use super::run::stories::{examples, techniques};
use super::run::{fit_gate, fit_network, left_out_stories};
use super::{Arguments, TrainError};
use crate::artifact::sha256;
use crate::facts::FACTS;
use crate::shape::Shape;

/// What each architecture found of what was left out, and what it was fitted on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// Seed, passes and stories of a pass, the same for all.
    pub training: String,
    /// [`data_id`] of what they were fitted on.
    #[serde(default)]
    pub data: String,
    /// The table.
    pub rows: Vec<Row>,
}

/// Names the data of a fit and the shape that it is read in: two that differ in either have other names.
pub fn data_id(hashes: &BTreeMap<String, String>, shape: &Shape) -> String {
    sha256(&serde_json::to_vec(&(hashes, shape)).unwrap_or_default())
}

/// One architecture on one kind of stories.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The architecture.
    pub architecture: String,
    /// What its weights take, gate aside, in bytes.
    pub bytes: usize,
    /// What it was measured on.
    pub stories: String,
    /// How it ranks them.
    pub ranking: Ranking,
}

const ALL: [Architecture; 3] = [
    Architecture::Convolution,
    Architecture::Hybrid,
    Architecture::Attention,
];

/// Fits one network of each, and measures. Each keeps its place until all are done, apart from that of a fit for an artifact.
pub fn compare(arguments: &Arguments, data: &Data) -> Result<Comparison, TrainError> {
    let arguments = &Arguments {
        checkpoints: arguments.checkpoints.join("compare"),
        ..arguments.clone()
    };
    let shape = Shape::standard(techniques(data));
    let held_out = left_out_stories(arguments, data, Side::Test);
    let held_out: Vec<(String, Example)> = held_out
        .iter()
        .map(|one| one.source.clone())
        .zip(examples(&held_out, &shape))
        .collect();
    let only: Vec<&Example> = held_out.iter().map(|(_, example)| example).collect();
    let (mut rows, mut done) = (Vec::new(), Vec::new());
    for architecture in ALL {
        let fitted = fit_network(arguments, data, (architecture, &shape), 0)?;
        let network = slice::from_ref(&fitted.network);
        let logits = fit::logits(network, &only)?;
        let mut add = |name: &str, logits: &[f32], bytes| {
            rows.extend(table(name, &held_out, logits, bytes));
        };
        let name = architecture.name();
        add(name, &logits, fitted.network.size() * size_of::<f32>());
        if architecture == Architecture::Convolution {
            let (gate, _) = fit_gate(arguments, data, &shape);
            let said = |one: &&Example| gate.logit_of(&one.gate, &one.facts);
            let logits: Vec<f32> = only.iter().map(said).collect();
            let weights = shape.gate_rows as usize + FACTS;
            add("gate (linear)", &logits, weights * size_of::<f32>());
            for dtype in [GgmlDType::Q8_0, GgmlDType::Q4K] {
                let (rounded, bytes) = fitted.network.rounded(dtype)?;
                let logits = fit::logits(&[rounded], &only)?;
                add(&format!("{name} as {dtype:?}"), &logits, bytes);
            }
        }
        done.push(fitted.checkpoint);
    }
    done.iter().for_each(Checkpoint::forget);
    Ok(Comparison {
        training: format!(
            "seed {}, {} passes of at most {} stories",
            arguments.seed, arguments.epochs, arguments.stories
        ),
        data: data_id(&data.hashes, &shape),
        rows,
    })
}

/// A row for each kind that has stories of both labels.
fn table(
    architecture: &str,
    held_out: &[(String, Example)],
    logits: &[f32],
    bytes: usize,
) -> Vec<Row> {
    let of_kind = |kind: Kind| -> Vec<(f32, bool)> {
        let all = held_out.iter().zip(logits);
        all.filter(|((source, _), _)| Kind::of(source) == kind)
            .map(|((_, example), logit)| (*logit, example.malicious))
            .collect()
    };
    let rows = Kind::ALL.iter().filter_map(|kind| {
        Some(Row {
            architecture: architecture.to_owned(),
            bytes,
            stories: kind.name().to_owned(),
            ranking: Ranking::of(&of_kind(*kind))?,
        })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_data_and_another_shape_are_told_apart() {
        let shape = Shape::standard(Vec::new());
        let hashes = |hash: &str| BTreeMap::from([("a.txt".to_owned(), hash.to_owned())]);
        let known = data_id(&hashes("1"), &shape);
        assert_eq!(known, data_id(&hashes("1"), &shape.clone()));
        assert_ne!(known, data_id(&hashes("2"), &shape));
        let other = Shape {
            lexicon: "another".to_owned(),
            ..shape
        };
        assert_ne!(known, data_id(&hashes("1"), &other));
    }
}
