//! Reading lines of bounded length.

use std::io::{self, BufRead as _, BufReader, Read};

/// A line longer than this is read to its end and not kept.
pub const MAX_LINE_BYTES: usize = 4 << 20;

/// The lines of an input.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    number: u64,
}

/// One of them.
pub(super) struct Line<'a> {
    /// From 1.
    pub number: u64,
    /// Without its end; `None`: it is too long.
    pub text: Option<&'a [u8]>,
}

/// What is said of a line that is too long.
pub(super) fn too_long() -> String {
    format!("the line has more than {MAX_LINE_BYTES} bytes")
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: BufReader<R>) -> Self {
        Self {
            input,
            line: Vec::new(),
            number: 0,
        }
    }

    /// How many lines were begun.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line; `None` at the end. Before it waits for more input it calls `idle`: whoever waits for the
    /// answers so far must have them.
    pub(super) fn next(
        &mut self,
        mut idle: impl FnMut() -> io::Result<()>,
    ) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut length = 0_usize;
        loop {
            if self.input.buffer().is_empty() {
                idle()?;
            }
            let some = self.input.fill_buf()?;
            if some.is_empty() && length == 0 {
                return Ok(None);
            }
            let end = memchr::memchr(b'\n', some);
            let part = &some[..end.unwrap_or(some.len())];
            length = length.saturating_add(part.len());
            if length <= MAX_LINE_BYTES {
                self.line.extend_from_slice(part);
            }
            let is_last = some.is_empty();
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() || is_last {
                return Ok(Some(self.whole(length)));
            }
        }
    }

    fn whole(&mut self, length: usize) -> Line<'_> {
        self.number += 1;
        let fits = length <= MAX_LINE_BYTES;
        Line {
            number: self.number,
            text: fits.then_some(self.line.as_slice()),
        }
    }
}
