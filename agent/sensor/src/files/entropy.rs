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

/// Shannon entropy in bits a byte, 0 to 8.
pub(super) fn shannon(bytes: &[u8]) -> f32 {
    let mut counts = [0u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let total = bytes.len() as f64;
    let bits: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum();
    bits as f32
}

/// Entropy of a sample of the file that `handle` names; `None` when it is too short to say, no
/// regular file, or gone. A half of the sample is from the middle, because some encrypt only parts
/// and some leave the head alone.
pub(super) fn sample(mount: &OwnedFd, handle: &[u8]) -> io::Result<Option<f32>> {
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
    Ok((bytes >= LEAST).then(|| shannon(&buffer[..bytes])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_runs_from_nothing_to_eight_bits() {
        let all: Vec<u8> = (0..=255).collect();
        assert!((shannon(&all) - 8.0).abs() < 1e-6);
        assert!(shannon(&[7; 4096]).abs() < 1e-6);
        assert!((shannon(b"abababab") - 1.0).abs() < 1e-6);
        let text = b"the quick brown fox jumps over the lazy dog and runs away".repeat(20);
        assert!((3.0..5.0).contains(&shannon(&text)));
    }
}
