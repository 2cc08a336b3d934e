//! A cgroup of its own for each node. What a node hangs on its uppermost cgroup hangs on this one, and touches neither
//! the machine nor another node.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

const PREFIX: &str = "cordon-lab-";
/// How long the last processes of a node may take to leave it.
const GONE: Duration = Duration::from_secs(10);

/// Makes the cgroup of a node; nothing where the machine has no cgroup2. Also takes away what a node left whose keeper
/// was killed.
pub(super) fn make(node: &str) -> Result<Option<PathBuf>> {
    let Some(mount) = mount_point()? else {
        return Ok(None);
    };
    sweep(&mount);
    let path = mount.join(format!("{PREFIX}{}-{node}", std::process::id()));
    fs::create_dir(&path).with_context(|| format!("cannot make cgroup {}", path.display()))?;
    Ok(Some(path))
}

/// Moves this process there, and makes it the uppermost cgroup that the process sees.
pub(super) fn enter(path: &Path) -> Result<()> {
    let procs = path.join("cgroup.procs");
    fs::write(&procs, "0").with_context(|| format!("cannot enter {}", path.display()))?;
    unshare(CloneFlags::CLONE_NEWCGROUP).context("cannot make a cgroup namespace")
}

/// Takes it away, as soon as nobody is in it.
pub(super) fn remove(path: &Path) -> Result<()> {
    let what = format!("end of everybody in {}", path.display());
    wait::until(&what, GONE, || {
        wake(path);
        Ok(clear(path).is_ok().then_some(()))
    })
}

/// Whoever is left stands outside of the node and waits for somebody in it who has ended. `nsenter` may have stopped
/// itself together with him.
fn wake(path: &Path) {
    let left = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in left.lines().filter_map(|line| line.parse().ok()) {
        // It may have ended meanwhile.
        kill(Pid::from_raw(pid), Signal::SIGCONT).ok();
    }
}

/// The file that takes whoever is to run in the node with this first process; nothing where the node has no cgroup of
/// its own.
pub(super) fn procs_of(node_pid: i32) -> Option<PathBuf> {
    let lines = fs::read_to_string(format!("/proc/{node_pid}/cgroup")).ok()?;
    let path = lines.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let top = path.split('/').find(|part| part.starts_with(PREFIX))?;
    let above = path.split_once(top)?.0;
    let mount = mount_point().ok()??;
    Some(mount.join(above).join(top).join("cgroup.procs"))
}

fn mount_point() -> Result<Option<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    let mut lines = table.lines();
    Ok(lines.find_map(|line| {
        let mut words = line.split(' ');
        let (_, path, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    }))
}

fn sweep(mount: &Path) {
    let Ok(entries) = fs::read_dir(mount) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let keeper = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        let is_kept = |pid: &str| Path::new("/proc").join(pid).exists();
        if keeper.is_some_and(|pid| !is_kept(pid)) {
            // Somebody is in it still, who ends in a moment: the next lab finds it again.
            drop(clear(&entry.path()));
        }
    }
}

fn clear(path: &Path) -> std::io::Result<()> {
    for below in fs::read_dir(path)?.flatten() {
        if below.file_type()?.is_dir() {
            clear(&below.path())?;
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
