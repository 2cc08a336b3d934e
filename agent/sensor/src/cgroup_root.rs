//! The root of the cgroup2 tree, mounted or not.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use procfs::process::Process;

/// `include/uapi/linux/mount.h`.
const FSOPEN_CLOEXEC: libc::c_int = 1;
const FSMOUNT_CLOEXEC: libc::c_int = 1;
const FSCONFIG_CMD_CREATE: libc::c_int = 6;

/// The root directory of the cgroup2 tree as this process's cgroup namespace has it. Where no mount
/// of it is in sight one is made that nobody else sees and that ends with the descriptor.
pub(crate) fn open() -> io::Result<OwnedFd> {
    match open_mounted() {
        Some(root) => Ok(root),
        None => mount_detached(),
    }
}

fn open_mounted() -> Option<OwnedFd> {
    let mounts = Process::myself().ok()?.mountinfo().ok()?;
    let mut roots = mounts
        .into_iter()
        .filter(|mount| mount.fs_type == "cgroup2" && mount.root == "/");
    roots.find_map(|mount| {
        let root = File::open(&mount.mount_point).ok()?;
        // Something else may be mounted over it.
        mount
            .mount_point
            .join("cgroup.procs")
            .exists()
            .then(|| root.into())
    })
}

/// fsopen(2) and its kin, Linux 5.2.
fn mount_detached() -> io::Result<OwnedFd> {
    let name: &CStr = c"cgroup2";
    // SAFETY: the name is a C string that outlives the call.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) };
    let context = owned(context)?;
    let nothing = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes no key, no value and no number.
    let made = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_CMD_CREATE,
            nothing,
            nothing,
            0,
        )
    };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: no pointers.
    let mount =
        unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) };
    owned(mount)
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};

    #[test]
    fn a_root_that_is_not_mounted_is_the_same_as_one_that_is() {
        let detached = mount_detached().expect("this test needs root");
        let kind = fstatfs(detached.as_fd())
            .expect("it is open")
            .filesystem_type();
        assert_eq!(kind, CGROUP2_SUPER_MAGIC);
        let inode = |fd: OwnedFd| nix::sys::stat::fstat(fd).map(|facts| facts.st_ino);
        assert_eq!(
            inode(open().expect("this test needs root")),
            inode(detached)
        );
    }
}
