//! SQLite's write-ahead log: pages that are newer than those in the database file.

use std::collections::HashMap;

use super::bytes::{DatabaseError, ReadAt, big};

/// Longest log that is read, bytes; SQLite starts it anew after some 4 MB unless a reader hinders it.
const MOST_BYTES: u64 = 1 << 30;
const HEADER_BYTES: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC_LITTLE: u64 = 0x377f_0682;
const MAGIC_BIG: u64 = 0x377f_0683;

/// The committed part of a log.
pub(super) struct Wal<'a, F: ?Sized> {
    file: &'a F,
    /// Where each page's newest committed copy is.
    pages: HashMap<u64, u64>,
}

impl<'a, F: ReadAt + ?Sized> Wal<'a, F> {
    /// Reads what is valid and committed: up to the first frame of another round or with a wrong sum.
    pub(super) fn open(file: &'a F, page_bytes: usize) -> Result<Self, DatabaseError> {
        let length = file.length()?;
        let mut wal = Self {
            file,
            pages: HashMap::new(),
        };
        if length > MOST_BYTES {
            return Err(DatabaseError::Damaged("its write-ahead log is too long"));
        }
        if length >= HEADER_BYTES as u64 {
            wal.read_frames(length, page_bytes)?;
        }
        Ok(wal)
    }

    /// How many pages have a copy here.
    pub(super) fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Fills in the newest copy of a page; false when there is none here.
    pub(super) fn read(&self, number: u64, page: &mut [u8]) -> Result<bool, DatabaseError> {
        let Some(offset) = self.pages.get(&number) else {
            return Ok(false);
        };
        self.file.fill(page, *offset)?;
        Ok(true)
    }

    fn read_frames(&mut self, length: u64, page_bytes: usize) -> Result<(), DatabaseError> {
        let mut header = [0; HEADER_BYTES];
        self.file.fill(&mut header, 0)?;
        let is_big = match big(&header, 0, 4)? {
            MAGIC_BIG => true,
            MAGIC_LITTLE => false,
            _ => return Ok(()),
        };
        let mut sum = Sum::default();
        sum.add(&header[..24], is_big);
        if big(&header, 8, 4)? != page_bytes as u64 || !sum.is_at(&header, 24)? {
            return Ok(());
        }
        let mut frame = vec![0; FRAME_HEADER + page_bytes];
        let mut offset = HEADER_BYTES as u64;
        let mut uncommitted = Vec::new();
        while offset + frame.len() as u64 <= length {
            self.file.fill(&mut frame, offset)?;
            sum.add(&frame[..8], is_big);
            sum.add(&frame[FRAME_HEADER..], is_big);
            if frame[8..16] != header[16..24] || !sum.is_at(&frame, 16)? {
                break;
            }
            uncommitted.push((big(&frame, 0, 4)?, offset + FRAME_HEADER as u64));
            // The frame that ends a transaction tells the size of the database.
            if big(&frame, 4, 4)? != 0 {
                self.pages.extend(uncommitted.drain(..));
            }
            offset += frame.len() as u64;
        }
        Ok(())
    }
}

/// The running checksum of a log.
#[derive(Default)]
struct Sum(u32, u32);

impl Sum {
    fn add(&mut self, bytes: &[u8], is_big: bool) {
        let word = |bytes: &[u8]| {
            let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
            if is_big {
                u32::from_be_bytes(bytes)
            } else {
                u32::from_le_bytes(bytes)
            }
        };
        for pair in bytes.chunks_exact(8) {
            self.0 = self.0.wrapping_add(word(&pair[..4])).wrapping_add(self.1);
            self.1 = self.1.wrapping_add(word(&pair[4..])).wrapping_add(self.0);
        }
    }

    fn is_at(&self, bytes: &[u8], at: usize) -> Result<bool, DatabaseError> {
        let (first, second) = (big(bytes, at, 4)?, big(bytes, at + 4, 4)?);
        Ok((u64::from(self.0), u64::from(self.1)) == (first, second))
    }
}
