//! How random a file's content looks.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::fanotify::{by_descriptor, open_handle};

/// Most bytes read of a file.
pub(super) const SAMPLE: usize = 4096;
/// Fewer bytes than this say nothing: 512 random bytes still come to 7.6 bits a byte.
const LEAST: usize = 512;
/// Four deviations above the mean of random bytes (255 degrees of freedom). Compressed data mostly is above that, but
/// much of it is not: its formats are known by their heads.
const MOST_CHI_SQUARE: f64 = 345.0;

/// How often each byte comes.
struct Counts([u32; 256]);

impl Counts {
    fn of(bytes: &[u8]) -> Self {
        let mut counts = [0; 256];
        for byte in bytes {
            counts[usize::from(*byte)] += 1;
        }
        Self(counts)
    }

    fn total(&self) -> f64 {
        self.0.iter().map(|count| f64::from(*count)).sum()
    }

    /// Shannon entropy in bits a byte, 0 to 8.
    fn entropy(&self) -> f32 {
        let total = self.total();
        let bits: f64 = self
            .0
            .iter()
            .filter(|count| **count > 0)
            .map(|count| {
                let share = f64::from(*count) / total;
                -share * share.log2()
            })
            .sum();
        bits as f32
    }

    /// How far the bytes are from coming equally often (Pearson's statistic): of random ones 255 on average, with a
    /// deviation of 22.6.
    fn chi_square(&self) -> f64 {
        let expected = self.total() / 256.0;
        let square = |count: &u32| (f64::from(*count) - expected).powi(2) / expected;
        self.0.iter().map(square).sum()
    }
}

/// What a sample of a file says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Bits a byte.
    pub entropy: f32,
    /// No byte comes oftener than in random ones, and the head is that of no known format.
    pub looks_encrypted: bool,
}

impl Sample {
    fn of(bytes: &[u8]) -> Self {
        let counts = Counts::of(bytes);
        let is_even = counts.chi_square() <= MOST_CHI_SQUARE;
        Self {
            entropy: counts.entropy(),
            looks_encrypted: is_even && infer::get(bytes).is_none(),
        }
    }
}

/// A sample of the file that `handle` names; `None` when it is too short to say, no
/// regular file, or gone. A half of the sample is from the middle, because some encrypt only parts
/// and some leave the head alone.
pub(super) fn sample(mount: &OwnedFd, handle: &[u8]) -> io::Result<Option<Sample>> {
    // Looked at first: opening a device or a pipe can do things.
    let found = open_handle(mount, handle, libc::O_PATH | libc::O_CLOEXEC)?;
    let path = by_descriptor(&found);
    let facts = std::fs::metadata(&path)?;
    if !facts.is_file() || facts.len() < LEAST as u64 {
        return Ok(None);
    }
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOATIME)
        .open(&path)?;
    let mut buffer = [0; SAMPLE];
    let bytes = if facts.len() <= 2 * SAMPLE as u64 {
        file.read_at(&mut buffer, 0)?
    } else {
        let head = file.read_at(&mut buffer[..SAMPLE / 2], 0)?;
        head + file.read_at(&mut buffer[head..], facts.len() / 2)?
    };
    Ok((bytes >= LEAST).then(|| Sample::of(&buffer[..bytes])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a xorshift generator: as even as random ones.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn noise_looks_encrypted_and_text_and_known_formats_do_not() {
        assert!(Sample::of(&noise(512)).looks_encrypted);
        assert!(Sample::of(&noise(SAMPLE)).looks_encrypted);
        let salted = [b"Salted__".to_vec(), noise(1000)].concat();
        assert!(Sample::of(&salted).looks_encrypted);
        let gzip = [b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), noise(1000)].concat();
        assert!(!Sample::of(&gzip).looks_encrypted);
        assert!(!Sample::of(&b"quarterly figures ".repeat(100)).looks_encrypted);
        let base64: Vec<u8> = noise(2000).iter().map(|byte| b'0' + byte % 64).collect();
        assert!(!Sample::of(&base64).looks_encrypted);
    }

    #[test]
    fn entropy_runs_from_nothing_to_eight_bits() {
        let shannon = |bytes: &[u8]| Counts::of(bytes).entropy();
        let all: Vec<u8> = (0..=255).collect();
        assert!((shannon(&all) - 8.0).abs() < 1e-6);
        assert!(shannon(&[7; 4096]).abs() < 1e-6);
        assert!((shannon(b"abababab") - 1.0).abs() < 1e-6);
        let text = b"the quick brown fox jumps over the lazy dog and runs away".repeat(20);
        assert!((3.0..5.0).contains(&shannon(&text)));
    }
}
