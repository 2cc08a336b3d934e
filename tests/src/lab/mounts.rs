//! A node's file system: an overlay over the machine's files, so that what happens in a node stays there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::pivot_root;

use super::init::Plan;

/// File systems that hold a machine's files; each gets an overlay of its own.
const ON_DISK: [&str; 7] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs"];
/// Covered by a memory file system in which the node's changes are kept.
const BASES: [&str; 3] = ["/mnt", "/media", "/srv"];
/// Most memory that the changes of one node may take.
const CHANGES: &str = "size=2g,mode=755";
/// Where the machine's own root is for a moment, as the node sees it.
const OLD_ROOT: &str = "/.machine";

struct Mount {
    point: PathBuf,
    kind: String,
}

/// Builds it and makes it the root. Runs in fresh mount and PID namespaces, as their first process.
pub(super) fn build(plan: &Plan) -> Result<()> {
    let unshared = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount_at(None, Path::new("/"), None, unshared, None)?;
    let mounts = read_mounts()?;
    let base = base(plan);
    mount_at(
        Some("tmpfs"),
        &base,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(CHANGES),
    )?;
    let root = base.join("root");
    overlay_disks(&mounts, &base, &root)?;
    kernel_file_systems(&mounts, &root)?;
    if plan.cgroup.is_some() {
        own_cgroups(&mounts, &root)?;
    }
    share(plan, &root)?;
    scratch(&root)?;
    names(plan, &root)?;
    change_root(&root)
}

/// A folder to cover that none of the shared files lie in.
fn base(plan: &Plan) -> PathBuf {
    let free = |base: &&&str| {
        plan.shared
            .iter()
            .all(|(from, _)| !from.starts_with(**base))
    };
    BASES
        .iter()
        .find(|base| free(base))
        .unwrap_or(&BASES[0])
        .into()
}

fn overlay_disks(mounts: &[Mount], base: &Path, root: &Path) -> Result<()> {
    overlay(Path::new("/"), &base.join("changes/0"), root)?;
    let others = mounts.iter().filter(|mount| {
        ON_DISK.contains(&mount.kind.as_str())
            && mount.point != Path::new("/")
            && !mount.point.starts_with(base)
            && mount.point.is_dir()
    });
    for (number, other) in others.enumerate() {
        let changes = base.join(format!("changes/{}", number + 1));
        overlay(&other.point, &changes, &inside(root, &other.point))?;
    }
    Ok(())
}

fn overlay(lower: &Path, changes: &Path, target: &Path) -> Result<()> {
    let (upper, work) = (changes.join("upper"), changes.join("work"));
    for folder in [&upper, &work, &target.to_owned()] {
        make_folder(folder)?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    mount_at(
        Some("overlay"),
        target,
        Some("overlay"),
        MsFlags::empty(),
        Some(&options),
    )
}

fn kernel_file_systems(mounts: &[Mount], root: &Path) -> Result<()> {
    let fresh = |kind: &str, at: &str, options: Option<&str>| {
        let target = inside(root, Path::new(at));
        mount_at(Some(kind), &target, Some(kind), MsFlags::empty(), options)
    };
    fresh("proc", "/proc", None)?;
    // A fresh sysfs shows the node's own interfaces; what the machine mounts in it is added.
    fresh("sysfs", "/sys", None)?;
    let mut added: Vec<&Path> = Vec::new();
    for mount in mounts
        .iter()
        .filter(|mount| mount.point.starts_with("/sys"))
    {
        let nested = added.iter().any(|above| mount.point.starts_with(above));
        if mount.point != Path::new("/sys") && !nested {
            bind(&mount.point, &inside(root, &mount.point))?;
            added.push(&mount.point);
        }
    }
    bind(Path::new("/dev"), &root.join("dev"))?;
    fresh(
        "devpts",
        "/dev/pts",
        Some("newinstance,ptmxmode=0666,mode=0620,gid=5"),
    )?;
    make_folder(&root.join("dev/shm"))?;
    fresh("tmpfs", "/dev/shm", Some("mode=1777"))
}

/// A fresh cgroup2 shows the node's own cgroups, in place of the machine's.
fn own_cgroups(mounts: &[Mount], root: &Path) -> Result<()> {
    for mount in mounts.iter().filter(|mount| mount.kind == "cgroup2") {
        let target = inside(root, &mount.point);
        umount2(&target, MntFlags::MNT_DETACH)
            .with_context(|| format!("cannot leave the cgroups at {}", target.display()))?;
        let kind = Some("cgroup2");
        mount_at(kind, &target, kind, MsFlags::empty(), None)?;
    }
    Ok(())
}

fn share(plan: &Plan, root: &Path) -> Result<()> {
    for (from, to) in &plan.shared {
        let target = inside(root, to);
        if from.is_dir() {
            make_folder(&target)?;
        } else {
            make_folder(target.parent().unwrap_or(root))?;
            // May be a link of the machine's own, such as /sbin/init to systemd.
            drop(fs::remove_file(&target));
            fs::write(&target, "").with_context(|| format!("cannot make {}", target.display()))?;
        }
        bind(from, &target)?;
    }
    Ok(())
}

/// Places that start empty: what lies there on the machine is not the node's.
fn scratch(root: &Path) -> Result<()> {
    for (folder, mode) in [("run", "755"), ("tmp", "1777"), ("root", "700")] {
        let options = format!("mode={mode}");
        mount_at(
            Some("tmpfs"),
            &root.join(folder),
            Some("tmpfs"),
            MsFlags::empty(),
            Some(&options),
        )?;
    }
    let lock = root.join("run/lock");
    make_folder(&lock)?;
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o1777))
        .with_context(|| format!("cannot set the mode of {}", lock.display()))
}

fn names(plan: &Plan, root: &Path) -> Result<()> {
    const UUID: &str = "/proc/sys/kernel/random/uuid";
    let machine_id = fs::read_to_string(UUID).with_context(|| format!("cannot read {UUID}"))?;
    let machine_id = machine_id.replace('-', "");
    for (path, content) in [
        ("etc/hosts", plan.hosts.as_str()),
        ("etc/hostname", &format!("{}\n", plan.name)),
        ("etc/machine-id", &machine_id),
        ("etc/resolv.conf", ""),
    ] {
        let path = root.join(path);
        drop(fs::remove_file(&path));
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn change_root(root: &Path) -> Result<()> {
    let old = inside(root, Path::new(OLD_ROOT));
    make_folder(&old)?;
    enter(root)?;
    pivot_root(root, &old).with_context(|| format!("cannot make {} the root", root.display()))?;
    enter(Path::new("/"))?;
    umount2(OLD_ROOT, MntFlags::MNT_DETACH)
        .with_context(|| format!("cannot leave the machine's root at {OLD_ROOT}"))?;
    fs::remove_dir(OLD_ROOT).with_context(|| format!("cannot remove {OLD_ROOT}"))
}

fn enter(folder: &Path) -> Result<()> {
    std::env::set_current_dir(folder).with_context(|| format!("cannot enter {}", folder.display()))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let source = from.display().to_string();
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount_at(Some(&source), to, None, flags, None)
}

fn mount_at(
    source: Option<&str>,
    target: &Path,
    kind: Option<&str>,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<()> {
    mount(source, target, kind, flags, options).with_context(|| {
        let what = kind.or(source).unwrap_or("the root");
        let with = options.map_or_else(String::new, |options| format!(" with {options}"));
        format!("cannot mount {what} at {}{with}", target.display())
    })
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make folder {}", path.display()))
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn read_mounts() -> Result<Vec<Mount>> {
    let table =
        fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    Ok(table.lines().filter_map(parse_mount).collect())
}

/// One line of mountinfo, see proc(5).
fn parse_mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let point = before.split(' ').nth(4)?.replace("\\040", " ");
    let kind = after.split(' ').next()?;
    Some(Mount {
        point: point.into(),
        kind: kind.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mountinfo_line_is_read() {
        let line = r"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 - ext3 /dev/root rw";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.point, Path::new("/mnt 2"));
        assert_eq!(mount.kind, "ext3");
    }
}
