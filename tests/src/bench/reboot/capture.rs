//! A capture file of the classic kind (pcap, as QEMU's `filter-dump` writes it), read while it grows.

use anyhow::{Result, ensure};

const MAGIC: u32 = 0xa1b2_c3d4;
const ETHERNET: u32 = 1;
const FILE_HEADER: usize = 24;
const FRAME_HEADER: usize = 16;
/// What QEMU keeps of one frame, and so the most that a frame header may announce.
const MOST_BYTES: usize = 65536;

/// One frame of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// By the emulated machine's clock, microseconds since 1970.
    pub at_us: u64,
    /// From the destination's address on, without checksum.
    pub bytes: Vec<u8>,
    /// The capture holds only its beginning.
    pub is_cut: bool,
}

/// Takes a capture piece by piece.
#[derive(Debug, Default)]
pub struct Reader {
    pending: Vec<u8>,
    has_header: bool,
}

impl Reader {
    /// The frames that are whole with the next bytes of the file. What is no capture is an error.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>> {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        if !self.has_header {
            let Some(header) = self.pending.get(..FILE_HEADER) else {
                return Ok(Vec::new());
            };
            check(header)?;
            self.has_header = true;
            at = FILE_HEADER;
        }
        let mut frames = Vec::new();
        while let Some((frame, end)) = frame(&self.pending, at)? {
            frames.push(frame);
            at = end;
        }
        self.pending.drain(..at);
        Ok(frames)
    }

    /// Whether the bytes so far end where a frame ends. Of a file that nobody writes to any more, they must.
    pub fn is_whole(&self) -> bool {
        self.has_header && self.pending.is_empty()
    }
}

fn check(header: &[u8]) -> Result<()> {
    let (magic, link) = (word(header, 0), word(header, 20));
    ensure!(
        magic == Some(MAGIC),
        "not a capture of this machine's byte order: it begins with {:02x?}",
        &header[..4]
    );
    ensure!(
        link == Some(ETHERNET),
        "not a capture of Ethernet frames, but of link type {link:?}"
    );
    Ok(())
}

/// The frame that begins at a place, and where it ends; `None`: it is not whole yet.
fn frame(bytes: &[u8], at: usize) -> Result<Option<(Frame, usize)>> {
    let Some(header) = bytes.get(at..at + FRAME_HEADER) else {
        return Ok(None);
    };
    let field = |index: usize| word(header, 4 * index).map_or(0, |word| word as usize);
    let [seconds, micros, kept, length] = [0, 1, 2, 3].map(field);
    ensure!(
        micros < 1_000_000 && kept <= length && kept <= MOST_BYTES,
        "the capture is damaged: a frame of {kept} of {length} bytes, {micros} us after a second"
    );
    let begin = at + FRAME_HEADER;
    let Some(kept) = bytes.get(begin..begin + kept) else {
        return Ok(None);
    };
    let frame = Frame {
        at_us: seconds as u64 * 1_000_000 + micros as u64,
        bytes: kept.to_vec(),
        is_cut: kept.len() < length,
    };
    Ok(Some((frame, begin + kept.len())))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn header() -> Vec<u8> {
        words(&[MAGIC, 0x0004_0002, 0, 0, 65536, ETHERNET])
    }

    fn record(second: u32, length: u32, bytes: &[u8]) -> Vec<u8> {
        let kept = bytes.len() as u32;
        [&words(&[second, 7, kept, length])[..], bytes].concat()
    }

    fn sample() -> Vec<u8> {
        [header(), record(1, 3, b"abc"), record(2, 9, b"defgh")].concat()
    }

    fn expected() -> Vec<Frame> {
        let frame = |at_us, bytes: &[u8], is_cut| Frame {
            at_us,
            bytes: bytes.to_vec(),
            is_cut,
        };
        vec![
            frame(1_000_007, b"abc", false),
            frame(2_000_007, b"defgh", true),
        ]
    }

    #[test]
    fn frames_come_out_however_the_file_grows() {
        let bytes = sample();
        for piece in 1..=bytes.len() {
            let mut reader = Reader::default();
            let mut frames = Vec::new();
            for part in bytes.chunks(piece) {
                frames.extend(reader.push(part).expect("a capture"));
            }
            assert_eq!(frames, expected(), "{piece} bytes at a time");
            assert!(reader.is_whole());
        }
    }

    #[test]
    fn a_file_that_ends_within_a_frame_is_not_whole() {
        let bytes = sample();
        let ends = [FILE_HEADER, FILE_HEADER + FRAME_HEADER + 3, bytes.len()];
        for end in 0..=bytes.len() {
            let mut reader = Reader::default();
            let frames = reader.push(&bytes[..end]).expect("the part of a capture");
            assert!(expected().starts_with(&frames));
            assert_eq!(reader.is_whole(), ends.contains(&end), "{end} bytes");
        }
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        let large = MOST_BYTES as u32 + 1;
        for (damage, said) in [
            (vec![0; FILE_HEADER], "begins with [00, 00, 00, 00]"),
            (words(&[MAGIC.swap_bytes(), 0, 0, 0, 0, 1]), "not a capture"),
            (words(&[MAGIC, 0, 0, 0, 0, 113]), "link type Some(113)"),
            (
                [header(), words(&[1, 0, large, large])].concat(),
                "damaged: a frame of 65537",
            ),
            ([header(), words(&[1, 0, 5, 4])].concat(), "5 of 4 bytes"),
            (
                [header(), words(&[1, 1_000_000, 4, 4])].concat(),
                "1000000 us",
            ),
        ] {
            let refusal = Reader::default().push(&damage).expect_err(said);
            assert!(refusal.to_string().contains(said), "{refusal}");
        }
    }
}
