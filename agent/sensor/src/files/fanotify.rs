//! The kernel's side: groups, marks and file handles.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::fstatfs;

/// `AT_HANDLE_FID`, Linux 6.5: a handle that need not be good for opening, as events carry it.
const AT_HANDLE_FID: i32 = 0x200;
const MAX_HANDLE: usize = 128;
/// fsid, length and type stand before the bytes of a handle.
const FSID: usize = 8;

/// `FILEID_INO32_GEN` of `include/linux/exportfs.h`.
const INODE_32: i32 = 1;
/// `shmem_encode_fh()` of `mm/shmem.c` uses the same type for a generation and a number in two words.
const SHMEM: usize = 12;
/// `OVL_FILEID_V1`; `struct ovl_fh` of `fs/overlayfs/overlayfs.h` has the type and the bytes of the handle
/// of the file below there.
const OVERLAY: i32 = 0xf8;
const BELOW_TYPE: usize = 7;
const BELOW: usize = 24;

/// Identity of a file or directory in the form in which events carry it: fsid, then length, type and
/// bytes of its handle.
pub(super) type Handle = Box<[u8]>;

#[repr(C)]
struct RawHandle {
    bytes: u32,
    kind: i32,
    data: [u8; MAX_HANDLE],
}

/// A fanotify group of class NOTIF. Its queue holds `fs.fanotify.max_queued_events` events (16,384
/// unless changed); what does not fit is one `FAN_Q_OVERFLOW`.
pub(super) struct Group(OwnedFd);

impl Group {
    /// `flags` are `FAN_REPORT_*`.
    pub(super) fn open(flags: u32) -> io::Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | flags;
        // SAFETY: no pointers; the result is checked before use.
        let fd = unsafe { libc::fanotify_init(flags, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// `flags` are `FAN_MARK_*`.
    pub(super) fn mark(&self, flags: u32, mask: u64, path: &Path) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path is a live string with its end, which is only read.
        let done = unsafe {
            libc::fanotify_mark(
                self.0.as_raw_fd(),
                flags,
                mask,
                libc::AT_FDCWD,
                path.as_ptr(),
            )
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Marks what is open as `file`, whatever has its name by now.
    pub(super) fn mark_open(&self, flags: u32, mask: u64, file: &OwnedFd) -> io::Result<()> {
        self.mark(flags, mask, &by_descriptor(file))
    }

    /// As many whole events as fit; 0 when there are none, or none can be read, which is logged.
    pub(super) fn read(&self, buffer: &mut [u8]) -> usize {
        match nix::unistd::read(&self.0, buffer) {
            Ok(bytes) => bytes,
            Err(nix::Error::EAGAIN) => 0,
            Err(error) => {
                tracing::error!(%error, "cannot read file events");
                0
            }
        }
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens a path for looking at, which tells nobody and waits for no device.
pub(super) fn look(path: &Path, follow: bool) -> io::Result<OwnedFd> {
    let mut flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    flags.set(OFlag::O_NOFOLLOW, !follow);
    Ok(open(path, flags, Mode::empty())?)
}

/// Opens what a descriptor of [`look`] or [`open_handle`] stands for.
pub(super) fn by_descriptor(file: &OwnedFd) -> std::path::PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Identity of the file system of `file`.
pub(super) fn fsid_of(file: &OwnedFd) -> io::Result<[u8; FSID]> {
    let id = fstatfs(file)?.filesystem_id();
    // SAFETY: two ints without padding, hidden from us only by the C library's header.
    Ok(unsafe { std::mem::transmute::<libc::fsid_t, [u8; FSID]>(id) })
}

/// Identity of `file`.
pub(super) fn handle_of(file: &OwnedFd) -> io::Result<Handle> {
    let raw = match encode(file, AT_HANDLE_FID) {
        // Before Linux 6.5 every handle is one for opening.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => encode(file, 0)?,
        other => other?,
    };
    let mut handle = fsid_of(file)?.to_vec();
    handle.extend(raw.bytes.to_ne_bytes());
    handle.extend(raw.kind.to_ne_bytes());
    handle.extend(&raw.data[..(raw.bytes as usize).min(MAX_HANDLE)]);
    Ok(handle.into())
}

/// Whether this kernel tells of what is done through an overlay on the file system below it too when
/// files are opened and closed (Linux 6.5): it says so by knowing `AT_HANDLE_FID`, which came with that.
/// What is made, renamed and removed was always told there.
pub(super) fn tells_below_overlays() -> bool {
    let asked = look(Path::new("/"), true).and_then(|root| encode(&root, AT_HANDLE_FID));
    !asked.is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
}

fn encode(file: &OwnedFd, flags: i32) -> io::Result<RawHandle> {
    let mut raw = RawHandle {
        bytes: MAX_HANDLE as u32,
        kind: 0,
        data: [0; MAX_HANDLE],
    };
    let mut mount = 0;
    // SAFETY: the empty string has its end; the handle has the room that its length says, the layout
    // of `struct file_handle`, and lives through the call, as `mount` does.
    let done = unsafe {
        libc::name_to_handle_at(
            file.as_raw_fd(),
            c"".as_ptr(),
            (&raw mut raw).cast(),
            &raw mut mount,
            flags | libc::AT_EMPTY_PATH,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(raw)
}

/// The file system that an identity names.
pub(super) fn fsid(handle: &[u8]) -> &[u8] {
    handle.get(..FSID).unwrap_or_default()
}

/// The inode number that an identity has in it; of a file on an overlay, that of the file below. `None` where
/// it is too short to have one. What a file system writes that is not known here (ZFS) answers another number.
pub(super) fn inode_of(identity: &[u8]) -> Option<u64> {
    let kind = identity.get(FSID + 4..FSID + 8)?.try_into().ok()?;
    inode_in(i32::from_ne_bytes(kind), &identity[FSID + 8..])
}

fn inode_in(kind: i32, data: &[u8]) -> Option<u64> {
    let word = |at: usize| -> Option<u64> {
        let bytes = data.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(bytes).into())
    };
    match kind {
        OVERLAY => inode_in(i32::from(*data.get(BELOW_TYPE)?), data.get(BELOW..)?),
        INODE_32 if data.len() == SHMEM => Some(word(4)? | word(8)? << 32),
        INODE_32 => word(0),
        // XFS, btrfs, bcachefs, and what the kernel makes for those that make none.
        _ => Some(u64::from_ne_bytes(data.get(..8)?.try_into().ok()?)),
    }
}

/// Opens what an identity names; `mount` is anything on its file system that is open for reading.
pub(super) fn open_handle(mount: &OwnedFd, handle: &[u8], flags: i32) -> io::Result<OwnedFd> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let data = handle.get(FSID + 8..).ok_or_else(invalid)?;
    let int = |at: usize| <[u8; 4]>::try_from(&handle[at..at + 4]).unwrap_or_default();
    let mut raw = RawHandle {
        bytes: data.len() as u32,
        kind: i32::from_ne_bytes(int(FSID + 4)),
        data: [0; MAX_HANDLE],
    };
    let room = raw.data.get_mut(..data.len()).ok_or_else(invalid)?;
    room.copy_from_slice(data);
    let raw_pointer = (&raw mut raw).cast();
    // SAFETY: the handle has the layout of `struct file_handle` and as many bytes as it says.
    let fd = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), raw_pointer, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_inode_number_is_found_in_what_the_kernel_writes() {
        for place in ["/dev/shm", "/var/tmp"] {
            let file = tempfile::NamedTempFile::new_in(place).unwrap();
            let identity = handle_of(&look(file.path(), false).unwrap()).unwrap();
            let inode = file.path().metadata().unwrap().ino();
            assert_eq!(inode_of(&identity), Some(inode), "{place}: {identity:?}");
        }
    }

    #[test]
    fn each_way_to_write_an_inode_number_is_known() {
        let words = |kind: i32, data: &[u32]| {
            let head = [0, 0, data.len() as u32 * 4, kind.cast_unsigned()];
            let all = head.iter().chain(data);
            all.flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>()
        };
        let long = [7_u32, 1];
        let number = u64::from_ne_bytes(words(0, &long)[16..].try_into().unwrap());
        let mut overlay = words(OVERLAY, &[0, 0, 0, 0, 0, 0, 7, 99]);
        overlay[16 + BELOW_TYPE] = 1;
        let table = [
            ("ext4", words(1, &[7, 99]), Some(7)),
            ("tmpfs", words(1, &[99, 7, 1]), Some(7 | 1 << 32)),
            ("xfs", words(0x81, &[7, 1, 99]), Some(number)),
            ("btrfs", words(0x4d, &[7, 1, 256, 0, 99]), Some(number)),
            ("overlay of ext4", overlay, Some(7)),
            ("none", words(1, &[]), None),
        ];
        for (what, identity, inode) in table {
            assert_eq!(inode_of(&identity), inode, "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..150)) {
            inode_of(&bytes);
        }
    }
}
