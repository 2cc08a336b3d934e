//! Programs that must not run.

use serde::{Deserialize, Serialize};

/// Programs that must not run, whoever starts them. An agent that may act kills them before their first instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockedPrograms {
    /// Paths of images, as a process sees them from its own root, links followed: absolute, at most
    /// [`MAX_PROGRAM_PATH_BYTES`]. At most [`MAX_PROGRAM_PATHS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Images by their content, wherever they lie. At most [`MAX_PROGRAM_FILES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<BlockedFile>,
}

/// One content of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockedFile {
    /// SHA-256, hex (64 digits).
    pub sha256: String,
    /// Length. With it even the first start is stopped before its first instruction; without it a file that the agent
    /// has not looked at yet runs until it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Longest path of a [`BlockedPrograms`].
pub const MAX_PROGRAM_PATH_BYTES: usize = 254;
/// Most paths.
pub const MAX_PROGRAM_PATHS: usize = 1024;
/// Most contents.
pub const MAX_PROGRAM_FILES: usize = 4096;

impl BlockedPrograms {
    /// Nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.files.is_empty()
    }

    pub(super) fn check(&self, protected: &[String]) -> Result<(), String> {
        let (paths, files) = (self.paths.len(), self.files.len());
        if paths > MAX_PROGRAM_PATHS || files > MAX_PROGRAM_FILES {
            return Err(format!(
                "{paths} paths and {files} files are more than {MAX_PROGRAM_PATHS} and {MAX_PROGRAM_FILES}"
            ));
        }
        for path in &self.paths {
            let why = if !is_plain(path) {
                "must be an absolute path without //, . and .."
            } else if path.len() > MAX_PROGRAM_PATH_BYTES {
                "is longer than 254 bytes"
            } else if protected.contains(path) {
                "is one of protected_processes too"
            } else {
                continue;
            };
            return Err(format!("{path:?} {why}"));
        }
        for file in &self.files {
            if hex::decode(&file.sha256).map_or(0, |bytes| bytes.len()) != 32 {
                return Err(format!("{:?} is not a SHA-256 in hex", file.sha256));
            }
            if file.bytes == Some(0) {
                return Err(format!("{}: no program has 0 bytes", file.sha256));
            }
        }
        Ok(())
    }
}

/// A path that only one text names.
pub(crate) fn is_plain(path: &str) -> bool {
    let names = path.strip_prefix('/');
    names.is_some_and(|names| {
        names
            .split('/')
            .all(|name| !matches!(name, "" | "." | "..") && !name.contains('\0'))
    })
}
