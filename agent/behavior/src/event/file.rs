//! What is done to files.

use serde::{Deserialize, Serialize};

/// An operation on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileOp {
    /// Made.
    Create,
    /// Closed after it was open for writing and changed.
    Write,
    /// Moved; `to` is where.
    Rename,
    /// Removed.
    Unlink,
    /// A second name; `to` is the new one where the first is known too, else `path` is the new one or,
    /// of a secret or decoy, the first.
    Link,
    /// Mode changed so that it runs with its owner's or group's rights.
    Chmod,
    /// Opened for reading (only of what is listed as secret or decoy).
    Read,
}

impl FileOp {
    /// As JSON names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Rename => "rename",
            Self::Unlink => "unlink",
            Self::Link => "link",
            Self::Chmod => "chmod",
            Self::Read => "read",
        }
    }
}

/// Why a path is watched.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// It is on the list of watched paths.
    #[default]
    Watched,
    /// It holds a secret (password hashes, private keys, tokens).
    Secret,
    /// A decoy: nobody has a reason to touch it.
    Decoy,
}

impl Sensitivity {
    /// As JSON names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Watched => "watched",
            Self::Secret => "secret",
            Self::Decoy => "decoy",
        }
    }
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// What was done.
    pub op: FileOp,
    /// To which file.
    pub path: String,
    /// The new name of a rename or link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why it is told.
    #[serde(default)]
    pub sensitivity: Sensitivity,
}

/// A process's changes to files in one interval, watched paths or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileRates {
    /// Length of the interval, nanoseconds.
    pub interval_ns: u64,
    /// Files closed after writing.
    pub written: u32,
    /// Files made.
    pub created: u32,
    /// Renames.
    pub renamed: u32,
    /// Files removed.
    pub unlinked: u32,
    /// Distinct directories in which that happened, at most 65,535.
    pub directories: u16,
    /// Mean Shannon entropy of the samples, bits a byte, 0 to 8; `None` when none was taken.
    pub entropy: Option<f32>,
    /// How many samples (of up to 4 KiB) that is the mean of.
    pub samples: u32,
    /// Of the sampled files, those that look encrypted and took the place of another file: written over it, made
    /// beside it before that was removed, or moved to its name.
    pub encrypted: u32,
}
