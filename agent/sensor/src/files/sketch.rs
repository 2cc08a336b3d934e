//! Counting distinct things in a fixed number of bytes (HyperLogLog, Flajolet and others, 2007).

/// Two to this many registers: an error of 1.04 / sqrt(128), about 9 %, beyond a few hundred things;
/// below that, next to none.
const BITS: u32 = 7;
const REGISTERS: usize = 1 << BITS;

/// How many different hashes were added, about.
#[derive(Clone, Debug)]
pub(super) struct Sketch([u8; REGISTERS]);

impl Default for Sketch {
    fn default() -> Self {
        Self([0; REGISTERS])
    }
}

impl Sketch {
    pub(super) fn add(&mut self, hash: u64) {
        let register = &mut self.0[(hash >> (64 - BITS)) as usize];
        let rank = (hash << BITS | 1 << (BITS - 1)).leading_zeros() as u8 + 1;
        *register = rank.max(*register);
    }

    pub(super) fn count(&self) -> u16 {
        let registers = REGISTERS as f64;
        let sum: f64 = self.0.iter().map(|rank| 0.5_f64.powi((*rank).into())).sum();
        let zeros: u32 = self.0.iter().map(|rank| u32::from(*rank == 0)).sum();
        let raw = 0.7213 / (1.0 + 1.079 / registers) * registers * registers / sum;
        let count = if raw <= 2.5 * registers && zeros > 0 {
            registers * (registers / f64::from(zeros)).ln()
        } else {
            raw
        };
        count.round().min(f64::from(u16::MAX)) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};

    #[test]
    fn the_count_is_near_the_truth() {
        let state = RandomState::new();
        for (things, error) in [(0u32, 0), (1, 0), (10, 1), (100, 20), (10_000, 4000)] {
            let mut sketch = Sketch::default();
            for thing in 0..things {
                sketch.add(state.hash_one(thing));
                sketch.add(state.hash_one(thing));
            }
            let off = i64::from(sketch.count()) - i64::from(things);
            assert!(off.abs() <= error, "{things} counted as {}", sketch.count());
        }
    }
}
