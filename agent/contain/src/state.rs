//! The isolation on disk: one JSON file, replaced whole, durable before anything is dropped.

mod spare;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::ContainError;
use crate::rules::Parts;
use crate::spec::IsolationSpec;

const VERSION: u32 = 1;
const FILE: &str = "isolation.json";
const DAMAGED: &str = "isolation.json.damaged";
const LOCK: &str = "isolation.lock";
/// A state file is a few kilobytes; anything larger is not one.
const MAX_BYTES: u64 = 1 << 20;

/// How far the isolation on disk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Wanted: the rules are in the kernel or must get there.
    Shut,
    /// A release has begun: the rules must go, then this file.
    Releasing,
}

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OnDisk {
    version: u32,
    pub(crate) phase: Phase,
    pub(crate) spec: IsolationSpec,
    /// As the kernel listed the rules after they went in; `None` until then.
    pub(crate) rules_sha256: Option<String>,
    /// What the kernel took.
    #[serde(flatten)]
    pub(crate) parts: Parts,
}

impl OnDisk {
    pub(crate) fn intended(spec: IsolationSpec) -> Self {
        Self {
            version: VERSION,
            phase: Phase::Shut,
            spec,
            rules_sha256: None,
            parts: Parts::ALL,
        }
    }

    /// What of it is in the kernel, from somebody who knows better.
    pub(crate) fn with_rules_of(self, newer: &Self) -> Self {
        Self {
            rules_sha256: newer.rules_sha256.clone(),
            parts: newer.parts,
            ..self
        }
    }

    pub(crate) fn releasing(self) -> Self {
        Self {
            phase: Phase::Releasing,
            ..self
        }
    }
}

/// The directory that holds the file. One process at a time holds its lock for each operation.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Makes the directory where it is missing, readable by its owner only.
    pub(crate) fn open(path: &Path) -> Result<Self, ContainError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(ContainError::disk("make directory", path))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Held until dropped; also by the kernel when the process dies. A disk that takes nothing lets itself be locked all
    /// the same, or nothing could be opened on it.
    pub(crate) fn lock(&self) -> Result<Flock<File>, ContainError> {
        let path = self.path.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .or_else(|error| {
                let as_it_is = File::open(&path).or_else(|_| File::open(&self.path));
                as_it_is.map_err(|_| error)
            })
            .map_err(ContainError::disk("open", &path))?;
        Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| ContainError::disk("lock", path)(errno.into()))
    }

    /// The isolation on disk. A file that does not parse is [`ContainError::Damaged`], never "nothing".
    pub(crate) fn read(&self) -> Result<Option<OnDisk>, ContainError> {
        let state: Option<OnDisk> = self.read_file(FILE)?;
        match state {
            Some(state) if state.version != VERSION => Err(ContainError::Damaged {
                path: self.path.join(FILE),
                why: format!("version {} is not version {VERSION}", state.version),
            }),
            state => Ok(state),
        }
    }

    /// Durable when it returns: file, name and directory. A full disk has room kept for it.
    pub(crate) fn write(&self, state: &OnDisk) -> Result<(), ContainError> {
        match self.write_file(FILE, state) {
            Err(full) if full.is_full_disk() => self.write_over_spare(state).map_err(|_| full),
            written => written,
        }
    }

    fn write_over_spare(&self, state: &OnDisk) -> Result<(), ContainError> {
        let written = spare::write_over(&self.path, &to_json(state));
        let written = written.map_err(ContainError::disk("write", &self.path))?;
        let path = self.path.join(FILE);
        fs::rename(written, &path).map_err(ContainError::disk("replace", &path))?;
        self.sync()
    }

    /// Keeps room for an isolation, as far as the disk has some.
    pub(crate) fn keep_spares(&self) {
        spare::keep(&self.path);
    }

    /// What a file of the directory says, if it is there.
    pub(crate) fn read_file<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, ContainError> {
        let path = self.path.join(name);
        let damaged = |why: String| ContainError::Damaged {
            path: path.clone(),
            why,
        };
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ContainError::disk("read", &path)(error)),
            Ok(meta) if meta.len() > MAX_BYTES => {
                return Err(damaged(format!("{} bytes are too many", meta.len())));
            }
            Ok(_) => {}
        }
        let json = fs::read(&path).map_err(ContainError::disk("read", &path))?;
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|error| damaged(error.to_string()))
    }

    /// Replaces a file of the directory, durably.
    pub(crate) fn write_file(
        &self,
        name: &str,
        content: &impl Serialize,
    ) -> Result<(), ContainError> {
        let temporary = self.path.join(format!("{name}.new"));
        let path = self.path.join(name);
        // Left by a crash half-way: never renamed, so never the truth.
        remove(&temporary)?;
        let replaced = make(&temporary, &to_json(content)).and_then(|()| {
            fs::rename(&temporary, &path).map_err(ContainError::disk("replace", &path))
        });
        if replaced.is_err() {
            // Half a file on a full disk is in the way of everybody.
            drop(fs::remove_file(&temporary));
        }
        replaced?;
        self.sync()
    }

    /// Removes a file of the directory, durably.
    pub(crate) fn remove_file(&self, name: &str) -> Result<(), ContainError> {
        remove(&self.path.join(name))?;
        self.sync()
    }

    /// Forgets the isolation, durably.
    pub(crate) fn forget(&self) -> Result<(), ContainError> {
        self.remove_file(FILE)
    }

    /// Keeps a damaged file for whoever investigates, out of the way.
    pub(crate) fn set_aside(&self) -> Result<(), ContainError> {
        let path = self.path.join(FILE);
        match fs::rename(&path, self.path.join(DAMAGED)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(ContainError::disk("set aside", path)(error))
            }
            _ => self.sync(),
        }
    }

    fn sync(&self) -> Result<(), ContainError> {
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(ContainError::disk("sync directory", &self.path))
    }
}

fn to_json(content: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(content).expect("states have string keys only")
}

fn make(path: &Path, content: &[u8]) -> Result<(), ContainError> {
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(ContainError::disk("create", path))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(ContainError::disk("write", path))
}

fn remove(path: &Path) -> Result<(), ContainError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(ContainError::disk("remove", path)(error))
        }
        _ => Ok(()),
    }
}
