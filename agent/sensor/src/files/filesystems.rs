//! Which file systems are marked, and how to reach what is on them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::fanotify::{Group, fsid, fsid_of, handle_of, open_handle, tells_below_overlays};
use super::mounts::{FileSystem, Mounts, of_others};

/// Most file systems that are marked.
const MOST: usize = 1024;

/// A marked one.
#[derive(Debug)]
pub(super) struct Marked {
    at: PathBuf,
    /// Files on it can be opened by handle.
    pub opens: bool,
}

/// All that are marked, by fsid.
#[derive(Debug)]
pub(super) struct FileSystems {
    by_fsid: HashMap<[u8; 8], Marked>,
    /// Whether what is written through overlays is told on the file systems below them.
    pub tells_below_overlays: bool,
    /// Local ones that could not be marked, with why.
    pub refused: Vec<String>,
}

impl FileSystems {
    /// With none marked yet.
    pub(super) fn new() -> Self {
        Self {
            by_fsid: HashMap::new(),
            tells_below_overlays: tells_below_overlays(),
            refused: Vec::new(),
        }
    }

    /// Marks every local file system there is now but overlays: the kernel takes no such mark on most, and
    /// what is done through them is told of the file system below, which has the files. To mark again changes
    /// nothing, so none is missed that took the device number of one that is gone.
    pub(super) fn refresh(&mut self, group: &Group, mask: u64, mounts: &Mounts) {
        let mut found = mounts.local.clone();
        found.extend(of_others());
        let mut devices = HashSet::new();
        found.retain(|one| devices.insert(one.device.clone()));
        self.by_fsid.clear();
        self.refused.clear();
        for one in found.into_iter().take(MOST) {
            if one.kind == "overlay" {
                self.refused.extend(out_of_reach(&one, mounts));
                continue;
            }
            match mark(group, mask, &one) {
                Ok((id, opens)) => {
                    self.by_fsid.insert(id, Marked { at: one.at, opens });
                }
                // Unmounted since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.refused.push(why_not(&one, &error)),
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_fsid.is_empty()
    }

    pub(super) fn of(&self, handle: &[u8]) -> Option<&Marked> {
        self.by_fsid.get(fsid(handle))
    }

    /// Something on the file system that the handle names, for [`super::fanotify::open_handle`]. Not
    /// kept open: that would stand in the way of an unmount.
    pub(super) fn open(&self, handle: &[u8]) -> Option<OwnedFd> {
        let marked = self.of(handle)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(&marked.at, flags, Mode::empty()).ok()?;
        let is_same = fsid_of(&root).is_ok_and(|id| id == fsid(handle));
        is_same.then_some(root)
    }

    /// Those whose files cannot be opened by handle.
    pub(super) fn without_samples(&self) -> Vec<String> {
        let closed = self.by_fsid.values().filter(|marked| !marked.opens);
        closed
            .map(|marked| marked.at.display().to_string())
            .collect()
    }
}

/// Its fsid, and whether it opens files by handle.
fn mark(group: &Group, mask: u64, one: &FileSystem) -> io::Result<([u8; 8], bool)> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(&one.at, flags, Mode::empty())?;
    group.mark_open(libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM, mask, &root)?;
    let opens = handle_of(&root)
        .and_then(|handle| open_handle(&root, &handle, libc::O_PATH | libc::O_CLOEXEC))
        .is_ok();
    Ok((fsid_of(&root)?, opens))
}

/// An overlay of which nobody says what is done to it. One without an upper directory has nothing to say. It may
/// have been mounted from this mount namespace, or the host's, under a name of it.
fn out_of_reach(one: &FileSystem, mounts: &Mounts) -> Option<String> {
    let upper = one.lost_upper.as_ref()?;
    let is_out = !mounts.has(upper, Path::new("/"));
    is_out.then(|| {
        format!(
            "overlay at {}: its upper directory is out of reach",
            one.at.display()
        )
    })
}

fn why_not(one: &FileSystem, error: &io::Error) -> String {
    format!("{} at {}: {error}", one.kind, one.at.display())
}
