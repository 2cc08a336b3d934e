//! What one notice says was done to one file.

use super::entropy::Sample;

/// What was done to one file.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the kernel merges any of them into one event"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub written: bool,
    pub created: bool,
    pub renamed: bool,
    pub unlinked: bool,
}

/// What was done to one file, where, and what a sample of it says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub changes: Changes,
    /// Hash of the directory.
    pub dir_hash: u64,
    pub sample: Option<Sample>,
    /// It took the place of another file and looks encrypted.
    pub encrypted: bool,
}

/// Pids of those who made a process and are counted its changes for, nearest first; 0: nobody.
pub(super) type Above = [u32; 2];
