//! What can fail, each with its object.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

/// A failed act of containment.
#[derive(Debug, thiserror::Error)]
pub enum ContainError {
    /// No `nft` in PATH.
    #[error("nft not found: install the nftables package")]
    NftMissing,
    /// `nft` is there and would not start.
    #[error("nft could not be started")]
    NftStart(#[source] io::Error),
    /// `nft` said no.
    #[error("nft refused to {act}: {stderr}")]
    NftRefused {
        /// What was asked for.
        act: &'static str,
        /// What it said, in one line.
        stderr: String,
    },
    /// `nft` did not come back in time and was killed.
    #[error("nft did not {act} within {} ms and was killed", limit.as_millis())]
    NftTimeout {
        /// What was asked for.
        act: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// `nft` answered something that is not its own JSON.
    #[error("nft listed table {table} in a form that is not known")]
    NftOutput {
        /// The table.
        table: &'static str,
        /// The parser's complaint.
        #[source]
        source: serde_json::Error,
    },
    /// A pipe or memory file for `nft` failed.
    #[error("talking to nft failed")]
    NftPipe(#[source] io::Error),
    /// A file operation failed.
    #[error("could not {act} {path}{remedy}", path = path.display(), remedy = remedy(source))]
    Disk {
        /// For example `write`.
        act: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's complaint.
        #[source]
        source: io::Error,
    },
    /// The state file is there and unreadable as such.
    #[error("state file {path} is damaged: {why}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The rules were about to go in with nothing on disk.
    #[error("isolation {0} is not on disk: write the intent before applying it")]
    NotIntended(cordon_proto::id::IsolationId),
    /// A netlink conversation failed.
    #[error("netlink: could not {act}")]
    Netlink {
        /// What was asked of the kernel.
        act: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// No cgroup2 is mounted here.
    #[error(
        "cgroup2 is not mounted: mount it on /sys/fs/cgroup (mount -t cgroup2 none /sys/fs/cgroup)"
    )]
    NoCgroup2,
    /// The isolation has neither controller nor lease, so nothing could ever open it remotely.
    #[error("isolation names no controller address and no lease: it could never be opened again")]
    NoWayBack,
}

impl ContainError {
    /// The disk has no room. What is on it can still be written over.
    pub(crate) fn is_full_disk(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if is_full(source))
    }

    /// With its causes, in one line.
    pub(crate) fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    pub(crate) fn disk(
        act: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { act, path, source }
    }

    pub(crate) fn netlink(act: &'static str) -> impl Fn(nix::Error) -> Self {
        move |errno| Self::Netlink {
            act,
            source: errno.into(),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// What to do about a disk that takes nothing.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if is_full(error) => " (free some space on its file system)",
        ErrorKind::ReadOnlyFilesystem => {
            " (its file system is read-only: `dmesg` may say why, `mount -o remount,rw` makes it writable)"
        }
        _ => "",
    }
}
