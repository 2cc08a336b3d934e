//! From the bits of an event to what was done.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use cordon_behavior::event::FileOp;

use super::tell::Tell;

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o010;

/// What is there now, after the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub exists: bool,
    /// A file that runs with its owner's or group's rights.
    pub is_set_id: bool,
    /// A file with more than one name.
    pub is_linked: bool,
}

impl Facts {
    pub(super) fn of(metadata: Option<&Metadata>) -> Self {
        let Some(metadata) = metadata else {
            return Self::default();
        };
        let mode = metadata.mode();
        let runs_as_group = mode & SET_GID != 0 && mode & GROUP_EXECUTE != 0;
        Self {
            exists: true,
            is_set_id: metadata.is_file() && (mode & SET_UID != 0 || runs_as_group),
            is_linked: metadata.is_file() && metadata.nlink() > 1,
        }
    }
}

/// The operations that the bits of an event of a named file stand for, renames aside, in the order in
/// which they can have been. The kernel merges what one process does to one name while nobody reads.
pub(super) fn operations(mask: u64, tell: Tell, facts: Facts) -> Vec<FileOp> {
    let has = |bit| mask & bit != 0;
    let mut operations = Vec::new();
    let is_made_again = has(libc::FAN_DELETE) && has(libc::FAN_CREATE) && facts.exists;
    if tell.is_of_changes() {
        if is_made_again {
            operations.push(FileOp::Unlink);
        }
        if has(libc::FAN_CREATE) {
            operations.push(if facts.is_linked {
                FileOp::Link
            } else {
                FileOp::Create
            });
        } else if has(libc::FAN_OPEN) && tell.is_of_reads() {
            operations.push(FileOp::Read);
        }
        if has(libc::FAN_CLOSE_WRITE) {
            operations.push(FileOp::Write);
        }
    }
    let is_touched = tell.has(Tell::DECOY) && has(libc::FAN_ATTRIB) && !has(libc::FAN_CREATE);
    if is_touched || (facts.is_set_id && has(libc::FAN_ATTRIB | libc::FAN_CREATE)) {
        operations.push(FileOp::Chmod);
    }
    if tell.is_of_changes() && has(libc::FAN_DELETE) && !is_made_again {
        operations.push(FileOp::Unlink);
    }
    operations
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileOp::{Chmod, Create, Link, Read, Unlink, Write};
    use libc::{FAN_ATTRIB, FAN_CLOSE_WRITE, FAN_CREATE, FAN_DELETE, FAN_OPEN};

    const THERE: Facts = Facts {
        exists: true,
        is_set_id: false,
        is_linked: false,
    };
    const SET: Facts = Facts {
        is_set_id: true,
        ..THERE
    };
    const LINKED: Facts = Facts {
        is_linked: true,
        ..THERE
    };

    #[test]
    fn merged_bits_are_told_in_an_order_that_can_have_been() {
        let gone = Facts::default();
        let table: [(u64, Tell, Facts, &[FileOp]); 12] = [
            (
                FAN_CREATE | FAN_CLOSE_WRITE,
                Tell::WATCHED,
                THERE,
                &[Create, Write],
            ),
            (
                FAN_CREATE | FAN_DELETE,
                Tell::WATCHED,
                gone,
                &[Create, Unlink],
            ),
            (
                FAN_CREATE | FAN_DELETE,
                Tell::WATCHED,
                THERE,
                &[Unlink, Create],
            ),
            (FAN_CREATE, Tell::WATCHED, LINKED, &[Link]),
            (FAN_ATTRIB, Tell::WATCHED, THERE, &[]),
            (FAN_ATTRIB, Tell::WATCHED, SET, &[Chmod]),
            (FAN_ATTRIB, Tell::SET_ID, SET, &[Chmod]),
            (FAN_CREATE | FAN_CLOSE_WRITE, Tell::SET_ID, THERE, &[]),
            (FAN_OPEN, Tell::WATCHED, THERE, &[]),
            (FAN_OPEN, Tell::SECRET, THERE, &[Read]),
            (FAN_OPEN | FAN_ATTRIB, Tell::DECOY, THERE, &[Read, Chmod]),
            (FAN_OPEN | FAN_CREATE, Tell::SECRET, THERE, &[Create]),
        ];
        for (mask, tell, facts, wanted) in table {
            assert_eq!(operations(mask, tell, facts), wanted, "{mask:x} {tell:?}");
        }
    }
}
