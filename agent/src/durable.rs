//! Small files that are replaced whole, and are on disk when the call returns.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A failed act on a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {path}{remedy}", path = path.display(), remedy = remedy(source))]
pub struct DiskError {
    act: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => " (run as root)",
        ErrorKind::StorageFull => " (free some space)",
        _ => "",
    }
}

impl DiskError {
    pub(crate) fn of(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { act, path, source }
    }
}

/// Makes a folder, and those above it, for its owner only.
pub(crate) fn make_folder(path: &Path) -> Result<(), DiskError> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.map_err(DiskError::of("make folder", path))
}

/// The file holds `bytes` and nothing else, readable by its owner only; after a crash it holds
/// either what it held before or all of `bytes`.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let fresh = write_beside(path, bytes, true)?;
    fs::rename(&fresh, path).map_err(DiskError::of("replace", path))?;
    sync_folder(path)
}

/// Like [`replace`], but outlives only the process, not a power cut: costs microseconds.
pub(crate) fn replace_unsynced(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let fresh = write_beside(path, bytes, false)?;
    fs::rename(&fresh, path).map_err(DiskError::of("replace", path))
}

fn write_beside(path: &Path, bytes: &[u8], sync: bool) -> Result<PathBuf, DiskError> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    // Left by a crash half-way: never renamed, so never the truth.
    remove(&fresh)?;
    let mut options = OpenOptions::new();
    let opened = options
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&fresh);
    let mut file = opened.map_err(DiskError::of("create", &fresh))?;
    file.write_all(bytes)
        .and_then(|()| if sync { file.sync_all() } else { Ok(()) })
        .map_err(DiskError::of("write", &fresh))?;
    Ok(fresh)
}

/// The file's content; `None` when there is no such file; an error when it is over `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, DiskError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(DiskError::of("read", path))?,
    };
    let mut bytes = Vec::new();
    let taken = file.take(most + 1).read_to_end(&mut bytes);
    taken.map_err(DiskError::of("read", path))?;
    if bytes.len() as u64 > most {
        let why = io::Error::other(format!("it has more than {most} bytes"));
        return Err(DiskError::of("read", path)(why));
    }
    Ok(Some(bytes))
}

/// The file's JSON, when it is of this `version`; what is wrong with it, in words, when it is not.
pub(crate) fn read_json<T: DeserializeOwned>(
    path: &Path,
    most: u64,
    version: u32,
) -> Result<Option<T>, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Some(json) = read(path, most).map_err(|error| crate::chain(&error))? else {
        return Ok(None);
    };
    let found: Versioned = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    if found.version != version {
        return Err(format!("version {} is not {version}", found.version));
    }
    let content = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    Ok(Some(content))
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.map_err(DiskError::of("remove", path)),
    }
}

fn sync_folder(path: &Path) -> Result<(), DiskError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(DiskError::of("sync folder", folder))
}
