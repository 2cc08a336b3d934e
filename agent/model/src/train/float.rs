//! The network in floating point, as candle trains it; the same arithmetic as [`crate::network`] before quantization.

use std::collections::BTreeMap;
use std::io::Cursor;

use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{DType, Device, Result, Tensor, Var};

use super::draw::Draw;
use crate::facts::FACTS;
use crate::gate::Gate;
use crate::network::Rows;
use crate::shape::{BLOCK, ROWS_PER_TOKEN, Shape};

/// Trainable weights by the names of the artifact's tensors.
pub struct Float {
    /// Its shape.
    pub shape: Shape,
    vars: BTreeMap<String, Var>,
}

/// Stories of about one length as tensors.
pub struct Batch {
    rows: Tensor,
    weights: Tensor,
    facts: Tensor,
    stories: usize,
    tokens: usize,
}

impl Batch {
    /// `stories`: the tokens and facts of each.
    pub fn new(stories: &[(&[Rows], &[f32; FACTS])], shape: &Shape) -> Result<Self> {
        let longest = stories
            .iter()
            .map(|(rows, _)| rows.len())
            .max()
            .unwrap_or(0);
        let tokens = longest + shape.widest();
        let cells = stories.len() * tokens * ROWS_PER_TOKEN;
        let (mut rows, mut weights) = (vec![0u32; cells], vec![0f32; cells]);
        let mut facts = Vec::with_capacity(stories.len() * FACTS);
        for (index, (story, known)) in stories.iter().enumerate() {
            for (at, one) in story.iter().enumerate() {
                let cell = (index * tokens + at) * ROWS_PER_TOKEN;
                rows[cell..][..ROWS_PER_TOKEN].copy_from_slice(&one.rows);
                weights[cell..][..ROWS_PER_TOKEN].copy_from_slice(&one.weights);
            }
            facts.extend_from_slice(&known[..]);
        }
        let cpu = &Device::Cpu;
        Ok(Self {
            rows: Tensor::from_vec(rows, cells, cpu)?,
            weights: Tensor::from_vec(weights, (stories.len() * tokens, ROWS_PER_TOKEN, 1), cpu)?,
            facts: Tensor::from_vec(facts, (stories.len(), FACTS), cpu)?,
            stories: stories.len(),
            tokens,
        })
    }
}

impl Float {
    /// Random weights.
    pub fn new(shape: &Shape, draw: &mut Draw) -> Result<Self> {
        let mut vars = BTreeMap::new();
        for (name, dims, _) in shape.tensors() {
            if name.starts_with("gate.") {
                continue;
            }
            let deviation = match (name.as_str(), dims.as_slice()) {
                ("embedding.weight", _) => 0.15,
                (_, [_, inputs]) => (1.5 / *inputs as f32).sqrt(),
                _ => 0.0,
            };
            let count = dims.iter().product();
            let values: Vec<f32> = (0..count).map(|_| draw.normal(deviation)).collect();
            let tensor = Tensor::from_vec(values, dims, &Device::Cpu)?;
            vars.insert(name, Var::from_tensor(&tensor)?);
        }
        Ok(Self {
            shape: shape.clone(),
            vars,
        })
    }

    /// Every trainable weight.
    pub fn vars(&self) -> Vec<Var> {
        self.vars.values().cloned().collect()
    }

    fn var(&self, name: &str) -> &Tensor {
        self.vars[name].as_tensor()
    }

    /// Logits, a row a story. `drop` is the share of pooled features that training hides.
    pub fn forward(&self, batch: &Batch, drop: f32) -> Result<Tensor> {
        let dim = self.shape.dim;
        let embedded = self
            .var("embedding.weight")
            .index_select(&batch.rows, 0)?
            .reshape((batch.stories * batch.tokens, ROWS_PER_TOKEN, dim))?
            .broadcast_mul(&batch.weights)?
            .sum(1)?
            .reshape((batch.stories, batch.tokens, dim))?;
        let mut pooled = Vec::with_capacity(self.shape.widths.len() + 1);
        for width in &self.shape.widths {
            pooled.push(self.convolve(&embedded, *width)?);
        }
        pooled.push(batch.facts.clone());
        let mut features = Tensor::cat(&pooled, 1)?;
        if drop > 0.0 {
            features = candle_nn::ops::dropout(&features, drop)?;
        }
        let hidden = self.dense(&features, "hidden")?.relu()?;
        self.dense(&hidden, "heads")
    }

    fn convolve(&self, embedded: &Tensor, width: usize) -> Result<Tensor> {
        let (stories, tokens, dim) = embedded.dims3()?;
        let windows = tokens + 1 - width;
        let shifted: Vec<Tensor> = (0..width)
            .map(|at| embedded.narrow(1, at, windows))
            .collect::<Result<_>>()?;
        let unfolded = Tensor::cat(&shifted, 2)?.reshape((stories * windows, width * dim))?;
        self.dense(&unfolded, &format!("conv{width}"))?
            .relu()?
            .reshape((stories, windows, self.shape.channels))?
            .max(1)
    }

    fn dense(&self, input: &Tensor, name: &str) -> Result<Tensor> {
        input
            .matmul(&self.var(&format!("{name}.weight")).t()?)?
            .broadcast_add(self.var(&format!("{name}.bias")))
    }

    /// The artifact's weights: matrices as Q8_0, the rest as they are.
    pub fn gguf(&self, gate: &Gate) -> Result<Vec<u8>> {
        let cpu = &Device::Cpu;
        let table = Tensor::from_slice(&gate.weights, (gate.weights.len() / BLOCK, BLOCK), cpu)?;
        let facts = Tensor::from_slice(&gate.facts, FACTS, cpu)?;
        let bias = Tensor::from_slice(&[gate.bias], 1, cpu)?;
        let mut stored = Vec::new();
        for (name, _, quantized) in self.shape.tensors() {
            let tensor = match name.as_str() {
                "gate.weight" => table.clone(),
                "gate.facts" => facts.clone(),
                "gate.bias" => bias.clone(),
                _ => self.var(&name).detach(),
            };
            let dtype = if quantized {
                GgmlDType::Q8_0
            } else {
                GgmlDType::F32
            };
            stored.push((
                name,
                QTensor::quantize(&tensor.to_dtype(DType::F32)?, dtype)?,
            ));
        }
        let tensors: Vec<(&str, &QTensor)> = stored
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        let architecture = gguf_file::Value::String("cordon-behavior".to_owned());
        let mut bytes = Cursor::new(Vec::new());
        gguf_file::write(
            &mut bytes,
            &[("general.architecture", &architecture)],
            &tensors,
        )?;
        Ok(bytes.into_inner())
    }
}
