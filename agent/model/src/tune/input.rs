//! Labels of a file, line by line.

use std::io::{self, BufRead, Read as _};

use super::{LabelError, Tuner};

/// A longer line is read to its end and does not count.
pub(super) const MOST_LINE: u64 = 4 << 20;

impl Tuner {
    /// Takes every label of `input`, one a line. Each line that does not count is told, with its number from 1; answers
    /// how many those are.
    pub fn labels(
        &mut self,
        mut input: impl BufRead,
        mut tell: impl FnMut(u64, String) -> io::Result<()>,
    ) -> io::Result<u64> {
        let (mut line, mut skipped) = (Vec::new(), 0);
        for number in 1.. {
            line.clear();
            let read = input
                .by_ref()
                .take(MOST_LINE + 1)
                .read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            let text = line.trim_ascii();
            let taken = if read as u64 > MOST_LINE && !line.ends_with(b"\n") {
                input.skip_until(b'\n')?;
                Err(LabelError::Long.to_string())
            } else if text.is_empty() {
                continue;
            } else {
                self.label(text).map_err(|why| why.to_string())
            };
            if let Err(why) = taken {
                skipped += 1;
                tell(number, why)?;
            }
        }
        Ok(skipped)
    }
}
