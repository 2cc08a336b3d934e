//! The quantized network: hashed embedding, convolutions of several widths, max pooling, the mean of the tokens, typed
//! facts, two layers.
//!
//! Weights are Q8_0 blocks from the GGUF file and every product is candle's own Q8_0 dot product. `QMatMul` itself
//! is not called: on the CPU it hands each product to candle's process-wide pool, which has a spinning worker for
//! every core and takes its size from the environment only; on an endpoint that would cost all cores to save one
//! a millisecond. A test holds the two equal. An embedding row is a whole number of blocks, so a window of tokens
//! is a run of blocks: the unfolded matrix of the convolution is never made.

use candle_core::quantized::GgmlType;
use candle_core::quantized::k_quants::BlockQ8_0;

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

    fn outputs(&self) -> usize {
        self.bias.len()
    }

    fn dot(&self, output: usize, input: &[BlockQ8_0]) -> f32 {
        let row = self.inputs / BLOCK;
        BlockQ8_0::vec_dot(self.inputs, &self.blocks[output * row..][..row], input)
    }

    pub(crate) fn forward(&self, input: &[f32]) -> Vec<f32> {
        let input = quantize(input);
        (0..self.outputs())
            .map(|output| self.dot(output, &input) + self.bias[output])
            .collect()
    }
}

fn quantize(values: &[f32]) -> Vec<BlockQ8_0> {
    let mut blocks = vec![BlockQ8_0::zeros(); values.len() / BLOCK];
    BlockQ8_0::from_float(values, &mut blocks);
    blocks
}

/// The network, ready to run on one core.
pub struct Network {
    pub(crate) shape: Shape,
    pub(crate) embedding: Vec<BlockQ8_0>,
    pub(crate) convolutions: Vec<(usize, Linear)>,
    pub(crate) hidden: Linear,
    pub(crate) heads: Linear,
}

impl Network {
    pub(crate) fn new(
        shape: Shape,
        embedding: &[f32],
        convolutions: Vec<(usize, Linear)>,
        hidden: Linear,
        heads: Linear,
    ) -> Self {
        Self {
            shape,
            embedding: quantize(embedding),
            convolutions,
            hidden,
            heads,
        }
    }

    /// Logits: malice first, then the techniques.
    pub fn logits(&self, tokens: &Tokens, facts: &[f32; FACTS]) -> Vec<f32> {
        self.heads.forward(&self.hidden(tokens, facts))
    }

    /// The last hidden layer: what the logits are linear in.
    pub(crate) fn hidden(&self, tokens: &Tokens, facts: &[f32; FACTS]) -> Vec<f32> {
        let embedded = self.embed(tokens);
        let stream = quantize(&embedded);
        let mut features = Vec::with_capacity(self.shape.pooled());
        for (width, convolution) in &self.convolutions {
            self.pool(*width, convolution, &stream, &mut features);
        }
        features.extend(self.mean(&embedded, tokens.len()));
        features.extend_from_slice(facts);
        let mut hidden = self.hidden.forward(&features);
        for value in &mut hidden {
            *value = positive(*value);
        }
        hidden
    }

    /// Embedded tokens, then as many empty ones as the widest convolution spans: in training streams are padded to
    /// one length, so every convolution sees an empty window there; it has to see one here too.
    fn embed(&self, tokens: &Tokens) -> Vec<f32> {
        let dim = self.shape.dim;
        let mut stream = vec![0f32; (tokens.len() + self.shape.widest()) * dim];
        let mut row = vec![0f32; dim];
        for ((field, piece), out) in tokens.iter().zip(stream.chunks_exact_mut(dim)) {
            let one = Rows::of(field, piece, self.shape.rows);
            for (index, weight) in one.rows.into_iter().zip(one.weights) {
                if weight > 0.0 {
                    let blocks = dim / BLOCK;
                    BlockQ8_0::to_float(
                        &self.embedding[index as usize * blocks..][..blocks],
                        &mut row,
                    );
                    for (sum, value) in out.iter_mut().zip(&row) {
                        *sum += weight * value;
                    }
                }
            }
        }
        stream
    }

    /// What kind of work it is all in all, beside the most telling places of it.
    fn mean(&self, embedded: &[f32], tokens: usize) -> Vec<f32> {
        let mut mean = vec![0f32; self.shape.dim];
        for row in embedded.chunks_exact(self.shape.dim) {
            for (sum, value) in mean.iter_mut().zip(row) {
                *sum += value / tokens.max(1) as f32;
            }
        }
        mean
    }

    fn pool(
        &self,
        width: usize,
        convolution: &Linear,
        stream: &[BlockQ8_0],
        features: &mut Vec<f32>,
    ) {
        let token = self.shape.dim / BLOCK;
        let windows = stream.len() / token + 1 - width;
        for channel in 0..convolution.outputs() {
            let most = (0..windows)
                .map(|at| convolution.dot(channel, &stream[at * token..][..width * token]))
                .fold(f32::NEG_INFINITY, most_of);
            features.push(positive(most + convolution.bias[channel]));
        }
    }
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

    /// What the module's comment promises: this is `QMatMul`, without its pool.
    #[test]
    fn products_equal_qmatmul() {
        let (outputs, inputs, rows) = (24, 320, 7);
        let wave = |index: usize, step: f32| (index as f32 * step).sin();
        let weights: Vec<f32> = (0..outputs * inputs)
            .map(|index| wave(index, 0.37))
            .collect();
        let input: Vec<f32> = (0..rows * inputs)
            .map(|index| 2.0 * wave(index, 0.11))
            .collect();
        let tensor = Tensor::from_vec(weights, (outputs, inputs), &Device::Cpu).unwrap();
        let quantized = QTensor::quantize(&tensor, GgmlDType::Q8_0).unwrap();
        let stored: Vec<f32> = quantized
            .dequantize(&Device::Cpu)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        let ours = Linear::new(&stored, vec![0.0; outputs]);
        let theirs = QMatMul::from_qtensor(quantized).unwrap();
        let x = Tensor::from_slice(&input, (rows, inputs), &Device::Cpu).unwrap();
        let wanted: Vec<Vec<f32>> = theirs.forward(&x).unwrap().to_vec2().unwrap();
        for (row, wanted) in input.chunks(inputs).zip(wanted) {
            for (found, wanted) in ours.forward(row).into_iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-3, "{found} is not {wanted}");
            }
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
