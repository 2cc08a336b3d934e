//! Reading a database file, or a copy of one in memory, at any offset and within its bounds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Why a package database could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file could not be read, or ends too early.
    #[error("cannot read the package database")]
    Read(#[from] io::Error),
    /// It is not what it claims to be, or was written to while it was read.
    #[error("the package database is damaged: {0}")]
    Damaged(&'static str),
}

/// Something that can be read at any offset.
pub trait ReadAt {
    /// Fills `buffer` with what is at `offset`.
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// How many bytes there are.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = self.get(from..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// An unsigned big-endian number of up to eight bytes at `at`.
pub(super) fn big(bytes: &[u8], at: usize, width: usize) -> Result<u64, DatabaseError> {
    let part = part(bytes, at, width)?;
    Ok(part
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// An unsigned little-endian number of up to eight bytes at `at`.
pub(super) fn little(bytes: &[u8], at: usize, width: usize) -> Result<u64, DatabaseError> {
    let part = part(bytes, at, width)?;
    let digits = part.iter().rev();
    Ok(digits.fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

pub(super) fn part(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], DatabaseError> {
    let there = bytes.get(at..).and_then(|rest| rest.get(..length));
    there.ok_or(DatabaseError::Damaged("a structure reaches past its end"))
}
