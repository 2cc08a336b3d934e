//! The quantized networks: hashed embedding, convolutions of several widths, max pooling, the mean of the tokens, typed
//! facts, a hidden layer; and one last layer over the hidden layers of all. Networks that were fitted apart err apart, so
//! the mean of what they say counts: a last layer whose rows are the networks' own one after another, divided by their
//! number, is that mean.
//!
//! Weights are Q8_0 blocks in the GGUF file. The embedding and the dense layers stay so, and their products are candle's
//! own Q8_0 dot product. The convolutions are nearly all of the work and a small part of the weights: theirs are taken
//! out of the blocks once, and their products are `ndarray`'s matrix product, which makes good use of one core. `QMatMul`
//! itself is not called: on the CPU it hands each product to candle's process-wide pool, which has a spinning worker for
//! every core and takes its size from the environment only; on an endpoint that would cost all cores to save one
//! a millisecond. Tests hold both equal to it. A convolution is a sum of products, one for each place in its window, and
//! the products of a word that occurs often are made once.

use std::collections::HashMap;

use candle_core::quantized::GgmlType;
use candle_core::quantized::k_quants::BlockQ8_0;
use ndarray::Array2;

use crate::facts::FACTS;
use crate::hash;
use crate::lexicon;
use crate::shape::{BLOCK, ROWS_PER_TOKEN, Shape};
use crate::tokens::{FIELDS, Field, Tokens};

/// Where the rows of a token's classes begin.
const CLASSES_AT: usize = ROWS_PER_TOKEN - lexicon::PER_WORD;

/// The rows of one token and what each weighs. Rows that weigh nothing are not read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rows {
    /// Row numbers.
    pub rows: [u32; ROWS_PER_TOKEN],
    /// Their weights.
    pub weights: [f32; ROWS_PER_TOKEN],
}

impl Rows {
    /// The rows of `piece` in `field`, in a table of `table` rows.
    pub fn of(field: Field, piece: &str, table: u32) -> Self {
        let mut one = Self::default();
        one.put(0, field as u32, 1.0);
        for (index, class) in lexicon::of(piece).enumerate() {
            one.put(CLASSES_AT + index, FIELDS + class, 1.0);
        }
        let before = FIELDS + lexicon::CLASSES;
        let words = table - before;
        let bytes = piece.as_bytes();
        one.put(1, before + hash::row(hash::hash(1, bytes), words), 1.0);
        // Trigrams of the word with its ends marked; of long words, as many as there is room for, spread evenly.
        if bytes.len() >= 3 {
            let room = CLASSES_AT - 2;
            let count = bytes.len().min(room);
            for index in 0..count {
                let at = index * bytes.len() / count;
                let trigram = [
                    if at == 0 { b'^' } else { bytes[at - 1] },
                    bytes[at],
                    bytes.get(at + 1).copied().unwrap_or(b'$'),
                ];
                one.put(
                    2 + index,
                    before + hash::row(hash::hash(2, &trigram), words),
                    1.0 / count as f32,
                );
            }
        }
        one
    }

    /// Without the word itself, as another word of its classes would be that was never seen. One that has no class
    /// stays as it is.
    #[must_use]
    pub fn blurred(mut self) -> Self {
        if self.weights[CLASSES_AT] > 0.0 {
            self.rows[1..CLASSES_AT].fill(0);
            self.weights[1..CLASSES_AT].fill(0.0);
        }
        self
    }

    fn put(&mut self, slot: usize, row: u32, weight: f32) {
        self.rows[slot] = row;
        self.weights[slot] = weight;
    }
}

/// A matrix of Q8_0 rows with a bias.
pub(crate) struct Linear {
    blocks: Vec<BlockQ8_0>,
    bias: Vec<f32>,
    inputs: usize,
}

impl Linear {
    /// `weights` are dequantized values of a Q8_0 tensor, row by row: taking them back gives the same blocks.
    pub(crate) fn new(weights: &[f32], bias: Vec<f32>) -> Self {
        let inputs = weights.len() / bias.len();
        Self {
            blocks: quantize(weights),
            bias,
            inputs,
        }
    }

    pub(crate) fn forward(&self, input: &[f32]) -> Vec<f32> {
        let input = quantize(input);
        let rows = self.blocks.chunks_exact(self.inputs / BLOCK);
        rows.zip(&self.bias)
            .map(|(row, bias)| BlockQ8_0::vec_dot(self.inputs, row, &input) + bias)
            .collect()
    }
}

/// A convolution over windows of tokens.
pub(crate) struct Convolution {
    /// How many tokens a window spans.
    width: usize,
    /// For each value of an embedded token a row: the channels of the first place in a window, then of the next one.
    weights: Array2<f32>,
    bias: Vec<f32>,
}

impl Convolution {
    /// `weights` has a row for each channel: the values of the first token in a window, then of the next one.
    pub(crate) fn new(width: usize, weights: &[f32], bias: Vec<f32>) -> Self {
        let channels = bias.len();
        let dim = weights.len() / (width * channels);
        let weight = |(value, column): (usize, usize)| {
            let (at, channel) = (column / channels, column % channels);
            weights[(channel * width + at) * dim + value]
        };
        Self {
            width,
            weights: Array2::from_shape_fn((dim, width * channels), weight),
            bias,
        }
    }

    /// The highest value of each channel over all windows. `embedded` has a row for each different word.
    fn pool(&self, embedded: &Array2<f32>, words: &Words) -> Vec<f32> {
        let channels = self.bias.len();
        // What each word adds at each place of a window: the channels of one place after another.
        // Row by row, as both factors lie in memory.
        let (products, _) = embedded.dot(&self.weights).into_raw_vec_and_offset();
        let product =
            |at: usize, word: usize| &products[(word * self.width + at) * channels..][..channels];
        let mut most = vec![f32::NEG_INFINITY; channels];
        let mut sum = vec![0f32; channels];
        for window in words.places.windows(self.width) {
            sum.fill(0.0);
            for (at, word) in window.iter().enumerate() {
                for (sum, value) in sum.iter_mut().zip(product(at, *word)) {
                    *sum += value;
                }
            }
            for (most, sum) in most.iter_mut().zip(&sum) {
                *most = most_of(*most, *sum);
            }
        }
        let biased = most.iter().zip(&self.bias);
        biased.map(|(most, bias)| positive(most + bias)).collect()
    }
}

fn quantize(values: &[f32]) -> Vec<BlockQ8_0> {
    let mut blocks = vec![BlockQ8_0::zeros(); values.len() / BLOCK];
    BlockQ8_0::from_float(values, &mut blocks);
    blocks
}

/// The networks and their last layer, ready to run on one core.
pub struct Networks {
    pub(crate) shape: Shape,
    pub(crate) each: Vec<Network>,
    pub(crate) heads: Linear,
}

impl Networks {
    /// Logits: malice first, then the techniques.
    pub fn logits(&self, tokens: &Tokens, facts: &[f32; FACTS]) -> Vec<f32> {
        self.heads.forward(&self.hidden(tokens, facts))
    }

    /// The hidden layers, one after another: what the logits are linear in.
    pub(crate) fn hidden(&self, tokens: &Tokens, facts: &[f32; FACTS]) -> Vec<f32> {
        let words = Words::of(tokens, &self.shape);
        let mut hidden = Vec::with_capacity(self.each.len() * self.shape.hidden);
        for network in &self.each {
            hidden.extend(network.hidden(&words, facts, &self.shape));
        }
        hidden
    }
}

/// The different words of a story, each in its field, and where they stand.
struct Words {
    /// The first one is empty.
    rows: Vec<Rows>,
    /// Which word stands at each place: the tokens, then as many empty ones as the widest convolution spans. In training
    /// streams are padded to one length, so every convolution sees an empty window there; it has to see one here too.
    places: Vec<usize>,
    tokens: usize,
}

impl Words {
    fn of(tokens: &Tokens, shape: &Shape) -> Self {
        let mut rows = vec![Rows::default()];
        let mut known: HashMap<(u8, &str), usize> = HashMap::new();
        let mut places = Vec::with_capacity(tokens.len() + shape.widest());
        for (field, piece) in tokens.iter() {
            let place = *known.entry((field as u8, piece)).or_insert_with(|| {
                rows.push(Rows::of(field, piece, shape.rows));
                rows.len() - 1
            });
            places.push(place);
        }
        places.resize(tokens.len() + shape.widest(), 0);
        Self {
            rows,
            places,
            tokens: tokens.len(),
        }
    }
}

/// One of them, up to its hidden layer.
pub(crate) struct Network {
    embedding: Vec<BlockQ8_0>,
    convolutions: Vec<Convolution>,
    hidden: Linear,
}

impl Network {
    pub(crate) fn new(embedding: &[f32], convolutions: Vec<Convolution>, hidden: Linear) -> Self {
        Self {
            embedding: quantize(embedding),
            convolutions,
            hidden,
        }
    }

    fn hidden(&self, words: &Words, facts: &[f32; FACTS], shape: &Shape) -> Vec<f32> {
        let embedded = self.embed(words, shape.dim);
        let mut features = Vec::with_capacity(shape.pooled());
        for convolution in &self.convolutions {
            features.extend(convolution.pool(&embedded, words));
        }
        features.extend(mean(&embedded, words));
        features.extend_from_slice(facts);
        let mut hidden = self.hidden.forward(&features);
        for value in &mut hidden {
            *value = positive(*value);
        }
        hidden
    }

    /// A row for each different word.
    fn embed(&self, words: &Words, dim: usize) -> Array2<f32> {
        let mut all = Array2::zeros((words.rows.len(), dim));
        let mut row = vec![0f32; dim];
        for (one, mut out) in words.rows.iter().zip(all.rows_mut()) {
            for (index, weight) in one.rows.iter().zip(one.weights) {
                if weight > 0.0 {
                    let blocks = dim / BLOCK;
                    BlockQ8_0::to_float(
                        &self.embedding[*index as usize * blocks..][..blocks],
                        &mut row,
                    );
                    for (sum, value) in out.iter_mut().zip(&row) {
                        *sum += weight * value;
                    }
                }
            }
        }
        all
    }
}

/// What kind of work it is all in all, beside the most telling places of it.
fn mean(embedded: &Array2<f32>, words: &Words) -> Vec<f32> {
    let mut mean = vec![0f32; embedded.ncols()];
    for place in &words.places[..words.tokens] {
        for (sum, value) in mean.iter_mut().zip(embedded.row(*place)) {
            *sum += value / words.tokens as f32;
        }
    }
    mean
}

/// The larger one. Unlike `f32::max` it keeps what is not a number: a story whose sums overflow must
/// end as no judgement, not as a low score.
fn most_of(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// ReLU that keeps what is not a number, for the same reason.
fn positive(value: f32) -> f32 {
    if value < 0.0 { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
    use candle_core::{Device, Module as _, Tensor};

    /// Values that candle quantized, and its product of them with rows of `input`.
    fn qmatmul(outputs: usize, inputs: usize, input: &[f32]) -> (Vec<f32>, Vec<Vec<f32>>) {
        let weights: Vec<f32> = (0..outputs * inputs)
            .map(|index| wave(index, 0.37))
            .collect();
        let tensor = Tensor::from_vec(weights, (outputs, inputs), &Device::Cpu).unwrap();
        let quantized = QTensor::quantize(&tensor, GgmlDType::Q8_0).unwrap();
        let stored = quantized.dequantize(&Device::Cpu).unwrap();
        let stored = stored.flatten_all().unwrap().to_vec1().unwrap();
        let product = QMatMul::from_qtensor(quantized).unwrap();
        let rows = input.len() / inputs;
        let input = Tensor::from_slice(input, (rows, inputs), &Device::Cpu).unwrap();
        (stored, product.forward(&input).unwrap().to_vec2().unwrap())
    }

    fn wave(index: usize, step: f32) -> f32 {
        (index as f32 * step).sin()
    }

    /// What the module's comment promises: this is `QMatMul`, without its pool.
    #[test]
    fn products_equal_qmatmul() {
        let (outputs, inputs, rows) = (24, 320, 7);
        let input: Vec<f32> = (0..rows * inputs)
            .map(|index| 2.0 * wave(index, 0.11))
            .collect();
        let (stored, wanted) = qmatmul(outputs, inputs, &input);
        let ours = Linear::new(&stored, vec![0.0; outputs]);
        for (row, wanted) in input.chunks(inputs).zip(wanted) {
            for (found, wanted) in ours.forward(row).into_iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-3, "{found} is not {wanted}");
            }
        }
    }

    /// A convolution is a product of each window, and of that the most. `QMatMul` rounds what it is given to a 127th of
    /// the largest, and this does not.
    #[test]
    fn convolutions_equal_qmatmul() {
        let (width, channels, dim) = (3, 32, 64);
        let places = [1, 2, 1, 3, 3, 2, 0, 0, 0];
        let embedded = Array2::from_shape_fn((4, dim), |(word, value)| {
            wave(word * dim + value, 0.11) * f32::from(u8::from(word > 0))
        });
        let windows: Vec<f32> = places
            .windows(width)
            .flatten()
            .flat_map(|word| embedded.row(*word).to_vec())
            .collect();
        let (stored, products) = qmatmul(channels, width * dim, &windows);
        let bias: Vec<f32> = (0..channels).map(|channel| wave(channel, 0.7)).collect();
        let words = Words {
            rows: vec![Rows::default(); 4],
            places: places.to_vec(),
            tokens: 6,
        };
        let found = Convolution::new(width, &stored, bias.clone()).pool(&embedded, &words);
        for (channel, found) in found.into_iter().enumerate() {
            let most = products.iter().map(|window| window[channel]);
            let wanted = (most.fold(f32::NEG_INFINITY, f32::max) + bias[channel]).max(0.0);
            assert!((found - wanted).abs() < 0.05, "{found} is not {wanted}");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so_to_the_end() {
        assert!(most_of(f32::NAN, 1.0).is_nan() && most_of(1.0, f32::NAN).is_nan());
        assert!(positive(f32::NAN).is_nan());
        assert_eq!((most_of(1.0, 2.0), most_of(3.0, 2.0)), (2.0, 3.0));
        assert_eq!((positive(-1.0), positive(2.0)), (0.0, 2.0));
    }

    #[test]
    fn words_of_one_class_are_one_when_blurred_and_others_stay() {
        let rows = |word| Rows::of(Field::Line, word, 16_384);
        assert_ne!(rows("curl"), rows("wget"));
        assert_eq!(rows("curl").blurred(), rows("wget").blurred());
        assert_ne!(rows("curl").blurred(), rows("tar").blurred());
        assert_eq!(rows("qwxz").blurred(), rows("qwxz"));
    }

    #[test]
    fn rows_stay_in_the_table_and_weigh_the_same_for_every_word() {
        for piece in ["a", "ab", "abc", "abcdefghijklmnopqrstuvwxyz", "\u{202e}x"] {
            let one = Rows::of(Field::Line, piece, 256);
            assert!(one.rows.iter().all(|row| *row < 256), "{piece}");
            let trigrams: f32 = one.weights[2..CLASSES_AT].iter().sum();
            assert!(piece.len() < 3 || (trigrams - 1.0).abs() < 1e-5, "{piece}");
        }
    }
}
