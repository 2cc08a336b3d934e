//! Which files took the place of others, and whether what is in them now looks encrypted: pure, in bounded memory.
//!
//! Who encrypts the files of somebody leaves him no readable one. So either a file that was there is written over, or
//! a new one is made and the old one removed, or the new one is moved to the old one's name. Of the last two the names
//! tell: one begins with the other, or they differ in what follows the last dots.
//!
//! Who encrypts a copy that he made himself, and removes that, takes nothing from anybody. So the newest few files of each
//! directory have no place that could be taken.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::gauge::Gauge;

/// Most names remembered; the oldest is forgotten for a new one.
const NAMES: usize = 4096;
/// Most directories whose newest files are remembered, and how many of each. No more: a tree that was made a moment ago
/// is somebody's too.
const DIRS: usize = 1024;
const NEWEST: usize = 8;
/// An upper estimate of what any of them takes: a directory is the larger.
const ENTRY_BYTES: usize = 160;
/// Of a name, so many ends that begin with a dot are looked at.
const ENDS: usize = 3;

/// Names of files that were made, removed or sampled lately.
pub(super) struct Replaced {
    hasher: RandomState,
    /// How often each was noted.
    names: HashMap<u64, u32>,
    oldest_first: VecDeque<u64>,
    /// Hashes of the newest names of each directory.
    made: HashMap<u64, VecDeque<u64>>,
    dirs: VecDeque<u64>,
    pub gauge: Arc<Gauge>,
}

#[derive(Hash)]
enum Note<'a> {
    /// What is in the file of exactly this name looks encrypted.
    Encrypted(&'a [u8], &'a [u8]),
    /// Something that was made and looks encrypted has a name that begins so.
    Heir(&'a [u8], &'a [u8]),
    /// A file was removed that had been there, and whose name began so.
    Removed(&'a [u8], &'a [u8]),
}

impl Replaced {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            names: HashMap::new(),
            oldest_first: VecDeque::new(),
            made: HashMap::new(),
            dirs: VecDeque::new(),
            gauge: Gauge::new("names of replaced files", ENTRY_BYTES, NAMES + DIRS),
        }
    }

    /// Tells how many names and directories are remembered.
    pub(super) fn tell_usage(&self) {
        self.gauge.set(self.names.len() + self.made.len());
    }

    /// A file was made in `dir`.
    pub(super) fn made(&mut self, dir: &[u8], name: &[u8]) {
        let dir = self.hasher.hash_one(dir);
        if !self.made.contains_key(&dir) {
            if self.dirs.len() >= DIRS
                && let Some(oldest) = self.dirs.pop_front()
            {
                self.made.remove(&oldest);
            }
            self.dirs.push_back(dir);
        }
        let newest = self.made.entry(dir).or_default();
        if newest.len() >= NEWEST {
            newest.pop_front();
        }
        newest.push_back(self.hasher.hash_one(name));
    }

    /// Whether it is one of the newest files of its directory.
    fn is_new(&self, dir: &[u8], name: &[u8]) -> bool {
        let newest = self.made.get(&self.hasher.hash_one(dir));
        newest.is_some_and(|newest| newest.contains(&self.hasher.hash_one(name)))
    }

    /// What was written to a file looks encrypted. True: it was there before, and is written over; or the file in whose
    /// place it comes was removed already, before this one was closed.
    pub(super) fn encrypted(&mut self, dir: &[u8], name: &[u8]) -> bool {
        self.note(&Note::Encrypted(dir, name));
        if !self.is_new(dir, name) {
            return true;
        }
        for beginning in beginnings(name) {
            self.note(&Note::Heir(dir, beginning));
        }
        let mut all = beginnings(name);
        all.any(|beginning| self.has(&Note::Removed(dir, beginning)))
    }

    /// A file was removed. True: lately something encrypted came in its place. What is new or encrypted itself leaves
    /// nobody without a readable file; and what is encrypted and gone is in nobody's place. So who decrypts a tree file
    /// by file, and removes it after he has looked, took nothing from anybody.
    pub(super) fn removed(&mut self, dir: &[u8], name: &[u8]) -> bool {
        if self.has(&Note::Encrypted(dir, name)) {
            for beginning in beginnings(name) {
                self.forget(&Note::Heir(dir, beginning));
            }
            return false;
        }
        if self.is_new(dir, name) {
            return false;
        }
        for beginning in beginnings(name) {
            self.note(&Note::Removed(dir, beginning));
        }
        let mut all = beginnings(name);
        all.any(|beginning| self.has(&Note::Heir(dir, beginning)))
    }

    /// A file got another name in its directory. True: it is encrypted, was made lately, and took the place of
    /// the file whose name it has now. `report.odt.tmp` becomes `report.odt`.
    pub(super) fn renamed(&self, dir: &[u8], old: &[u8], new: &[u8]) -> bool {
        let keeps_name = old.starts_with(new) || new.starts_with(old);
        keeps_name && old != new && !new.is_empty() && self.has(&Note::Heir(dir, old))
    }

    fn note(&mut self, note: &Note<'_>) {
        if self.oldest_first.len() >= NAMES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.lower(oldest);
        }
        let hash = self.hasher.hash_one(note);
        *self.names.entry(hash).or_default() += 1;
        self.oldest_first.push_back(hash);
    }

    /// Once less. Its place among the oldest stays: a note made anew may be forgotten early.
    fn forget(&mut self, note: &Note<'_>) {
        let hash = self.hasher.hash_one(note);
        self.lower(hash);
    }

    fn lower(&mut self, hash: u64) {
        if let Some(count) = self.names.get_mut(&hash) {
            *count -= 1;
            if *count == 0 {
                self.names.remove(&hash);
            }
        }
    }

    fn has(&self, note: &Note<'_>) -> bool {
        self.names.contains_key(&self.hasher.hash_one(note))
    }
}

/// The name itself, and without its last ends.
fn beginnings(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |name| without_end(name)).take(ENDS)
}

fn without_end(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    (dot > 0).then(|| &name[..dot])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: &[u8] = b"dir";

    #[test]
    fn what_is_encrypted_beside_the_old_file_or_over_it_takes_its_place() {
        let mut names = Replaced::new();
        for name in ["a.odt.locked", "b.locked", "new"] {
            names.made(DIR, name.as_bytes());
            assert!(!names.encrypted(DIR, name.as_bytes()), "{name}");
        }
        assert!(names.removed(DIR, b"a.odt"));
        assert!(names.removed(DIR, b"b.xlsx"));
        assert!(!names.removed(DIR, b"c.odt"));
        // A copy of one's own, made for this.
        for name in ["dump.sql", "dump.sql.gpg"] {
            names.made(DIR, name.as_bytes());
        }
        assert!(!names.encrypted(DIR, b"dump.sql.gpg"));
        assert!(!names.removed(DIR, b"dump.sql"));
        assert!(!names.removed(b"elsewhere", b"a.odt"));
        // Removed before the other is closed.
        names.made(DIR, b"d.odt.locked");
        assert!(!names.removed(DIR, b"d.odt"));
        assert!(names.encrypted(DIR, b"d.odt.locked"));
        // Tidied up long after.
        for number in 0..NEWEST {
            names.made(DIR, &number.to_be_bytes());
        }
        assert!(!names.removed(DIR, b"a.odt.locked") && !names.removed(DIR, b"dump.sql.gpg"));
        // It was not made lately, so it was there; its new name is the same loss.
        assert!(names.encrypted(DIR, b"old.txt"));
        assert!(!names.renamed(DIR, b"old.txt", b"old.txt.locked"));
    }

    #[test]
    fn an_encrypted_file_takes_the_place_of_the_one_whose_name_it_gets() {
        let mut names = Replaced::new();
        for name in ["a.odt.tmp", "pack-1.tmp"] {
            names.made(DIR, name.as_bytes());
            names.encrypted(DIR, name.as_bytes());
        }
        assert!(names.renamed(DIR, b"a.odt.tmp", b"a.odt"));
        assert!(!names.renamed(DIR, b"pack-1.tmp", b"0123456789abcdef"));
        assert!(!names.renamed(DIR, b"other.tmp", b"other"));
        assert!(!names.renamed(DIR, b"a.odt.tmp", b""));
        // Made and removed again: nobody lost anything.
        assert!(!names.removed(DIR, b"pack-1.tmp"));
    }

    #[test]
    fn who_decrypts_a_tree_and_removes_it_takes_nothing() {
        let mut names = Replaced::new();
        let name = |number: usize, end: &str| format!("{number}.csv{end}").into_bytes();
        for number in 0..4 * NEWEST {
            names.made(DIR, &name(number, ".enc"));
            assert!(!names.encrypted(DIR, &name(number, ".enc")));
        }
        for number in 0..4 * NEWEST {
            names.made(DIR, &name(number, ""));
            assert!(!names.removed(DIR, &name(number, ".enc")));
        }
        for number in 0..4 * NEWEST {
            assert!(!names.removed(DIR, &name(number, "")), "{number}");
        }
        // What is written again is no less an heir.
        names.made(DIR, b"late.csv.enc");
        names.encrypted(DIR, b"late.csv.enc");
        assert!(names.removed(DIR, b"late.csv"));
    }

    #[test]
    fn the_oldest_names_are_forgotten() {
        let mut names = Replaced::new();
        let name = |number: usize| number.to_be_bytes();
        for number in 0..3 * NAMES {
            names.made(&name(number % (2 * DIRS)), &name(number));
            names.removed(DIR, &name(number));
        }
        assert!(names.names.len() <= NAMES && names.oldest_first.len() <= NAMES);
        assert!(names.made.len() <= DIRS && names.dirs.len() <= DIRS);
        let last = 3 * NAMES - 1;
        assert!(names.is_new(&name(last % (2 * DIRS)), &name(last)));
        for number in 0..20 {
            names.made(DIR, &name(number));
        }
        assert!(names.is_new(DIR, &name(12)) && !names.is_new(DIR, &name(11)));
    }
}
