//! Ways to get from embedded tokens to features. The agent runs the first; the others are there to be compared with.

use candle_core::{D, DType, Result, Tensor};

use super::ops::{WindowMax, products};
use super::{Batch, Float};
use crate::facts::FACTS;
use crate::shape::Shape;

/// How a network reads its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Convolutions of several widths, each pooled by its maximum.
    Convolution,
    /// One convolution; every fourth place of it attends to the others; both pooled.
    Hybrid,
    /// Two layers of self-attention over the tokens, pooled by mean and maximum.
    Attention,
}

/// Width of what the first layer of a block of attention is spread to.
const SPREAD: usize = 128;
/// Places of a stream that become one before they attend to each other.
const STRIDE: usize = 4;
/// Heads of attention.
const HEADS: usize = 2;
/// The convolution of the hybrid spans this many tokens.
const SPAN: usize = 3;

impl Architecture {
    /// As the card calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Convolution => "convolution",
            Self::Hybrid => "hybrid",
            Self::Attention => "attention",
        }
    }

    /// The highest rate of its fit. At that of convolutions the loss of those with attention rose from pass to pass.
    pub fn peak_rate(self) -> f64 {
        match self {
            Self::Convolution => 5e-3,
            Self::Hybrid | Self::Attention => 1e-3,
        }
    }

    /// Names and dimensions of every weight.
    pub(super) fn tensors(self, shape: &Shape) -> Vec<(String, Vec<usize>)> {
        let mut all: Vec<(String, Vec<usize>)> = shape
            .network_tensors()
            .into_iter()
            .map(|(name, dims, _)| (name, dims))
            .collect();
        if self == Self::Convolution {
            return all;
        }
        all.retain(|(name, _)| !name.starts_with("conv"));
        for (name, dims) in &mut all {
            if name == "hidden.weight" {
                dims[1] = self.features(shape);
            }
        }
        let dim = shape.dim;
        if self == Self::Hybrid {
            all.push(("conv3.weight".to_owned(), vec![dim, SPAN * dim]));
            all.push(("conv3.bias".to_owned(), vec![dim]));
            all.extend(block("layer1", dim));
        } else {
            all.extend(block("layer1", dim));
            all.extend(block("layer2", dim));
        }
        all
    }

    /// What enters the hidden layer.
    pub(super) fn features(self, shape: &Shape) -> usize {
        match self {
            Self::Convolution => shape.pooled(),
            Self::Hybrid | Self::Attention => 2 * shape.dim + FACTS,
        }
    }
}

/// The weights of one layer of attention.
fn block(name: &str, dim: usize) -> Vec<(String, Vec<usize>)> {
    let weight = |part: &str, dims: Vec<usize>| (format!("{name}.{part}"), dims);
    vec![
        weight("attend.weight", vec![3 * dim, dim]),
        weight("attend.bias", vec![3 * dim]),
        weight("join.weight", vec![dim, dim]),
        weight("join.bias", vec![dim]),
        weight("spread.weight", vec![SPREAD, dim]),
        weight("spread.bias", vec![SPREAD]),
        weight("gather.weight", vec![dim, SPREAD]),
        weight("gather.bias", vec![dim]),
    ]
}

impl Float {
    /// Features of a batch, without the facts.
    pub(super) fn features(&self, words: &Tensor, batch: &Batch) -> Result<Vec<Tensor>> {
        match self.architecture {
            Architecture::Convolution => {
                let widths = self.shape.widths.iter();
                let mut features: Vec<Tensor> = widths
                    .map(|width| {
                        let places = batch.places.clone();
                        let windows = WindowMax::new(places, batch.tokens, *width);
                        let most = words.apply_op2(self.convolution(*width), windows)?;
                        self.biased(&most, *width)?.relu()
                    })
                    .collect::<Result<_>>()?;
                features.push(batch.shares(words.dim(0)?)?.matmul(words)?);
                Ok(features)
            }
            Architecture::Hybrid => self.hybrid(words, batch),
            Architecture::Attention => self.attention(words, batch),
        }
    }

    /// A convolution, its bias not added: a sum of products, one for each place in its window.
    fn convolve(&self, words: &Tensor, batch: &Batch, width: usize) -> Result<Tensor> {
        let windows = batch.tokens + 1 - width;
        let weight = self.convolution(width);
        let (products, channels) = (products(words, weight, width)?, weight.dim(0)?);
        let places = batch.places()?;
        let shifted = |at: usize| -> Result<Tensor> {
            let places = places.narrow(1, at, windows)?.flatten_all()?;
            let product = products.narrow(1, at * channels, channels)?;
            product.contiguous()?.index_select(&places, 0)
        };
        let mut sum = shifted(0)?;
        for at in 1..width {
            sum = (sum + shifted(at)?)?;
        }
        sum.reshape((batch.stories, windows, channels))
    }

    fn convolution(&self, width: usize) -> &Tensor {
        self.var(&format!("conv{width}.weight"))
    }

    fn biased(&self, convolved: &Tensor, width: usize) -> Result<Tensor> {
        convolved.broadcast_add(self.var(&format!("conv{width}.bias")))
    }

    fn hybrid(&self, words: &Tensor, batch: &Batch) -> Result<Vec<Tensor>> {
        let local = self.convolve(words, batch, SPAN)?;
        let local = self.biased(&local, SPAN)?.relu()?;
        let (stories, windows, dim) = local.dims3()?;
        let groups = windows / STRIDE;
        let grouped = local
            .narrow(1, 0, groups * STRIDE)?
            .reshape((stories, groups, STRIDE, dim))?
            .max(2)?;
        let there = batch
            .places()?
            .narrow(1, 0, groups * STRIDE)?
            .reshape((stories, groups, STRIDE))?
            .max(2)?;
        let hidden = absent(&there)?;
        let attended = self
            .layer("layer1", &grouped, &hidden)?
            .broadcast_add(&hidden.transpose(1, 2)?)?;
        Ok(vec![local.max(1)?, attended.max(1)?])
    }

    fn attention(&self, words: &Tensor, batch: &Batch) -> Result<Vec<Tensor>> {
        let dim = self.shape.dim;
        let places = batch.places()?;
        let tokens = words.index_select(&places.flatten_all()?, 0)?.reshape((
            batch.stories,
            batch.tokens,
            dim,
        ))?;
        let mut stream = tokens.broadcast_add(&positions(batch.tokens, dim, words.device())?)?;
        let hidden = absent(&places)?;
        for name in ["layer1", "layer2"] {
            stream = self.layer(name, &stream, &hidden)?;
        }
        let there = places.ne(0u32)?.to_dtype(DType::F32)?;
        let count = (there.sum_keepdim(1)? + 1e-3)?;
        let mean = stream
            .broadcast_mul(&there.unsqueeze(2)?)?
            .sum(1)?
            .broadcast_div(&count)?;
        let most = stream.broadcast_add(&hidden.transpose(1, 2)?)?.max(1)?;
        Ok(vec![mean, most])
    }

    /// Attention, then a layer for each place by itself; each adds to what came in.
    fn layer(&self, name: &str, input: &Tensor, hidden: &Tensor) -> Result<Tensor> {
        let (stories, places, dim) = input.dims3()?;
        let each = dim / HEADS;
        let flat = |tensor: &Tensor, width: usize| tensor.reshape((stories * places, width));
        let parts = self
            .dense(&flat(&even(input)?, dim)?, &format!("{name}.attend"))?
            .reshape((stories, places, 3, HEADS, each))?;
        let part = |index: usize| -> Result<Tensor> {
            parts
                .narrow(2, index, 1)?
                .squeeze(2)?
                .transpose(1, 2)?
                .contiguous()
        };
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let likeness = (query.matmul(&key.transpose(2, 3)?.contiguous()?)? / (each as f64).sqrt())?
            .broadcast_add(&hidden.unsqueeze(1)?)?;
        let joined = candle_nn::ops::softmax(&likeness, D::Minus1)?
            .matmul(&value)?
            .transpose(1, 2)?
            .contiguous()?;
        let joined = self.dense(&flat(&joined, dim)?, &format!("{name}.join"))?;
        let stream = (input + joined.reshape((stories, places, dim))?)?;
        let spread = self.dense(&flat(&even(&stream)?, dim)?, &format!("{name}.spread"))?;
        let gathered = self.dense(&spread.relu()?, &format!("{name}.gather"))?;
        stream + gathered.reshape((stories, places, dim))?
    }
}

/// What pads a stream is not there: minus a lot before a softmax or a maximum. A row a story.
fn absent(places: &Tensor) -> Result<Tensor> {
    let is_padding = places.eq(0u32)?.to_dtype(DType::F32)?;
    (is_padding * -1e4)?.unsqueeze(1)
}

/// Every place brought to one length, so that no layer drowns another.
fn even(stream: &Tensor) -> Result<Tensor> {
    let size = (stream.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
    stream.broadcast_div(&size)
}

/// Sines and cosines of each place, as in Vaswani et al., 2017; small beside the words.
fn positions(places: usize, dim: usize, device: &candle_core::Device) -> Result<Tensor> {
    let values: Vec<f32> = (0..places)
        .flat_map(|place| {
            (0..dim).map(move |index| {
                let rate = 10_000f32.powf(-((index / 2 * 2) as f32) / dim as f32);
                let angle = place as f32 * rate;
                0.1 * if index % 2 == 0 {
                    angle.sin()
                } else {
                    angle.cos()
                }
            })
        })
        .collect();
    Tensor::from_vec(values, (1, places, dim), device)
}
