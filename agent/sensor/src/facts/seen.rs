//! Which images this host has executed before, as long as it is watched.
//!
//! A set of fixed size, kept in a file over restarts. Until a day after it was begun an image that is not in
//! it may well have been executed before the agent came: then only a file whose content is younger than the set
//! is called first seen, of the others nothing is said. Later whatever is not in it is first seen,
//! packaged or not. What the start-up snapshot finds is taken in silently.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use cordon_behavior::event::FileIdentity;

use super::packages::hash_parts;
use super::prints::{Key, Prints, Put};
use crate::CacheUse;

/// 0.5 MiB of fingerprints; a server executes some thousands of images in its life.
const MOST: usize = 65_536;
const LEARNING_NS: u64 = 24 * 3600 * 1_000_000_000;
const FILE: &str = "seen";
/// The last character is the version of the layout: key, birth, checksum of the rest, fingerprints.
const MAGIC: &[u8; 8] = b"cordSEN1";
const HEADER_WORDS: usize = 4;

/// The images that were executed.
#[derive(Debug)]
pub(crate) struct Seen {
    prints: Prints,
    key: Key,
    /// When watching began, nanoseconds of CLOCK_REALTIME.
    born_ns: u64,
    path: Option<PathBuf>,
    changed: AtomicBool,
    count: AtomicU64,
    evicted: AtomicU64,
}

impl Seen {
    /// Takes up the set in `directory`, or begins one. A damaged one is begun anew.
    pub(crate) fn open(directory: Option<&Path>) -> Self {
        let path = directory.map(|directory| directory.join(FILE));
        let read = path.as_deref().map_or(Ok(None), read);
        let stored = read.unwrap_or_else(|error| {
            tracing::warn!(%error, path = ?path, "cannot read which images were executed before: beginning anew");
            None
        });
        let born_ns = now_ns();
        let stored = stored.unwrap_or_else(|| Stored {
            key: Key::random(),
            born_ns,
            prints: Vec::new(),
        });
        let prints = Prints::new(MOST);
        for print in &stored.prints {
            prints.put(*print);
        }
        let count = AtomicU64::new(prints.all().count() as u64);
        Self {
            key: stored.key,
            // A clock that was set back must not make everything old.
            born_ns: stored.born_ns.min(born_ns),
            prints,
            path,
            changed: AtomicBool::new(true),
            count,
            evicted: AtomicU64::new(0),
        }
    }

    /// Takes an image in that was executed at `wall_ns`, and says whether that was the first time; `None` when this is
    /// not known.
    pub(crate) fn executed(
        &self,
        path: &str,
        identity: &FileIdentity,
        wall_ns: u64,
    ) -> Option<bool> {
        match self.prints.put(self.key.print(path, identity)) {
            Put::Known => return Some(false),
            Put::New => self.count.fetch_add(1, Ordering::Relaxed),
            Put::InPlaceOfAnother => self.evicted.fetch_add(1, Ordering::Relaxed),
        };
        self.changed.store(true, Ordering::Relaxed);
        let is_learning = wall_ns < self.born_ns.saturating_add(LEARNING_NS);
        (!is_learning || identity.mtime_ns > self.born_ns).then_some(true)
    }

    /// Writes the set to its file when it changed since the last time. Takes a disk's time.
    pub(crate) fn save(&self) {
        let Some(path) = &self.path else { return };
        if !self.changed.swap(false, Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.write(path) {
            tracing::warn!(%error, path = %path.display(), "cannot write which images were executed: after a restart they are new again");
        }
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut body = Vec::new();
        for print in self.prints.all() {
            body.extend(print.to_le_bytes());
        }
        let mut bytes = MAGIC.to_vec();
        for word in [self.key.0, self.key.1, self.born_ns, self.sum(&body)] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(body);
        let beside = path.with_extension("new");
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    }

    fn sum(&self, body: &[u8]) -> u64 {
        hash_parts(self.key, [&self.born_ns.to_le_bytes(), body])
    }

    pub(crate) fn usage(&self) -> CacheUse {
        CacheUse {
            name: "first_seen",
            bytes: self.prints.bytes(),
            limit_bytes: self.prints.bytes(),
            entries: self.count.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}

struct Stored {
    key: Key,
    born_ns: u64,
    prints: Vec<u64>,
}

/// What the file holds; nothing when there is none.
fn read(path: &Path) -> io::Result<Option<Stored>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    let most = MAGIC.len() + size_of::<u64>() * (HEADER_WORDS + MOST);
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    parse(&bytes)
        .map(Some)
        .ok_or_else(|| io::Error::other("the file is damaged"))
}

fn parse(bytes: &[u8]) -> Option<Stored> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (header, body) = rest.split_at_checked(HEADER_WORDS * size_of::<u64>())?;
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    let words: Vec<u64> = header.chunks_exact(8).map(word).collect();
    let (key, born_ns) = (Key(words[0], words[1]), words[2]);
    if hash_parts(key, [&born_ns.to_le_bytes(), body]) != words[3] || body.len() > 8 * MOST {
        return None;
    }
    let prints = body
        .chunks_exact(8)
        .map(word)
        .filter(|print| *print != 0)
        .collect();
    Some(Stored {
        key,
        born_ns,
        prints,
    })
}

fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(mtime_ns: u64) -> FileIdentity {
        FileIdentity {
            device: 1,
            inode: 2,
            mtime_ns,
            size: 3,
        }
    }

    #[test]
    fn an_old_file_is_not_called_first_seen_until_a_day_was_watched() {
        let seen = Seen::open(None);
        let born = seen.born_ns;
        assert_eq!(seen.executed("/bin/old", &image(1), born + 1), None);
        assert_eq!(seen.executed("/bin/old", &image(1), born + 2), Some(false));
        assert_eq!(
            seen.executed("/tmp/young", &image(born + 1), born + 2),
            Some(true)
        );
        let later = born + LEARNING_NS;
        assert_eq!(seen.executed("/bin/rare", &image(1), later), Some(true));
        assert_eq!(
            seen.executed("/bin/old", &image(2), later),
            Some(true),
            "its content changed"
        );
    }

    #[test]
    fn what_was_seen_outlives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let seen = Seen::open(Some(directory.path()));
        let born = seen.born_ns;
        seen.executed("/bin/a", &image(1), born);
        seen.save();
        let again = Seen::open(Some(directory.path()));
        assert_eq!((again.born_ns, again.usage().entries), (born, 1));
        assert_eq!(again.executed("/bin/a", &image(1), born), Some(false));
        assert_eq!(
            again.executed("/bin/b", &image(1), born + LEARNING_NS),
            Some(true)
        );
    }

    #[test]
    fn a_full_set_is_written_and_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let seen = Seen::open(Some(directory.path()));
        for inode in 0..3 * MOST as u64 {
            seen.executed("/bin/a", &FileIdentity { inode, ..image(1) }, 1);
        }
        seen.save();
        let usage = seen.usage();
        assert_eq!(usage.entries + usage.evicted, 3 * MOST as u64);
        assert_eq!(
            Seen::open(Some(directory.path())).usage().entries,
            usage.entries
        );
    }

    #[test]
    fn a_damaged_file_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let seen = Seen::open(Some(directory.path()));
        seen.executed("/bin/a", &image(1), 1);
        seen.save();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        let anew = Seen::open(Some(directory.path()));
        assert_eq!(anew.usage().entries, 0);
        anew.save();
        assert!(read(&path).unwrap().is_some());
    }

    proptest! {
        #[test]
        fn any_file_is_read_without_a_panic(bytes: Vec<u8>) {
            parse(&bytes);
            parse(&[MAGIC.as_slice(), &bytes].concat());
        }
    }
}
