//! What can fail, each with its object and the way out.

use std::io;
use std::path::{Path, PathBuf};

/// A failed act of the outbox. Nothing of a failed append is there unless the disk broke in the
/// middle of a commit; then the record may be there once more than the caller was told.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Somebody else holds the directory.
    #[error("outbox {path} is in use: stop the other agent, or give this one another state directory", path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The record alone is over the quota.
    #[error(
        "record of {bytes} bytes does not fit into the outbox's quota of {quota}: raise the quota"
    )]
    TooLarge {
        /// With its overhead.
        bytes: u64,
        /// The quota.
        quota: u64,
    },
    /// The file system is full.
    #[error("no space left for outbox {path}: free space on its file system", path = path.display())]
    DiskFull {
        /// The database.
        path: PathBuf,
        /// What the store said.
        #[source]
        source: Box<redb::Error>,
    },
    /// A file operation failed.
    #[error("could not {act} {path}", path = path.display())]
    Disk {
        /// For example `make directory`.
        act: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The embedded store failed. It is opened anew by the next call.
    #[error("could not {act} outbox {path}", path = path.display())]
    Store {
        /// For example `append to`.
        act: &'static str,
        /// The database.
        path: PathBuf,
        /// What the store said.
        #[source]
        source: Box<redb::Error>,
    },
}

impl SpoolError {
    pub(crate) fn disk(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk {
            act,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn store(act: &'static str, path: &Path, error: redb::Error) -> Self {
        let full = matches!(&error, redb::Error::Io(io) if is_full(io.kind()));
        let (path, source) = (path.to_owned(), Box::new(error));
        if full {
            Self::DiskFull { path, source }
        } else {
            Self::Store { act, path, source }
        }
    }
}

fn is_full(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
