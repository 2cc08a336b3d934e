//! Operations of our own, with a way back that touches what it must and no more.
//!
//! In candle's own operations each place of a window is a matrix with a row for every token, and on the way back each
//! of these has a matrix of slopes, and is multiplied by it, though a maximum hands its slope to one window of a story;
//! and each word is a matrix of its rows. Most of a fit was spent on that.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Layout, Result, Shape, Tensor};

use crate::network::Rows;

/// Each word as the weighed sum of its rows. The argument is the table of rows; what comes out has a row for each word.
pub(super) struct Embed {
    /// The words.
    pub words: Arc<[Rows]>,
}

impl Embed {
    /// Every word with the rows it has.
    fn rows(&self) -> impl Iterator<Item = (usize, usize, f32)> {
        self.words.iter().enumerate().flat_map(|(word, one)| {
            let rows = one.rows.iter().zip(one.weights);
            let read = rows.filter(|(_, weight)| *weight != 0.0);
            read.map(move |(row, weight)| (word, *row as usize, weight))
        })
    }
}

impl CustomOp1 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let table = in_one_piece(storage, layout)?;
        let dim = layout.dims()[1];
        let mut words = vec![0f32; self.words.len() * dim];
        for (word, row, weight) in self.rows() {
            add(&mut words[word * dim..][..dim], &table[row * dim..], weight);
        }
        Ok((CpuStorage::F32(words), (self.words.len(), dim).into()))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, slopes: &Tensor) -> Result<Option<Tensor>> {
        let (rows, dim) = table.dims2()?;
        let slopes: Vec<f32> = slopes.flatten_all()?.to_vec1()?;
        let mut back = vec![0f32; rows * dim];
        for (word, row, weight) in self.rows() {
            add(&mut back[row * dim..][..dim], &slopes[word * dim..], weight);
        }
        Tensor::from_vec(back, (rows, dim), &Device::Cpu).map(Some)
    }
}

fn add(to: &mut [f32], values: &[f32], weight: f32) {
    for (to, value) in to.iter_mut().zip(values) {
        *to += weight * value;
    }
}

fn in_one_piece<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("the argument is not in one piece"),
    }
}

/// The products of every word with the weights of each place of a window: a row a word, in it the channels of each place.
/// `weight` has a row for each channel, in it the weights of each place.
///
/// They are made of each different word once, not of each token: a batch has a quarter as many.
pub(super) fn products(words: &Tensor, weight: &Tensor, width: usize) -> Result<Tensor> {
    let (channels, inputs) = weight.dims2()?;
    let dim = inputs / width;
    let places = weight.reshape((channels, width, dim))?.transpose(0, 1)?;
    words.matmul(&places.reshape((width * channels, dim))?.t()?)
}

/// A convolution and its maximum: for each story and channel the largest sum of products over the windows of its stream.
///
/// Its arguments are the words of a batch, a row each, and the weights, a row for each channel. What comes out has a row
/// for each story. Where windows are equally large the first one has the whole slope; candle's own maximum gives it to
/// each of them.
pub(super) struct WindowMax {
    places: Arc<[u32]>,
    tokens: usize,
    width: usize,
    /// The window that each number came from.
    from: OnceLock<Vec<u32>>,
}

impl WindowMax {
    /// `places`: which word stands at each of the `tokens` places of each story. Word 0 is none; at least `width`
    /// places of it end every story.
    pub(super) fn new(places: Arc<[u32]>, tokens: usize, width: usize) -> Self {
        Self {
            places,
            tokens,
            width,
            from: OnceLock::new(),
        }
    }

    /// Places of one story up to the end of its first window that is empty: the others are as that one.
    fn stream<'a>(&self, places: &'a [u32]) -> &'a [u32] {
        let filled = places.iter().rposition(|place| *place != 0);
        let length = filled.map_or(0, |last| last + 1) + self.width;
        &places[..length.min(places.len())]
    }
}

impl CustomOp2 for WindowMax {
    fn name(&self) -> &'static str {
        "window-max"
    }

    fn cpu_fwd(
        &self,
        words: &CpuStorage,
        of_words: &Layout,
        weight: &CpuStorage,
        of_weight: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let tensor = |storage, layout: &Layout| {
            let values = in_one_piece(storage, layout)?;
            Tensor::from_slice(values, layout.dims(), &Device::Cpu)
        };
        let (words, weight) = (tensor(words, of_words)?, tensor(weight, of_weight)?);
        let products = products(&words, &weight, self.width)?.flatten_all()?;
        let products: Vec<f32> = products.to_vec1()?;
        let channels = weight.dim(0)?;
        let row = self.width * channels;
        let stories = self.places.len() / self.tokens;
        let mut most = vec![f32::NEG_INFINITY; stories * channels];
        let mut from = vec![0u32; stories * channels];
        let mut sum = vec![0f32; channels];
        let streams = self.places.chunks_exact(self.tokens);
        let found = most
            .chunks_exact_mut(channels)
            .zip(from.chunks_exact_mut(channels));
        for (places, (most, from)) in streams.zip(found) {
            for (window, words) in self.stream(places).windows(self.width).enumerate() {
                sum.fill(0.0);
                for (at, word) in words.iter().enumerate() {
                    let product = &products[*word as usize * row + at * channels..];
                    add(&mut sum, product, 1.0);
                }
                for ((most, from), sum) in most.iter_mut().zip(&mut *from).zip(&sum) {
                    let is_more = *sum > *most;
                    *most = if is_more { *sum } else { *most };
                    *from = if is_more { window as u32 } else { *from };
                }
            }
        }
        // A second way there finds the same.
        let _known = self.from.set(from);
        Ok((CpuStorage::F32(most), (stories, channels).into()))
    }

    fn bwd(
        &self,
        words: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        slopes: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(from) = self.from.get() else {
            candle_core::bail!("there is no way back before the way there")
        };
        let flat = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let (all_words, all_weights, slopes) = (flat(words)?, flat(weight)?, flat(slopes)?);
        let (channels, inputs) = weight.dims2()?;
        let dim = inputs / self.width;
        let mut back_words = vec![0f32; all_words.len()];
        let mut back_weights = vec![0f32; all_weights.len()];
        let told = from.iter().zip(slopes).enumerate();
        for (index, (window, slope)) in told.filter(|(_, (_, slope))| *slope != 0.0) {
            let (story, channel) = (index / channels, index % channels);
            let words = &self.places[story * self.tokens + *window as usize..][..self.width];
            for (at, word) in words.iter().enumerate() {
                let (word, weight) = (*word as usize * dim, channel * inputs + at * dim);
                add(
                    &mut back_words[word..][..dim],
                    &all_weights[weight..],
                    slope,
                );
                add(
                    &mut back_weights[weight..][..dim],
                    &all_words[word..],
                    slope,
                );
            }
        }
        let back_words = Tensor::from_vec(back_words, words.dims(), &Device::Cpu)?;
        let back_weights = Tensor::from_vec(back_weights, weight.dims(), &Device::Cpu)?;
        Ok((Some(back_words), Some(back_weights)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;
    use crate::shape::ROWS_PER_TOKEN;
    use crate::train::draw::Draw;

    const TOKENS: usize = 9;
    const WIDTH: usize = 3;
    const DIM: usize = 4;
    const CHANNELS: usize = 5;
    const WORDS: usize = 6;

    fn drawn(rows: usize, columns: usize, draw: &mut Draw) -> Tensor {
        let values: Vec<f32> = (0..rows * columns).map(|_| draw.normal(1.0)).collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn assert_same(own: &[f32], candles: &[f32]) {
        assert_eq!(own.len(), candles.len());
        assert!(own.iter().any(|value| *value != 0.0));
        for (own, candles) in own.iter().zip(candles) {
            assert!((own - candles).abs() < 1e-5, "{own} is not {candles}");
        }
    }

    /// What [`WindowMax`] stands for, in candle's own operations.
    fn plainly(words: &Tensor, weight: &Tensor, places: &[u32]) -> Result<Tensor> {
        let stories = places.len() / TOKENS;
        let windows = TOKENS + 1 - WIDTH;
        let places = Tensor::from_slice(places, (stories, TOKENS), &Device::Cpu)?;
        let mut sum = Tensor::zeros((stories * windows, CHANNELS), words.dtype(), &Device::Cpu)?;
        for at in 0..WIDTH {
            let there = places.narrow(1, at, windows)?.flatten_all()?;
            let weight = weight.narrow(1, at * DIM, DIM)?.contiguous()?;
            let product = words.matmul(&weight.t()?)?;
            sum = (sum + product.index_select(&there, 0)?)?;
        }
        sum.reshape((stories, windows, CHANNELS))?.max(1)
    }

    #[test]
    fn words_are_embedded_there_and_back_as_candles_own_operations_do() {
        let mut draw = Draw::new(5);
        let table = Var::from_tensor(&drawn(20, DIM, &mut draw)).unwrap();
        let word = |rows: &[(u32, f32)]| {
            let mut word = Rows::default();
            for (index, (row, weight)) in rows.iter().enumerate() {
                (word.rows[index], word.weights[index]) = (*row, *weight);
            }
            word
        };
        let words: Arc<[Rows]> = [
            word(&[]),
            word(&[(3, 1.0), (19, 0.25), (3, 0.25)]),
            word(&[(0, 1.0), (19, 0.5)]),
        ]
        .into();
        let rows: Vec<u32> = words.iter().flat_map(|word| word.rows).collect();
        let weights: Vec<f32> = words.iter().flat_map(|word| word.weights).collect();
        let rows = Tensor::new(rows, &Device::Cpu).unwrap();
        let weights = Tensor::from_vec(weights, (3, ROWS_PER_TOKEN, 1), &Device::Cpu).unwrap();
        let plainly = || -> Result<Tensor> {
            let rows = table.index_select(&rows, 0)?;
            let rows = rows.reshape((3, ROWS_PER_TOKEN, DIM))?;
            rows.broadcast_mul(&weights)?.sum(1)
        };
        let found = |words: Tensor| -> Vec<f32> {
            let slopes = words.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            [flat(&words), flat(slopes.get(&table).unwrap())].concat()
        };
        let own = found(table.apply_op1(Embed { words }).unwrap());
        assert_same(&own, &found(plainly().unwrap()));
    }

    #[test]
    fn windows_say_there_and_back_what_candles_own_operations_say() {
        let mut draw = Draw::new(7);
        let mut words: Vec<f32> = flat(&drawn(WORDS, DIM, &mut draw));
        words[..DIM].fill(0.0);
        let words = Tensor::from_vec(words, (WORDS, DIM), &Device::Cpu).unwrap();
        let words = Var::from_tensor(&words).unwrap();
        let weight = Var::from_tensor(&drawn(CHANNELS, WIDTH * DIM, &mut draw)).unwrap();
        // A full one, a short one with a hole, an empty one. Windows that hold a word differ: none are equally large.
        let places = [
            [1u32, 2, 3, 4, 5, 1, 0, 0, 0],
            [5, 0, 2, 0, 0, 0, 0, 0, 0],
            [0; TOKENS],
        ]
        .concat();
        let shares = drawn(3, CHANNELS, &mut draw);
        let found = |most: &Tensor| -> Vec<f32> {
            let loss = (most * &shares).unwrap().sum_all().unwrap();
            let slopes = loss.backward().unwrap();
            // What an empty place is told is lost: its word has no numbers to move.
            let words = slopes.get(&words).unwrap().narrow(0, 1, WORDS - 1).unwrap();
            [flat(most), flat(&words), flat(slopes.get(&weight).unwrap())].concat()
        };
        let window = WindowMax::new(places.clone().into(), TOKENS, WIDTH);
        let own = words.apply_op2(&weight, window).unwrap();
        assert!(flat(&own)[2 * CHANNELS..].iter().all(|most| *most == 0.0));
        let candles = plainly(&words, &weight, &places).unwrap();
        assert_same(&found(&own), &found(&candles));
    }

    #[test]
    fn of_windows_that_are_equally_large_the_first_has_the_slope() {
        let var = |rows: &[[f32; 1]]| {
            let values: Vec<f32> = rows.concat();
            Var::from_vec(values, (rows.len(), 1), &Device::Cpu).unwrap()
        };
        let (words, weight) = (var(&[[0.0], [2.0]]), var(&[[3.0]]));
        let window = WindowMax::new(vec![1, 1, 1, 0].into(), 4, 1);
        let most = words.apply_op2(&weight, window).unwrap();
        let slopes = most.sum_all().unwrap().backward().unwrap();
        assert_eq!(flat(slopes.get(&words).unwrap()), [0.0, 3.0]);
        assert_eq!(flat(slopes.get(&weight).unwrap()), [2.0]);
    }
}
