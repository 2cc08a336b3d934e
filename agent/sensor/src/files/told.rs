//! What was done to a file, on its way from the marks to the teller.

use std::path::Path;

use cordon_behavior::event::{FileChange, FileOp};

use super::decode::NamedFile;
use super::fanotify::Handle;
use super::tell::Tell;

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub pid: u32,
    pub change: FileChange,
    /// A rename of which the kernel told this group one place only.
    pub half: Option<Half>,
    /// It was in a young directory: both groups may tell of it.
    pub is_young: bool,
}

/// The known place of a rename.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Half {
    pub dir: Handle,
    pub name: Box<[u8]>,
    /// It is the new place.
    pub is_new: bool,
}

impl Told {
    pub(super) fn new(pid: u32, op: FileOp, path: &Path, to: Option<&Path>, tell: Tell) -> Self {
        let change = FileChange {
            op,
            path: path.to_string_lossy().into_owned(),
            to: to.map(|to| to.to_string_lossy().into_owned()),
            sensitivity: tell.sensitivity(),
        };
        Self {
            pid,
            change,
            half: None,
            is_young: false,
        }
    }
}

impl Half {
    pub(super) fn new(place: NamedFile<'_>, is_new: bool) -> Self {
        Self {
            dir: place.dir.into(),
            name: place.name.into(),
            is_new,
        }
    }
}
