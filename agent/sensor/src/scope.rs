//! Whose processes are watched.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::SensorError;

/// Where cgroup2 is looked for when a scope gives a relative path.
const CGROUP_ROOTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// Whose processes are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Every process of the machine, with pids of the machine's first namespace.
    #[default]
    Host,
    /// The processes of the caller's PID namespace and of those nested in it, with pids as seen there.
    PidNamespace,
    /// The processes of one cgroup (v2) and those below it, with pids of the machine's first
    /// namespace. A relative path starts at the cgroup2 mount.
    Cgroup(PathBuf),
}

/// A scope as the programs know it: 0 means no restriction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScopeIds {
    pub pid_namespace: u32,
    pub cgroup: u64,
}

impl Scope {
    pub(crate) fn ids(&self) -> Result<ScopeIds, SensorError> {
        let mut ids = ScopeIds::default();
        match self {
            Self::Host => {}
            Self::PidNamespace => ids.pid_namespace = own_pid_namespace()?,
            Self::Cgroup(path) => ids.cgroup = cgroup_id(path)?,
        }
        Ok(ids)
    }
}

/// The inode number of the caller's PID namespace.
pub(crate) fn own_pid_namespace() -> Result<u32, SensorError> {
    let namespace = std::fs::metadata("/proc/self/ns/pid").map_err(SensorError::PidNamespace)?;
    Ok(namespace.ino() as u32)
}

/// Where the cgroup2 tree is mounted.
pub(crate) fn cgroup_root() -> Option<&'static Path> {
    let mut roots = CGROUP_ROOTS.into_iter().map(Path::new);
    roots.find(|root| root.join("cgroup.procs").exists())
}

/// A cgroup's id is its directory's inode number.
fn cgroup_id(path: &Path) -> Result<u64, SensorError> {
    let candidates: Vec<PathBuf> = if path.is_absolute() {
        vec![path.to_owned()]
    } else {
        CGROUP_ROOTS.map(|root| Path::new(root).join(path)).into()
    };
    let found = candidates
        .iter()
        .find(|candidate| candidate.join("cgroup.procs").exists())
        .unwrap_or(&candidates[0]);
    let directory = std::fs::metadata(found.join("cgroup.procs"))
        .and_then(|_| std::fs::metadata(found))
        .map_err(|source| SensorError::Cgroup {
            path: path.to_owned(),
            source,
        })?;
    Ok(directory.ino())
}
