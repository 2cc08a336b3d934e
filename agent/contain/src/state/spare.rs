//! Room for the isolation's state on a disk that is full: whoever fills it must not keep the host from being cut off.
//!
//! Two files lie ready. What finds no room is written over one of them, which then takes the state file's name; neither
//! needs a free block. Two, because an isolation is written twice before anything is freed: the intent, and what went in.
//!
//! A file system that never writes in place (btrfs, ZFS) needs free blocks all the same; there the write fails as it
//! would have without them.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const NAMES: [&str; 2] = ["isolation.spare-1", "isolation.spare-2"];
/// Enough for an isolation with some hundred allowed ends.
const BYTES: usize = 64 << 10;

/// Makes those that are missing, where there is room.
pub(super) fn keep(folder: &Path) {
    for path in NAMES.map(|name| folder.join(name)) {
        let is_there = fs::symlink_metadata(&path)
            .is_ok_and(|meta| meta.is_file() && meta.len() == BYTES as u64);
        if !is_there && fill(&path).is_err() {
            // Half of one keeps no room, it takes some.
            drop(fs::remove_file(&path));
        }
    }
}

/// Writes `content` over one of them, durably; says which.
pub(super) fn write_over(folder: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let mut last = ErrorKind::StorageFull.into();
    for path in NAMES.map(|name| folder.join(name)) {
        match overwrite(&path, content) {
            Ok(()) => return Ok(path),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn fill(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    // Written and not only reserved: blocks that were never written may take another one when they are.
    file.write_all(&vec![b' '; BYTES])?;
    file.sync_all()
}

fn overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let bytes = content.len() as u64;
    if bytes > file.metadata()?.len() {
        return Err(ErrorKind::StorageFull.into());
    }
    file.write_all(content)?;
    file.set_len(bytes)?;
    file.sync_all()
}
