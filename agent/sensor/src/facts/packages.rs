//! Which package owns a path of this host: dpkg's and rpm's databases, read directly.
//!
//! An index is made beside the events' way and never changed: a database that changed gives a new one.
//! It knows paths by a keyed hash, so that nobody can make a path that is taken for another's.

mod bytes;
mod dpkg;
mod ndb;
mod rpm;
mod sqlite;
mod wal;

use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use siphasher::sip::SipHasher13;

use super::layout::Layout;
use super::prints::Key;
use crate::CacheUse;

pub use bytes::{DatabaseError, ReadAt};
pub use ndb::ndb_blobs;
pub use rpm::{rpm_name, rpm_paths};
pub use sqlite::sqlite_column;

/// Most bytes of an index. A server with 200,000 packaged paths needs some 2.4 MiB.
const LIMIT_BYTES: usize = 16 << 20;
/// A path's hash and its package's number.
const PATH_BYTES: usize = size_of::<u64>() + size_of::<u32>();

/// Who owns a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    /// A package, by its name.
    Package(&'a str),
    /// No package does.
    Nobody,
    /// The databases could not be read in full, or there are none.
    Unknown,
}

/// Paths and their packages.
#[derive(Debug, Default)]
pub(crate) struct Index {
    key: Key,
    /// Sorted; `packages` has the number of each one's package at the same place.
    paths: Vec<u64>,
    packages: Vec<u32>,
    names: Names,
    layout: Layout,
    /// Every path of every database is in it.
    complete: bool,
    refused: u64,
}

impl Index {
    /// Reads every database below `layout`'s root. What cannot be read is logged, and leaves paths that are not found
    /// with an unknown owner.
    pub(crate) fn load(layout: Layout) -> Self {
        let root = layout.root().to_owned();
        let mut builder = Builder::new(layout, LIMIT_BYTES);
        let mut found = false;
        for (kind, loaded) in [
            ("dpkg", dpkg::load(&root, &mut builder)),
            ("rpm", rpm::load(&root, &mut builder)),
        ] {
            match loaded {
                Ok(is_there) => found |= is_there,
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(kind, %error, "package owners are known in part only");
                    builder.is_incomplete();
                }
            }
        }
        if !found {
            builder.is_incomplete();
        }
        builder.finish()
    }

    pub(crate) fn owner(&self, path: &str) -> Owner<'_> {
        let hash = self.layout.hash(self.key, path.as_bytes());
        match self.paths.binary_search(&hash) {
            Ok(at) => Owner::Package(self.names.get(self.packages[at])),
            Err(_) if self.complete => Owner::Nobody,
            Err(_) => Owner::Unknown,
        }
    }

    /// How this host's directories lie.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn usage(&self) -> CacheUse {
        CacheUse {
            name: "packages",
            bytes: (self.paths.len() * PATH_BYTES + self.names.bytes()) as u64,
            limit_bytes: LIMIT_BYTES as u64,
            entries: self.paths.len() as u64,
            evicted: self.refused,
        }
    }
}

fn chain(error: &DatabaseError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Names one after the other, found by number.
#[derive(Debug, Default)]
struct Names {
    text: String,
    ends: Vec<u32>,
}

impl Names {
    fn push(&mut self, name: &str) -> u32 {
        self.text.push_str(name);
        self.ends.push(self.text.len() as u32);
        self.ends.len() as u32 - 1
    }

    fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = number
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        &self.text[start..self.ends[number] as usize]
    }

    fn bytes(&self) -> usize {
        self.text.len() + self.ends.len() * size_of::<u32>()
    }
}

/// Collects packages and paths up to a bound.
pub(crate) struct Builder {
    key: Key,
    layout: Layout,
    entries: Vec<(u64, u32)>,
    names: Names,
    limit_bytes: usize,
    complete: bool,
    refused: u64,
}

impl Builder {
    fn new(layout: Layout, limit_bytes: usize) -> Self {
        Self {
            key: Key::random(),
            layout,
            entries: Vec::new(),
            names: Names::default(),
            limit_bytes,
            complete: true,
            refused: 0,
        }
    }

    /// A number for the package; without room for its name it has none, and its paths are not taken.
    fn package(&mut self, name: &str) -> Option<u32> {
        let has_room = self.has_room(name.len() + size_of::<u32>());
        has_room.then(|| self.names.push(name))
    }

    fn path(&mut self, package: Option<u32>, path: &[u8]) {
        let has_room = self.has_room(PATH_BYTES);
        if let Some(package) = package.filter(|_| has_room) {
            let hash = self.layout.hash(self.key, path);
            self.entries.push((hash, package));
        }
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        let used = self.entries.len() * PATH_BYTES + self.names.bytes();
        let has_room = used + bytes <= self.limit_bytes;
        if !has_room {
            self.refused += 1;
            self.complete = false;
        }
        has_room
    }

    fn is_incomplete(&mut self) {
        self.complete = false;
    }

    fn finish(mut self) -> Index {
        self.entries.sort_unstable();
        self.entries.dedup_by_key(|(hash, _)| *hash);
        Index {
            key: self.key,
            paths: self.entries.iter().map(|(hash, _)| *hash).collect(),
            packages: self.entries.iter().map(|(_, package)| *package).collect(),
            names: self.names,
            layout: self.layout,
            complete: self.complete,
            refused: self.refused,
        }
    }
}

/// What tells one state of the databases from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State(Vec<Option<(SystemTime, u64)>>);

impl State {
    /// As the databases below `root` are now.
    pub(crate) fn read(root: &Path) -> Self {
        let files = dpkg::watched().chain(rpm::watched());
        let seen = files.map(|file| {
            let facts = std::fs::metadata(root.join(file)).ok()?;
            Some((facts.modified().ok()?, facts.len()))
        });
        Self(seen.collect())
    }
}

/// The directories in which a change of the databases shows.
pub(crate) fn directories(root: &Path) -> Vec<PathBuf> {
    let all = dpkg::directories().into_iter().chain(rpm::directories());
    all.map(|directory| root.join(directory)).collect()
}

/// The hash of a path that is given in two parts.
pub(super) fn hash_parts(key: Key, parts: [&[u8]; 2]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
    hasher.write(parts[0]);
    hasher.write(parts[1]);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn index(files: &[(&str, &[u8])]) -> Index {
        let root = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        Index::load(Layout::below(root.path()))
    }

    const DATABASE: &[u8] = include_bytes!("../../tests/data/rpmdb.sqlite");
    const LOG: &[u8] = include_bytes!("../../tests/data/rpmdb.sqlite-wal");

    #[test]
    fn rpms_database_is_found_in_every_place_and_dpkgs_beside_it() {
        for place in ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"] {
            let index = index(&[
                (&format!("{place}/rpmdb.sqlite"), DATABASE),
                (&format!("{place}/rpmdb.sqlite-wal"), LOG),
                ("var/lib/dpkg/info/first.list", b"/usr/bin/first\n"),
            ]);
            assert_eq!(
                index.owner("/usr/lib/large/helper-600"),
                Owner::Package("large")
            );
            assert_eq!(index.owner("/usr/bin/late"), Owner::Package("late"));
            assert_eq!(index.owner("/usr/bin/first"), Owner::Package("first"));
            assert_eq!(index.owner("/usr/bin/small-7"), Owner::Nobody);
        }
    }

    #[test]
    fn where_a_database_cannot_be_read_nobody_is_said_to_own_nothing() {
        let dpkg: (&str, &[u8]) = ("var/lib/dpkg/info/first.list", b"/usr/bin/first\n");
        for (name, bytes) in [
            ("var/lib/rpm/Packages", &b"berkeley"[..]),
            ("var/lib/rpm/rpmdb.sqlite", b"not one"),
            ("usr/lib/sysimage/rpm/Packages.db", b"not one"),
        ] {
            let index = index(&[dpkg, (name, bytes)]);
            assert_eq!(
                index.owner("/usr/bin/first"),
                Owner::Package("first"),
                "{name}"
            );
            assert_eq!(index.owner("/usr/bin/other"), Owner::Unknown, "{name}");
        }
        assert_eq!(index(&[]).owner("/usr/bin/other"), Owner::Unknown);
    }

    #[test]
    fn an_index_keeps_to_its_bound_and_then_knows_that_it_is_not_whole() {
        let mut builder = Builder::new(Layout::default(), 1000);
        let first = builder.package("first");
        for number in 0..1000 {
            builder.path(first, format!("/usr/bin/{number}").as_bytes());
        }
        let index = builder.finish();
        let usage = index.usage();
        assert!(usage.bytes <= 1000 && usage.evicted > 0, "{usage:?}");
        assert_eq!(index.owner("/usr/bin/0"), Owner::Package("first"));
        assert_eq!(index.owner("/usr/bin/999"), Owner::Unknown);
    }
}
