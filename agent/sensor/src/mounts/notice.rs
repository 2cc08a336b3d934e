//! What fanotify tells of a mount namespace: `FAN_MARK_MNTNS`, Linux 6.15.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::out::Out;

/// `include/uapi/linux/fanotify.h`.
const FAN_CLOEXEC: u32 = 1;
const FAN_NONBLOCK: u32 = 2;
const FAN_REPORT_MNT: u32 = 0x4000;
const FAN_MARK_ADD: u32 = 1;
const FAN_MARK_MNTNS: u32 = 0x110;
const FAN_Q_OVERFLOW: u64 = 0x4000;
const FAN_MNT_ATTACH: u64 = 0x0100_0000;
const FAN_MNT_DETACH: u64 = 0x0200_0000;
const FAN_EVENT_INFO_TYPE_MNT: u8 = 7;

/// `struct fanotify_event_metadata` and `struct fanotify_event_info_mnt`.
const METADATA: usize = 24;
const INFO: usize = 16;

/// One change of the mount table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountNotice {
    /// Who did it; 0 outside the reader's PID namespace.
    pub pid: u32,
    /// The mount's unique id.
    pub mount: u64,
    /// It was mounted here.
    pub attached: bool,
    /// It was unmounted from where it was. Both when it was moved.
    pub detached: bool,
    /// Notices were dropped before this one; then nothing else is told.
    pub overflow: bool,
}

/// Why bytes are no notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// A length that cannot be.
    #[error("fanotify event says it has {said} bytes where {bytes} are left")]
    Size {
        /// By the event.
        said: usize,
        /// In fact.
        bytes: usize,
    },
}

/// The first notice of `bytes`, `None` unless it is about a mount, and how many bytes it has (at
/// least 24).
pub fn decode_mount_notice(bytes: &[u8]) -> Result<(Option<MountNotice>, usize), NoticeError> {
    let said = number(bytes, 0, 4) as usize;
    let whole = bytes.get(..said).filter(|whole| whole.len() >= METADATA);
    let event = whole.ok_or(NoticeError::Size {
        said,
        bytes: bytes.len(),
    })?;
    let mask = number(event, 8, 8);
    if mask & FAN_Q_OVERFLOW != 0 {
        let notice = MountNotice {
            overflow: true,
            ..MountNotice::default()
        };
        return Ok((Some(notice), said));
    }
    let info = event.get(METADATA..METADATA + INFO);
    let info = info.filter(|info| info[0] == FAN_EVENT_INFO_TYPE_MNT);
    let notice = info.map(|info| MountNotice {
        pid: number(event, 20, 4) as u32,
        mount: number(info, 8, 8),
        attached: mask & FAN_MNT_ATTACH != 0,
        detached: mask & FAN_MNT_DETACH != 0,
        overflow: false,
    });
    Ok((notice, said))
}

/// An integer of the machine's order; 0 where there are no such bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let mut wide = [0; 8];
    if let Some(bytes) = bytes.get(at..at + size) {
        let place = if cfg!(target_endian = "big") {
            8 - size
        } else {
            0
        };
        wide[place..place + size].copy_from_slice(bytes);
    }
    u64::from_ne_bytes(wide)
}

/// A fanotify group that hears of the agent's mount namespace. Readable when there is something.
pub(super) struct Marked {
    group: File,
}

impl Marked {
    pub(super) fn open() -> io::Result<Self> {
        let flags = FAN_REPORT_MNT | FAN_CLOEXEC | FAN_NONBLOCK;
        // SAFETY: no pointers.
        let fd = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else owns it.
        let group = unsafe { OwnedFd::from_raw_fd(fd) };
        let namespace = File::open("/proc/self/ns/mnt")?;
        let events = FAN_MNT_ATTACH | FAN_MNT_DETACH;
        let how = FAN_MARK_ADD | FAN_MARK_MNTNS;
        // SAFETY: both descriptors are open, and no path means the descriptor itself.
        let code = unsafe {
            let path = std::ptr::null();
            libc::fanotify_mark(group.as_raw_fd(), how, events, namespace.as_raw_fd(), path)
        };
        if code < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            group: group.into(),
        })
    }

    /// What is there, at most 4 KiB of it.
    pub(super) fn read(&self, out: &Out) -> Vec<MountNotice> {
        let mut buffer = [0; 4096];
        let Ok(size) = (&self.group).read(&mut buffer) else {
            return Vec::new();
        };
        let mut bytes = &buffer[..size];
        let mut notices = Vec::new();
        while !bytes.is_empty() {
            match decode_mount_notice(bytes) {
                Ok((Some(notice), _)) if notice.overflow => out.loss("fanotify/mount", 1),
                Ok((notice, _)) => notices.extend(notice),
                Err(error) => {
                    tracing::error!(%error, "cannot read a mount's event");
                    out.loss("fanotify/malformed", 1);
                    break;
                }
            }
            bytes = &bytes[number(bytes, 0, 4) as usize..];
        }
        notices
    }
}

impl AsFd for Marked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mount_is_told() {
        // As Linux 6.18 wrote it.
        let bytes: [u64; 5] = [
            0x0018_0003_0000_0028,
            FAN_MNT_ATTACH,
            0x0000_5f0d_ffff_ffff,
            0x0010_0007,
            0x8002_85c0,
        ];
        let bytes: Vec<u8> = bytes.into_iter().flat_map(u64::to_le_bytes).collect();
        let notice = MountNotice {
            pid: 0x5f0d,
            mount: 0x8002_85c0,
            attached: true,
            ..MountNotice::default()
        };
        assert_eq!(decode_mount_notice(&bytes), Ok((Some(notice), 40)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            if let Ok((_, size)) = decode_mount_notice(&bytes) {
                prop_assert!((METADATA..=bytes.len()).contains(&size));
            }
        }

        #[test]
        fn any_body_is_answered(body in proptest::collection::vec(any::<u8>(), 20..200)) {
            let mut bytes = (body.len() as u32 + 4).to_ne_bytes().to_vec();
            bytes.extend(&body);
            let (_, size) = decode_mount_notice(&bytes).expect("the length is right");
            prop_assert_eq!(size, bytes.len());
        }
    }
}
