//! The optimizer: candle's own works on one core, and on one set of slopes.

use candle_core::{Device, Result, Tensor, Var};
use rayon::prelude::*;

/// Decoupled decay of weights.
const DECAY: f32 = 2e-2;
/// Weights that one thread works on.
const STRETCH: usize = 1 << 14;

/// One set of weights under AdamW (Loshchilov and Hutter, 2019).
pub struct Adam {
    var: Var,
    weights: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    /// Steps so far.
    seen: i32,
}

impl Adam {
    /// For the weights of `var`.
    pub fn new(var: Var) -> Result<Self> {
        let weights: Vec<f32> = var.flatten_all()?.to_vec1()?;
        Ok(Self {
            first: vec![0.0; weights.len()],
            second: vec![0.0; weights.len()],
            weights,
            var,
            seen: 0,
        })
    }

    /// One step along the sum of `parts`, which are added in their order.
    pub fn step(&mut self, parts: &[&[f32]], rate: f32) -> Result<()> {
        self.seen += 1;
        let (first_left, second_left) =
            (1.0 - 0.9f32.powi(self.seen), 1.0 - 0.999f32.powi(self.seen));
        let weights = self.weights.par_chunks_mut(STRETCH);
        let first = self.first.par_chunks_mut(STRETCH);
        let second = self.second.par_chunks_mut(STRETCH);
        let all = weights.zip(first).zip(second).enumerate();
        all.for_each(|(stretch, ((weights, first), second))| {
            for index in 0..weights.len() {
                let slope: f32 = parts
                    .iter()
                    .map(|part| part[stretch * STRETCH + index])
                    .sum();
                first[index] += 0.1 * (slope - first[index]);
                second[index] += 0.001 * (slope * slope - second[index]);
                let size = (second[index] / second_left).sqrt() + 1e-8;
                weights[index] *= 1.0 - rate * DECAY;
                weights[index] -= rate * first[index] / first_left / size;
            }
        });
        self.var.set(&Tensor::from_slice(
            &self.weights,
            self.var.dims(),
            &Device::Cpu,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_and_the_lowest_place_is_found() {
        let var = Var::from_tensor(&Tensor::new(&[4f32, -2.0], &Device::Cpu).unwrap()).unwrap();
        let mut adam = Adam::new(var.clone()).unwrap();
        for _ in 0..600 {
            // The slopes of (x - 1)^2 + (y - 3)^2, in two parts.
            let at: Vec<f32> = var.to_vec1().unwrap();
            let half = [at[0] - 1.0, at[1] - 3.0];
            adam.step(&[&half, &half], 0.05).unwrap();
        }
        let found: Vec<f32> = var.to_vec1().unwrap();
        // The decay holds each a little nearer to 0, the further out the more.
        assert!(
            (found[0] - 1.0).abs() < 0.05 && (found[1] - 3.0).abs() < 0.1,
            "{found:?}"
        );
    }
}
