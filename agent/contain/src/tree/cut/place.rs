//! The cgroup that processes are moved into, where it lies and what hangs on it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::bpf;
use crate::error::ContainError;
use crate::nft;
use crate::rules::{EARLY, LAST};

/// Name of the cgroup, and of the table.
pub(crate) const NAME: &str = "cordon_cut";
/// What `nft` takes paths of cgroups to be below of.
const NFT_ROOT: &str = "/sys/fs/cgroup";

/// Where cut-off processes are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The uppermost cgroup, on which the program hangs.
    top: PathBuf,
    cut: PathBuf,
    /// Where cgroup2 is mounted.
    mount: PathBuf,
}

/// The cgroup of the cut-off, where there is one.
pub(crate) fn cgroup() -> Option<PathBuf> {
    let place = Place::find().ok()?;
    place.cut.exists().then_some(place.cut)
}

impl Place {
    /// At the top of this machine's cgroup2.
    pub(super) fn find() -> Result<Self, ContainError> {
        const MOUNTS: &str = "/proc/self/mountinfo";
        let mounts = fs::read_to_string(MOUNTS).map_err(ContainError::disk("read", MOUNTS))?;
        let mount = mount_of(&mounts).ok_or(ContainError::NoCgroup2)?;
        Ok(Self {
            cut: mount.join(NAME),
            top: mount.clone(),
            mount,
        })
    }

    /// Below another cgroup, and for processes below that only.
    pub(super) fn below(self, top: &Path) -> Self {
        Self {
            top: top.to_owned(),
            cut: top.join(NAME),
            ..self
        }
    }

    /// Makes the cgroup and what cuts it off, where any of it is missing. `listed` is how the rules were listed last.
    pub(super) fn put_in(&self, listed: &str) -> Result<PutIn, ContainError> {
        match fs::create_dir(&self.cut) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(ContainError::disk("make cgroup", &self.cut)(error));
            }
            _ => {}
        }
        let id = fs::metadata(&self.cut)
            .map_err(ContainError::disk("read", &self.cut))?
            .ino();
        let mut done = PutIn::default();
        let top = File::open(&self.top).map_err(ContainError::disk("open", &self.top))?;
        match bpf::attach(&top, id) {
            Ok(was_missing) => done.changed |= was_missing,
            Err(error) => done.warnings.push(format!(
                "no BPF program keeps them from connecting: sockets that they made before and did not connect are not cut off ({error})"
            )),
        }
        match self.rules() {
            Ok(rules) => {
                done.listed = nft::list_as_text("inet", NAME)?.unwrap_or_default();
                if done.listed.is_empty() || done.listed != listed {
                    nft::apply_text(&rules, "cut processes off")?;
                    done.listed = nft::list_as_text("inet", NAME)?.unwrap_or_default();
                    done.changed = true;
                }
            }
            Err(why) => done.warnings.push(why),
        }
        Ok(done)
    }

    /// Takes all of it away. Nobody may be in the cgroup.
    pub(super) fn take_out(&self) -> Result<(), ContainError> {
        if nft::list_as_text("inet", NAME)?.is_some() {
            let delete = format!("delete table inet {NAME}\n");
            nft::apply_text(&delete, "let processes reach the network")?;
        }
        let top = File::open(&self.top).map_err(ContainError::disk("open", &self.top))?;
        bpf::detach(&top).map_err(ContainError::disk("take a BPF program off", &self.top))?;
        match fs::remove_dir(&self.cut) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(ContainError::disk("remove cgroup", &self.cut)(error))
            }
            _ => Ok(()),
        }
    }

    /// Who is inside, forks too.
    pub(super) fn inside(&self) -> Result<Vec<u32>, ContainError> {
        let file = self.procs();
        match fs::read_to_string(&file) {
            Ok(pids) => Ok(pids.lines().filter_map(|pid| pid.parse().ok()).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(ContainError::disk("read", file)(error)),
        }
    }

    /// The file that takes pids.
    pub(super) fn procs(&self) -> PathBuf {
        self.cut.join("cgroup.procs")
    }

    /// Moves a process, with all of its threads. False when it has ended.
    pub(super) fn take(&self, pid: u32) -> io::Result<bool> {
        put(&self.procs(), pid)
    }

    /// Moves a process back to where it was; to the top where that is gone. False when it has ended.
    pub(super) fn give_back(&self, pid: u32, home: &str) -> io::Result<bool> {
        // Not `join`: what is on disk begins with a slash.
        let home = PathBuf::from(format!("{}{home}/cgroup.procs", self.mount.display()));
        put(&home, pid).or_else(|_| put(&self.top.join("cgroup.procs"), pid))
    }

    fn matcher(&self) -> String {
        let below = self.cut.strip_prefix(&self.mount).unwrap_or(&self.cut);
        let level = below.components().count();
        let path = self.cut.strip_prefix(NFT_ROOT).unwrap_or(&self.cut);
        format!("socket cgroupv2 level {level} \"{}\" drop", path.display())
    }

    /// By text: the JSON of `nft` does not know a cgroup's level.
    fn rules(&self) -> Result<String, String> {
        if self.cut.strip_prefix(NFT_ROOT).is_err() {
            return Err(format!(
                "cgroup2 is mounted on {}: nft finds cgroups below {NFT_ROOT} only",
                self.mount.display()
            ));
        }
        let matcher = self.matcher();
        Ok(format!(
            "add table inet {NAME}\ndelete table inet {NAME}\ntable inet {NAME} {{\n\
             chain input {{ type filter hook input priority {EARLY} ; {matcher} ; }}\n\
             chain output {{ type filter hook output priority {LAST} ; {matcher} ; }}\n}}\n"
        ))
    }
}

/// What came of putting it in.
#[derive(Debug, Default)]
pub(super) struct PutIn {
    /// Something was missing.
    pub(super) changed: bool,
    /// The rules as the kernel lists them.
    pub(super) listed: String,
    /// What could not be done, in words.
    pub(super) warnings: Vec<String>,
}

/// Path of a process's cgroup below the mount.
pub(super) fn home_of(pid: u32) -> Option<String> {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = lines.lines().find_map(|line| line.strip_prefix("0::"))?;
    let is_plain = path.starts_with('/') && !path.split('/').any(|part| part == "..");
    is_plain.then(|| path.trim_end_matches('/').to_owned())
}

fn put(procs: &Path, pid: u32) -> io::Result<bool> {
    match fs::write(procs, pid.to_string()) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Of several mounts the first.
fn mount_of(mountinfo: &str) -> Option<PathBuf> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let is_it = after.split(' ').next() == Some("cgroup2");
        let path = before.split(' ').nth(4).filter(|_| is_it)?;
        Some(PathBuf::from(path))
    };
    mountinfo.lines().find_map(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup2_is_found_wherever_it_is_mounted() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let found = mount_of(hybrid);
        assert_eq!(found, Some("/sys/fs/cgroup/unified".into()));
        let pure = "29 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_of(pure), Some("/sys/fs/cgroup".into()));
        assert_eq!(
            mount_of("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw\n"),
            None
        );
        assert_eq!(mount_of("nonsense"), None);
    }
}
