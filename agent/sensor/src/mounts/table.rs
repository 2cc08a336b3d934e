//! The table of mounts, read again when the kernel says that it changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use procfs::process::Process;

/// Most mounts compared; a table that is longer is compared up to here.
const LIMIT: usize = 16_384;

/// One mount or unmount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub path: String,
    pub fs_type: String,
    pub attached: bool,
}

/// What is mounted, by id: where, and the type.
type Mounts = BTreeMap<i32, (String, String)>;

/// Has urgent data (POLLPRI) when the table has changed.
pub(super) struct Table {
    file: File,
    known: Mounts,
}

impl Table {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            file: File::open("/proc/self/mountinfo")?,
            known: read()?,
        })
    }

    /// What changed since the last time.
    pub(super) fn changes(&mut self) -> io::Result<Vec<Change>> {
        let now = read()?;
        let changes = difference(&self.known, &now);
        self.known = now;
        Ok(changes)
    }
}

impl AsFd for Table {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn read() -> io::Result<Mounts> {
    let mounts = Process::myself().and_then(|process| process.mountinfo());
    let mounts = mounts.map_err(io::Error::other)?;
    let named = mounts.into_iter().map(|mount| {
        let path = mount.mount_point.to_string_lossy().into_owned();
        (mount.mnt_id, (path, mount.fs_type))
    });
    Ok(named.take(LIMIT).collect())
}

/// Unmounted first: an id may be used again at once.
fn difference(before: &Mounts, now: &Mounts) -> Vec<Change> {
    let only_in = |these: &Mounts, those: &Mounts, attached| {
        let missing = these
            .iter()
            .filter(|(id, name)| those.get(id) != Some(name));
        let changes = missing.map(|(_, (path, fs_type))| Change {
            path: path.clone(),
            fs_type: fs_type.clone(),
            attached,
        });
        changes.collect::<Vec<_>>()
    };
    let mut changes = only_in(before, now, false);
    changes.extend(only_in(now, before, true));
    changes
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn mounts(these: &[(i32, &str)]) -> Mounts {
        let named = these
            .iter()
            .map(|(id, path)| (*id, ((*path).into(), "tmpfs".into())));
        named.collect()
    }

    #[test]
    fn what_is_only_in_one_of_two_tables_changed() {
        let before = mounts(&[(1, "/"), (2, "/a"), (3, "/b")]);
        let now = mounts(&[(1, "/"), (2, "/c"), (4, "/d")]);
        let changed: Vec<_> = difference(&before, &now)
            .into_iter()
            .map(|it| (it.path, it.attached))
            .collect();
        let expected = [("/a", false), ("/b", false), ("/c", true), ("/d", true)];
        assert_eq!(
            changed,
            expected.map(|(path, attached)| (path.to_owned(), attached))
        );
        assert!(difference(&now, &now).is_empty());
    }

    /// Really mounts, in a mount namespace that harms nobody. Needs root.
    #[test]
    fn the_kernel_says_when_the_table_changes() {
        let status = std::process::Command::new("unshare")
            .arg("--mount")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "mounts::table::tests::in_a_namespace"])
            .args(["--ignored", "--nocapture"])
            .status();
        assert!(status.unwrap().success());
    }

    #[test]
    #[ignore = "run by the test above in a mount namespace of its own"]
    fn in_a_namespace() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().canonicalize().unwrap();
        let mut table = Table::open().unwrap();
        assert!(table.changes().unwrap().is_empty());
        for (program, attached) in [("mount", true), ("umount", false)] {
            let arguments: &[&str] = if attached {
                &["-t", "tmpfs", "none"]
            } else {
                &[]
            };
            let mut command = std::process::Command::new(program);
            let status = command.args(arguments).arg(&path).status();
            assert!(status.unwrap().success());
            let mut fds = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
            assert_eq!(poll(&mut fds, PollTimeout::from(10_000_u16)), Ok(1));
            let change = Change {
                path: path.to_string_lossy().into_owned(),
                fs_type: "tmpfs".into(),
                attached,
            };
            assert_eq!(table.changes().unwrap(), [change]);
        }
    }
}
