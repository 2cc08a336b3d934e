//! What a mount is, by its unique id: `statmount(2)` and `listmount(2)`, Linux 6.8.

use std::collections::HashMap;
use std::sync::Arc;

use cordon_behavior::event::EventBody;

use super::notice::MountNotice;
use crate::cache::Gauge;

const SYS_STATMOUNT: libc::c_long = 457;
const SYS_LISTMOUNT: libc::c_long = 458;
const LSMT_ROOT: u64 = u64::MAX;
const STATMOUNT_MNT_POINT: u64 = 0x10;
const STATMOUNT_FS_TYPE: u64 = 0x20;

/// Offsets in `struct statmount`.
const MASK_AT: usize = 8;
const FS_TYPE_AT: usize = 36;
const MNT_POINT_AT: usize = 108;
const STRINGS_AT: usize = 512;
/// A path of 4 KiB and the name of a file system fit.
const STAT_BYTES: usize = STRINGS_AT + 4096 + 256;

/// Most mounts remembered.
const LIMIT: usize = 16_384;
/// An upper estimate of an entry with a usual path.
const ENTRY_BYTES: u64 = 192;

/// `struct mnt_id_req`, first version.
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    mount: u64,
    param: u64,
}

/// Where a mount is, and the type of its file system; an empty text for what is not told. Bytes are a
/// `struct statmount` with its strings.
pub fn decode_statmount(bytes: &[u8]) -> (String, String) {
    let u32_at = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let mask = bytes.get(MASK_AT..MASK_AT + 8);
    let mask = mask
        .and_then(|mask| mask.try_into().ok())
        .map_or(0, u64::from_ne_bytes);
    let text = |told: u64, at: usize| {
        let offset = u32_at(at).filter(|_| mask & told != 0)?;
        let text = bytes.get(STRINGS_AT.checked_add(offset as usize)?..)?;
        let end = text.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&text[..end]).into_owned())
    };
    (
        text(STATMOUNT_MNT_POINT, MNT_POINT_AT).unwrap_or_default(),
        text(STATMOUNT_FS_TYPE, FS_TYPE_AT).unwrap_or_default(),
    )
}

/// Where each mount is: once it is unmounted nobody says.
pub(super) struct Names {
    known: HashMap<u64, (String, String)>,
    gauge: Arc<Gauge>,
    refused: u64,
}

impl Names {
    /// With the mounts that are there.
    pub(super) fn new() -> Self {
        let gauge = Gauge::new("mounts", ENTRY_BYTES, LIMIT as u64 * ENTRY_BYTES);
        let mut names = Self {
            known: HashMap::new(),
            gauge,
            refused: 0,
        };
        for mount in list() {
            names.learn(mount, statmount(mount));
        }
        names
    }

    pub(super) fn gauge(&self) -> Arc<Gauge> {
        self.gauge.clone()
    }

    /// The events of one notice: unmounted from where it was, mounted where it is.
    pub(super) fn tell(&mut self, notice: &MountNotice) -> impl Iterator<Item = EventBody> + use<> {
        let gone = notice.detached.then(|| self.known.remove(&notice.mount));
        let come = notice.attached.then(|| {
            let name = statmount(notice.mount);
            self.learn(notice.mount, name.clone());
            name
        });
        self.gauge.set(self.known.len(), self.refused);
        let event = |(path, fs_type), attached| EventBody::Mount {
            path,
            attached,
            fs_type,
        };
        let gone = gone.map(|name| event(name.unwrap_or_default(), false));
        let come = come.map(|name| event(name, true));
        gone.into_iter().chain(come)
    }

    fn learn(&mut self, mount: u64, name: (String, String)) {
        if self.known.len() >= LIMIT {
            self.refused += 1;
            return;
        }
        self.known.insert(mount, name);
        self.gauge.set(self.known.len(), self.refused);
    }
}

/// Empty when it is gone already.
fn statmount(mount: u64) -> (String, String) {
    let request = Request {
        size: size_of::<Request>() as u32,
        spare: 0,
        mount,
        param: STATMOUNT_MNT_POINT | STATMOUNT_FS_TYPE,
    };
    let mut buffer = vec![0_u64; STAT_BYTES / 8];
    // SAFETY: both pointers are to live values, and the size is the buffer's.
    let code = unsafe {
        let buffer = buffer.as_mut_ptr();
        libc::syscall(SYS_STATMOUNT, &raw const request, buffer, STAT_BYTES, 0)
    };
    if code < 0 {
        return Default::default();
    }
    let bytes: Vec<u8> = buffer.into_iter().flat_map(u64::to_ne_bytes).collect();
    decode_statmount(&bytes)
}

/// The unique ids of the mounts of this namespace, at most [`LIMIT`].
fn list() -> Vec<u64> {
    let mut mounts = Vec::new();
    let mut page = [0_u64; 256];
    while mounts.len() < LIMIT {
        let request = Request {
            size: size_of::<Request>() as u32,
            spare: 0,
            mount: LSMT_ROOT,
            param: mounts.last().copied().unwrap_or(0),
        };
        // SAFETY: both pointers are to live values, and the count is the page's.
        let count = unsafe {
            let ids = page.as_mut_ptr();
            libc::syscall(SYS_LISTMOUNT, &raw const request, ids, page.len(), 0)
        };
        match usize::try_from(count) {
            Ok(count) if count > 0 => mounts.extend(&page[..count.min(page.len())]),
            _ => break,
        }
    }
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..1200)) {
            decode_statmount(&bytes);
        }

        /// Says that both are told, anywhere.
        #[test]
        fn any_offsets_are_answered(path: u32, fs_type: u32, strings: Vec<u8>) {
            let mut bytes = vec![0; STRINGS_AT];
            bytes[MASK_AT] = 0x30;
            bytes[MNT_POINT_AT..MNT_POINT_AT + 4].copy_from_slice(&path.to_ne_bytes());
            bytes[FS_TYPE_AT..FS_TYPE_AT + 4].copy_from_slice(&fs_type.to_ne_bytes());
            bytes.extend(&strings);
            decode_statmount(&bytes);
        }
    }
}
