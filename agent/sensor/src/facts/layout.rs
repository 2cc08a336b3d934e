//! How this host's directories lie: where its root is, which of them are other names of others, and into which
//! anybody may write.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::packages::hash_parts;
use super::prints::Key;

/// The files as the first process sees them.
pub(crate) const INIT_ROOT: &str = "/proc/1/root";
/// Directories that a distribution may have merged into others. Databases name files by one of the names,
/// the kernel by the real one.
const MERGED: [&str; 9] = [
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/sbin",
    "/usr/lib64",
    "/usr/bin",
];
/// Directories that are anybody's on most hosts; looked at, not assumed.
const SHARED: [&str; 6] = [
    "/tmp",
    "/var/tmp",
    "/dev/shm",
    "/run/lock",
    "/dev/mqueue",
    "/var/crash",
];
const OTHERS_WRITE: u32 = 0o002;

/// How directories lie below a root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    root: PathBuf,
    /// A directory and what it is in fact.
    aliases: Vec<(&'static str, String)>,
    /// Anybody may write into these.
    open: Vec<&'static str>,
}

impl Layout {
    /// As it is for the first process of this PID namespace. An agent in a container of its own that watches the host
    /// has the container's files at `/`, and one that systemd shields its own `/tmp`; the host's are there.
    pub(crate) fn of_host() -> Self {
        let of_init = Path::new(INIT_ROOT);
        let namespace = |process: &str| {
            let link = fs::read_link(format!("/proc/{process}/ns/mnt"));
            link.ok()
        };
        let theirs = namespace("1");
        if theirs.is_none() || theirs == namespace("self") || !of_init.join("proc").exists() {
            return Self::below(Path::new("/"));
        }
        Self::below(of_init)
    }

    /// As it is below `root`.
    pub(crate) fn below(root: &Path) -> Self {
        let below = |path: &str| root.join(path.trim_start_matches('/'));
        let aliases = MERGED.into_iter().filter_map(|directory| {
            let target = fs::read_link(below(directory)).ok()?;
            Some((directory, resolved(directory, &target)?))
        });
        let is_open = |directory: &&str| {
            fs::metadata(below(directory)).is_ok_and(|facts| facts.mode() & OTHERS_WRITE != 0)
        };
        Self {
            aliases: aliases.collect(),
            open: SHARED.into_iter().filter(is_open).collect(),
            root: root.to_owned(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The same number for every name of a path.
    pub(super) fn hash(&self, key: Key, path: &[u8]) -> u64 {
        let (mut directory, mut rest) = (&[][..], path);
        // `/sbin` may be `/usr/sbin`, and that `/usr/bin`.
        for _ in 0..3 {
            let next = self.aliases.iter().find_map(|(alias, real)| {
                let rest = strip(alias.as_bytes(), directory, rest)?;
                Some((real.as_bytes(), rest))
            });
            let Some(next) = next else { break };
            (directory, rest) = next;
        }
        hash_parts(key, [directory, rest])
    }

    /// Whether the path is in a directory that is known to be anybody's; `false` is not known.
    pub(crate) fn is_open(&self, path: &str) -> bool {
        let mut open = self.open.iter();
        open.any(|directory| strip(directory.as_bytes(), &[], path.as_bytes()).is_some())
    }
}

/// What follows `prefix` in the path that is `directory` and `rest`, from a slash on.
fn strip<'a>(prefix: &[u8], directory: &[u8], rest: &'a [u8]) -> Option<&'a [u8]> {
    let within = prefix.strip_prefix(directory)?;
    rest.strip_prefix(within)
        .filter(|rest| rest.starts_with(b"/"))
}

/// Where a link at `link` leads, without asking the disk again.
fn resolved(link: &str, target: &Path) -> Option<String> {
    let mut path = PathBuf::from(link);
    path.pop();
    for part in target.components() {
        match part {
            Component::RootDir => path = PathBuf::from("/"),
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_name_of_a_merged_path_is_the_same() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["usr/bin", "usr/lib", "tmp"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        symlink("usr/bin", root.path().join("bin")).unwrap();
        symlink("usr/sbin", root.path().join("sbin")).unwrap();
        symlink("bin", root.path().join("usr/sbin")).unwrap();
        let layout = Layout::below(root.path());
        let key = Key::random();
        let hash = |path: &str| layout.hash(key, path.as_bytes());
        for alias in ["/bin/ls", "/sbin/ls", "/usr/sbin/ls"] {
            assert_eq!(hash(alias), hash("/usr/bin/ls"), "{alias}");
        }
        for other in [
            "/lib/ls",
            "/binary/ls",
            "/usr/bin/l",
            "/home/bin/ls",
            "/bin",
        ] {
            assert_ne!(hash(other), hash("/usr/bin/ls"), "{other}");
        }
    }

    #[test]
    fn a_link_is_followed_from_where_it_is() {
        let to = |link, target: &str| resolved(link, Path::new(target)).unwrap();
        assert_eq!(to("/bin", "usr/bin"), "/usr/bin");
        assert_eq!(to("/usr/sbin", "../bin"), "/bin");
        assert_eq!(to("/lib64", "/usr/lib"), "/usr/lib");
    }
}
