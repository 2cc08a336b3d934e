//! The end of a file that others write to and rotate.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use crate::out::Out;

/// Most bytes read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Who is this far behind goes on at the end: a flood must not be told for hours.
const BEHIND_BYTES: u64 = 16 * 1024 * 1024;
/// Longer lines are cut.
const LINE_BYTES: usize = 4096;

/// Follows one path: what is appended after the start, over rotation and truncation.
pub(super) struct Tail {
    path: PathBuf,
    open: Option<Open>,
    /// Of a record or line that is not whole yet.
    rest: Vec<u8>,
    /// The rest of a line that was too long is passed over.
    passing: bool,
}

struct Open {
    file: File,
    inode: (u64, u64),
    at: u64,
}

impl Tail {
    /// From the end that the file has now; a file that comes later is read from its beginning.
    pub(super) fn new(path: PathBuf) -> Self {
        let open = Open::new(&path, true).ok();
        Self {
            path,
            open,
            rest: Vec::new(),
            passing: false,
        }
    }

    /// New records of `size` bytes.
    pub(super) fn records(&mut self, size: usize, out: &Out) -> Vec<Vec<u8>> {
        self.read(out);
        let whole = self.rest.len() / size * size;
        let records = self.rest[..whole].chunks_exact(size).map(<[u8]>::to_vec);
        let records = records.collect();
        self.rest.drain(..whole);
        records
    }

    /// New lines without their ends, cut after [`LINE_BYTES`].
    pub(super) fn lines(&mut self, out: &Out) -> Vec<Vec<u8>> {
        self.read(out);
        let mut lines = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if !std::mem::take(&mut self.passing) {
                lines.push(line[..end.min(LINE_BYTES)].to_vec());
            }
        }
        if self.rest.len() > LINE_BYTES {
            let line = std::mem::take(&mut self.rest);
            if !std::mem::replace(&mut self.passing, true) {
                lines.push(line[..LINE_BYTES].to_vec());
            }
        }
        lines
    }

    fn read(&mut self, out: &Out) {
        self.reopen();
        let passed = self.open.as_mut().map(|open| open.read(&mut self.rest));
        match passed {
            Some(Ok(0)) | None => {}
            Some(Ok(_)) => out.loss("logins/behind", 1),
            Some(Err(error)) => {
                tracing::debug!(path = %self.path.display(), %error, "cannot read");
                // The path may name a better one.
                self.open = None;
            }
        }
    }

    /// The path may name another file by now; then the old one is read to its end first.
    fn reopen(&mut self) {
        let Ok(facts) = std::fs::metadata(&self.path) else {
            return;
        };
        let inode = (facts.dev(), facts.ino());
        let is_current = |open: &Open| open.inode == inode || !open.is_read();
        if self.open.as_ref().is_some_and(is_current) {
            return;
        }
        if let Ok(open) = Open::new(&self.path, false) {
            self.open = Some(open);
            self.rest.clear();
            self.passing = false;
        }
    }
}

impl Open {
    fn new(path: &PathBuf, at_end: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            inode: (facts.dev(), facts.ino()),
            at: if at_end { facts.len() } else { 0 },
            file,
        })
    }

    fn is_read(&self) -> bool {
        self.file
            .metadata()
            .map_or(true, |facts| facts.len() <= self.at)
    }

    /// Appends what is new; answers how many bytes were passed over.
    fn read(&mut self, rest: &mut Vec<u8>) -> io::Result<u64> {
        let length = self.file.metadata()?.len();
        if length < self.at {
            self.at = 0;
            rest.clear();
        }
        let mut passed = 0;
        if length - self.at > BEHIND_BYTES {
            passed = length - self.at;
            self.at = length;
            rest.clear();
        }
        let before = rest.len();
        let unread = usize::try_from(length - self.at).unwrap_or(READ_BYTES);
        rest.resize(before + unread.min(READ_BYTES), 0);
        let size = self.file.read_at(&mut rest[before..], self.at)?;
        rest.truncate(before + size);
        self.at += size as u64;
        Ok(passed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{OpenOptions, rename, write};
    use std::io::Write;
    use std::path::Path;

    use super::*;
    use crate::SensorConfig;
    use crate::facts::Facts;

    fn out() -> Out {
        Out::new(|_| {}, Facts::new(&SensorConfig::default()))
    }

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn lines(tail: &mut Tail) -> Vec<String> {
        let lines = tail.lines(&out()).into_iter();
        lines.map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn only_what_is_new_and_whole_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, "old\n").unwrap();
        let mut tail = Tail::new(path.clone());
        append(&path, "one\ntw");
        assert_eq!(lines(&mut tail), ["one"]);
        append(&path, "o\n");
        assert_eq!(lines(&mut tail), ["two"]);
        assert!(lines(&mut tail).is_empty());
    }

    #[test]
    fn a_rotated_file_is_read_to_its_end_and_the_next_from_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, "").unwrap();
        let mut tail = Tail::new(path.clone());
        append(&path, "last\n");
        rename(&path, directory.path().join("log.1")).unwrap();
        write(&path, "first\n").unwrap();
        let mut seen = lines(&mut tail);
        seen.extend(lines(&mut tail));
        assert_eq!(seen.concat(), "lastfirst");
        // Truncated in place.
        write(&path, "x\n").unwrap();
        assert_eq!(lines(&mut tail), ["x"]);
    }

    #[test]
    fn a_file_that_comes_later_is_read_from_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut tail = Tail::new(path.clone());
        assert!(lines(&mut tail).is_empty());
        write(&path, "first\n").unwrap();
        assert_eq!(lines(&mut tail), ["first"]);
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, "").unwrap();
        let mut tail = Tail::new(path.clone());
        append(&path, &"a".repeat(3 * LINE_BYTES));
        assert_eq!(lines(&mut tail), ["a".repeat(LINE_BYTES)]);
        append(&path, &"a".repeat(3 * LINE_BYTES));
        assert!(lines(&mut tail).is_empty());
        append(&path, "\nnext\n");
        assert_eq!(lines(&mut tail), ["next"]);
    }
}
