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

    const SKETCHES: u64 = 64;

    /// Of the `thing`th of a sketch: the finalizer of SplitMix64 (Steele and others, 2014).
    fn hash(sketch: u64, thing: u64) -> u64 {
        let mut bits = (sketch << 32 | thing).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn counted(sketch: u64, things: u64) -> f64 {
        let mut counts = Sketch::default();
        for thing in 0..things {
            counts.add(hash(sketch, thing));
            counts.add(hash(sketch, thing));
        }
        f64::from(counts.count())
    }

    #[test]
    fn the_count_is_near_the_truth() {
        // The error of one, and of the mean of all, in parts of the truth.
        for (things, one, mean) in [
            (0, 0.0, 0.0),
            (1, 0.0, 0.0),
            (10, 0.3, 0.05),
            (100, 0.3, 0.05),
            (10_000, 0.4, 0.05),
        ] {
            let truth = things as f64;
            let counts: Vec<f64> = (0..SKETCHES).map(|of| counted(of, things)).collect();
            let is_far = |count: &&f64| (**count - truth).abs() > one * truth;
            assert_eq!(counts.iter().find(is_far), None, "{things}: {counts:?}");
            let off = counts.iter().sum::<f64>() / SKETCHES as f64 - truth;
            assert!(off.abs() <= mean * truth, "{things}: off by {off}");
        }
    }
}
