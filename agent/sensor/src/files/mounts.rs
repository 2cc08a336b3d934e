//! The local file systems that processes here can see, in whatever mount namespace.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};

/// Types whose changes are this host's own. Network file systems and FUSE may not answer, and their
/// changes may come from elsewhere; devtmpfs, proc and their like hold no files.
const LOCAL: [&str; 15] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "ramfs", "overlay", "bcachefs",
    "vfat", "exfat", "ntfs3", "zfs", "rootfs",
];
/// Types that hold nothing to count, but that can be looked at without waiting for anybody.
const QUIET: [&str; 6] = [
    "devtmpfs", "devpts", "erofs", "iso9660", "squashfs", "sysfs",
];
/// Most mount namespaces looked into in one round.
const NAMESPACES: usize = 1024;

/// One local file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileSystem {
    /// `major:minor`, as the kernel tells it.
    pub device: String,
    pub kind: String,
    /// A directory of it, reachable from here.
    pub at: PathBuf,
    /// An overlay's upper directory, by the name that its mounter used, if where it is mounted there is no such.
    pub lost_upper: Option<PathBuf>,
}

/// What is mounted in the own namespace.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Mount points, with whether they are of quiet types. A later one covers an earlier.
    points: Vec<(PathBuf, bool)>,
    pub local: Vec<FileSystem>,
}

impl Mounts {
    /// Reads `/proc/self/mountinfo`.
    pub(super) fn read() -> Self {
        match Process::myself().and_then(|own| own.mountinfo()) {
            Ok(mounts) => Self::of(&mounts.0, Path::new("/")),
            Err(error) => {
                tracing::warn!(%error, "cannot read /proc/self/mountinfo: no file system is watched");
                Self::default()
            }
        }
    }

    fn of(mounts: &[MountInfo], root: &Path) -> Self {
        let points = mounts.iter().map(|mount| {
            let kind = mount.fs_type.as_str();
            let is_quiet = LOCAL.contains(&kind) || QUIET.contains(&kind);
            (mount.mount_point.clone(), is_quiet)
        });
        let mut all = Self {
            points: points.collect(),
            local: Vec::new(),
        };
        // A mount of the whole can name everything on it; one of a part cannot.
        let mut sorted: Vec<&MountInfo> = mounts.iter().collect();
        sorted.sort_by_key(|mount| (mount.root != "/", mount.mount_point.as_os_str().len()));
        let mut devices = HashSet::new();
        for mount in sorted {
            let is_local = LOCAL.contains(&mount.fs_type.as_str());
            // The way there must not lead over one that may not answer.
            if is_local
                && mount.mount_point.ancestors().all(|path| all.is_quiet(path))
                && let Some(found) = all.file_system(mount, root)
                && devices.insert(found.device.clone())
            {
                all.local.push(found);
            }
        }
        all
    }

    /// Whether looking at `path` cannot wait for another machine or process, links aside.
    pub(super) fn is_quiet(&self, path: &Path) -> bool {
        let mut nearest = (0, false);
        for (point, is_quiet) in &self.points {
            let depth = point.as_os_str().len();
            if depth >= nearest.0 && path.starts_with(point) {
                nearest = (depth, *is_quiet);
            }
        }
        nearest.1
    }

    /// Whether there is something at an absolute path, looked for below `root`, where these are mounted.
    pub(super) fn has(&self, path: &Path, root: &Path) -> bool {
        let there = || std::fs::symlink_metadata(below(root, path)).is_ok();
        path.is_absolute() && self.is_quiet(path) && there()
    }

    /// The file system of a mount, unless it is a single file, out of reach, or a container's `/dev`, where
    /// every write to `/dev/null` would count.
    fn file_system(&self, mount: &MountInfo, root: &Path) -> Option<FileSystem> {
        let at = below(root, &mount.mount_point);
        if mount.mount_point.ends_with("dev") {
            return None;
        }
        let facts = std::fs::symlink_metadata(&at).ok()?;
        // Subvolumes of btrfs have device numbers of their own.
        let is_covered = mount.fs_type != "btrfs" && device_of(facts.dev()) != mount.majmin;
        if !facts.is_dir() || is_covered {
            return None;
        }
        let upper = mount.super_options.get("upperdir").cloned().flatten();
        let upper = upper.map(PathBuf::from);
        Some(FileSystem {
            device: mount.majmin.clone(),
            kind: mount.fs_type.clone(),
            at,
            lost_upper: upper.filter(|path| !self.has(path, root)),
        })
    }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn device_of(number: u64) -> String {
    format!("{}:{}", libc::major(number), libc::minor(number))
}

/// The local file systems in the mount namespaces of others, as far as `/proc` shows their processes.
pub(super) fn of_others() -> Vec<FileSystem> {
    let mut seen: HashSet<u64> = namespace_of("self").into_iter().collect();
    let mut found = Vec::new();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return found;
    };
    for entry in processes.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
            continue;
        };
        let is_new = namespace_of(pid).is_some_and(|namespace| seen.insert(namespace));
        if is_new && seen.len() <= NAMESPACES {
            found.extend(of_process(pid));
        }
    }
    found
}

fn namespace_of(pid: &str) -> Option<u64> {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()?;
    let text = link.to_str()?.strip_prefix("mnt:[")?.strip_suffix(']')?;
    text.parse().ok()
}

fn of_process(pid: &str) -> Vec<FileSystem> {
    let root = Path::new("/proc").join(pid).join("root");
    let mounts = pid
        .parse()
        .map(Process::new)
        .map(|process| process.and_then(|it| it.mountinfo()));
    match mounts {
        Ok(Ok(mounts)) => Mounts::of(&mounts.0, &root).local,
        // It has ended.
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_absolute_path_of_a_quiet_mount_names_is_looked_at() {
        let place = tempfile::tempdir_in("/dev/shm").unwrap();
        let (file, link) = (place.path().join("file"), place.path().join("link"));
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let mounts = Mounts::read();
        let has = |path: &Path, root: &str| mounts.has(path, Path::new(root));
        assert!(has(&file, "/") && has(&link, "/") && has(&file, "/proc/self/root"));
        assert!(!has(&place.path().join("none"), "/"));
        assert!(!has(file.strip_prefix("/").unwrap(), "/"));
        assert!(!has(Path::new("/proc/self"), "/"));
    }
}
