//! rpm: the databases there are, and the header of a package in them.

use std::fs::File;
use std::io;
use std::path::Path;

use super::Builder;
use super::bytes::{DatabaseError, big, part};
use super::ndb::ndb_blobs;
use super::sqlite::sqlite_column;

/// Where distributions keep the database.
const PLACES: [&str; 3] = ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"];
/// The kinds of database, by their file's name.
const SQLITE: &str = "rpmdb.sqlite";
const NDB: &str = "Packages.db";
const BERKELEY: &str = "Packages";

const TAG_NAME: u64 = 1000;
const TAG_DIRINDEXES: u64 = 1116;
const TAG_BASENAMES: u64 = 1117;
const TAG_DIRNAMES: u64 = 1118;
/// As `PATH_MAX`: no longer path can be executed, and a hostile header could make much of little.
const PATH_BYTES: usize = 4096;

/// The files whose change means that packages changed.
pub(super) fn watched() -> impl Iterator<Item = String> {
    let files = [SQLITE, "rpmdb.sqlite-wal", NDB, BERKELEY];
    PLACES
        .into_iter()
        .flat_map(move |place| files.map(|file| format!("{place}/{file}")))
}

/// The directories in which they are.
pub(super) fn directories() -> [&'static str; 3] {
    PLACES
}

/// Reads the first database that there is below `root`; false when there is none.
pub(super) fn load(root: &Path, builder: &mut Builder) -> Result<bool, DatabaseError> {
    for place in PLACES.map(|place| root.join(place)) {
        if let Some(file) = open(&place.join(SQLITE))? {
            let wal = open(&place.join("rpmdb.sqlite-wal"))?;
            let each = &mut |blob: &[u8]| add(blob, builder);
            sqlite_column(&file, wal.as_ref(), "Packages", 1, each)?;
            return Ok(true);
        }
        if let Some(file) = open(&place.join(NDB))? {
            ndb_blobs(&file, &mut |blob| add(blob, builder))?;
            return Ok(true);
        }
        if open(&place.join(BERKELEY))?.is_some() {
            return Err(DatabaseError::Damaged(
                "it is a Berkeley one of rpm before 4.16, which is not read: convert it by rpmdb --rebuilddb",
            ));
        }
    }
    Ok(false)
}

fn open(path: &Path) -> Result<Option<File>, DatabaseError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One package with all its paths. One that cannot be read leaves the whole not complete.
fn add(blob: &[u8], builder: &mut Builder) {
    let package = rpm_name(blob).map(|name| builder.package(&String::from_utf8_lossy(name)));
    let added =
        package.and_then(|package| rpm_paths(blob, &mut |path| builder.path(package, path)));
    if added.is_err() {
        builder.is_incomplete();
    }
}

/// The name of the package whose header this is.
pub fn rpm_name(header: &[u8]) -> Result<&[u8], DatabaseError> {
    let entry =
        Entry::find(header, TAG_NAME)?.ok_or(DatabaseError::Damaged("a package has no name"))?;
    entry
        .strings()
        .next()
        .ok_or(DatabaseError::Damaged("a name has no end"))
}

/// Calls `each` with every path of the package whose header this is.
pub fn rpm_paths(header: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), DatabaseError> {
    let Some(names) = Entry::find(header, TAG_BASENAMES)? else {
        return Ok(());
    };
    let without = DatabaseError::Damaged("a package's files are in no directory");
    let (Some(directories), Some(indexes)) = (
        Entry::find(header, TAG_DIRNAMES)?,
        Entry::find(header, TAG_DIRINDEXES)?,
    ) else {
        return Err(without);
    };
    let directories: Vec<&[u8]> = directories.strings().collect();
    let mut path = Vec::new();
    for (number, name) in names.strings().enumerate() {
        let index = big(indexes.data, 4 * number, 4)? as usize;
        let directory = directories.get(index).ok_or(DatabaseError::Damaged(
            "a package's files are in no directory",
        ))?;
        if directory.len() + name.len() <= PATH_BYTES {
            path.clear();
            path.extend_from_slice(directory);
            path.extend_from_slice(name);
            each(&path);
        }
    }
    Ok(())
}

/// A tag's data: from where it begins to the end of the header, and how many values it has.
struct Entry<'a> {
    data: &'a [u8],
    count: usize,
}

impl<'a> Entry<'a> {
    /// A header has the number of its entries and the length of its data, then entries of tag, type, offset and
    /// count, then the data; all numbers are big-endian.
    fn find(header: &'a [u8], tag: u64) -> Result<Option<Self>, DatabaseError> {
        let entries = big(header, 0, 4)? as usize;
        let length = big(header, 4, 4)? as usize;
        let index = part(header, 8, entries.saturating_mul(16))?;
        let data = part(header, 8 + index.len(), length)?;
        for entry in index.chunks_exact(16) {
            if big(entry, 0, 4)? == tag {
                let offset = big(entry, 8, 4)? as usize;
                let data = part(data, offset, length.saturating_sub(offset))?;
                let count = big(entry, 12, 4)? as usize;
                return Ok(Some(Self { data, count }));
            }
        }
        Ok(None)
    }

    /// The values of a string or an array of strings: each ends with a NUL.
    fn strings(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let ended = self.data.split_inclusive(|byte| *byte == 0);
        // What follows the last NUL is no string.
        ended
            .take(self.count)
            .map_while(|string| string.strip_suffix(&[0]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header of a package with these paths.
    fn header(name: &str, paths: &[(&str, &str)]) -> Vec<u8> {
        let mut data = Vec::new();
        let mut index = Vec::new();
        let mut entry = |tag: u64, kind: u32, count: usize, bytes: Vec<u8>, data: &mut Vec<u8>| {
            for number in [tag as u32, kind, data.len() as u32, count as u32] {
                index.extend(number.to_be_bytes());
            }
            data.extend(bytes);
        };
        let strings = |of: &dyn Fn(&(&str, &str)) -> String| -> Vec<u8> {
            paths
                .iter()
                .flat_map(|path| (of(path) + "\0").into_bytes())
                .collect()
        };
        let numbers = (0..paths.len() as u32).flat_map(u32::to_be_bytes).collect();
        entry(TAG_NAME, 6, 1, format!("{name}\0").into_bytes(), &mut data);
        entry(TAG_DIRINDEXES, 4, paths.len(), numbers, &mut data);
        entry(
            TAG_BASENAMES,
            8,
            paths.len(),
            strings(&|path| path.1.to_owned()),
            &mut data,
        );
        entry(
            TAG_DIRNAMES,
            8,
            paths.len(),
            strings(&|path| path.0.to_owned()),
            &mut data,
        );
        let mut header = ((index.len() / 16) as u32).to_be_bytes().to_vec();
        header.extend((data.len() as u32).to_be_bytes());
        header.extend(index);
        header.extend(data);
        header
    }

    fn paths(header: &[u8]) -> Result<Vec<String>, DatabaseError> {
        let mut found = Vec::new();
        rpm_paths(header, &mut |path| {
            found.push(String::from_utf8_lossy(path).into_owned());
        })?;
        Ok(found)
    }

    #[test]
    fn a_header_tells_its_name_and_paths() {
        let header = header("bash", &[("/usr/bin/", "bash"), ("/", "")]);
        assert_eq!(rpm_name(&header).unwrap(), b"bash");
        assert_eq!(paths(&header).unwrap(), ["/usr/bin/bash", "/"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            rpm_name(&bytes).ok();
            paths(&bytes).ok();
        }

        #[test]
        fn a_damaged_header_is_read_without_a_panic(
            damage in proptest::collection::vec((0..200usize, any::<u8>()), 1..20),
            cut in 0..200usize,
        ) {
            let mut header = header("bash", &[("/usr/bin/", "bash"), ("/usr/lib/", "x")]);
            for (at, byte) in damage {
                let at = at % header.len();
                header[at] = byte;
            }
            header.truncate(header.len().saturating_sub(cut / 4));
            rpm_name(&header).ok();
            paths(&header).ok();
        }
    }
}
