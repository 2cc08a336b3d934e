//! Seeded choice, so that a recording run can be repeated.

/// SplitMix64: small, good enough to vary scenarios, the same on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// From a seed and the names of what is drawn.
    pub fn named(seed: u64, scenario: &str, variant: u32) -> Self {
        let mut state = seed ^ 0x51_7c_c1_b7_27_22_0a_95;
        for byte in scenario.bytes().chain(variant.to_le_bytes()) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(state)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        (self.next() % bound as u64) as usize
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below((high - low + 1) as usize) as u32
    }

    /// True in `percent` of the cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// One of `choices`; none when there are none.
    pub fn one<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len()))
    }

    /// A word of letters and digits.
    pub fn word(&mut self, letters: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut word = String::new();
        while word.len() < letters {
            let bound = if word.is_empty() { 26 } else { LETTERS.len() };
            word.push(LETTERS[self.below(bound)] as char);
        }
        word
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn the_same_names_draw_the_same() {
        let draw = |seed| {
            let mut rng = Rng::named(seed, "beacon", 3);
            (rng.word(8), rng.between(1, 65_535))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
