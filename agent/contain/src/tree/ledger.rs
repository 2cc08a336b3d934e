//! Who was frozen, on disk: written before the freeze, so that a killed agent leaves nobody frozen without a note.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::Name;
use crate::clock::boot_id;
use crate::error::ContainError;

const FILE: &str = "frozen.json";

/// A process that was frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub name: Name,
    pub exe: String,
    /// Of the tree as one of which it was frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Name>,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    /// Another boot has other processes with these names.
    boot: String,
    frozen: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
}

impl Ledger {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(FILE),
        }
    }

    /// Those of this boot who have not ended.
    pub(super) fn read(&self) -> Result<Vec<Entry>, ContainError> {
        let json = match fs::read(&self.path) {
            Ok(json) => json,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(ContainError::disk("read", &self.path)(error)),
        };
        let on_disk: OnDisk =
            serde_json::from_slice(&json).map_err(|error| ContainError::Damaged {
                path: self.path.clone(),
                why: error.to_string(),
            })?;
        if on_disk.boot != boot_id()? {
            return Ok(Vec::new());
        }
        let mut frozen = on_disk.frozen;
        frozen.retain(|entry| !entry.name.has_ended());
        Ok(frozen)
    }

    /// Replaces what is there. Does not wait for the disk: a power cut ends the frozen too.
    pub(super) fn write(&self, frozen: Vec<Entry>) -> Result<(), ContainError> {
        if frozen.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(ContainError::disk("remove", &self.path)(error))
                }
                _ => Ok(()),
            };
        }
        let boot = boot_id()?;
        let json = serde_json::to_vec(&OnDisk { boot, frozen }).expect("names are plain numbers");
        let new = self.path.with_extension("json.new");
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new);
        file.and_then(|mut file| file.write_all(&json))
            .map_err(ContainError::disk("write", &new))?;
        fs::rename(&new, &self.path).map_err(ContainError::disk("replace", &self.path))
    }
}
