//! Stable hashes of text pieces: the artifact depends on them, so they never change within a format.

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a, 64 bits, finished by a mix so that the low bits may be used as a table index.
pub fn hash(salt: u64, bytes: &[u8]) -> u64 {
    let mut state = OFFSET ^ salt.wrapping_mul(PRIME);
    for byte in bytes {
        state = (state ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    mix(state)
}

/// One hash out of two, order kept.
pub fn join(first: u64, second: u64) -> u64 {
    mix(first.rotate_left(23) ^ second.wrapping_mul(PRIME))
}

fn mix(mut state: u64) -> u64 {
    state ^= state >> 33;
    state = state.wrapping_mul(0xff51_afd7_ed55_8ccd);
    state ^ (state >> 33)
}

/// The row of a table with `rows` rows.
pub fn row(hash: u64, rows: u32) -> u32 {
    (hash % u64::from(rows.max(1))) as u32
}
