//! Who changed a set-id program lately, as the programs noted it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use libbpf_rs::libbpf_sys;

use super::skel::SensorSkel;
use crate::clock;

/// A change is read from fanotify's queue long before it is so old.
const RECENT_NS: u64 = 5_000_000_000;

/// `struct set_id_key`.
#[repr(C)]
struct Key {
    pid: u32,
    hole: u32,
    inode: u64,
}

/// The programs' notes.
pub(crate) struct SetIds(OwnedFd);

impl SetIds {
    /// `None` where the kernel lacks their hooks (before Linux 6.13).
    pub(super) fn of(skel: &SensorSkel<'_>) -> Option<Self> {
        skel.links.on_coarse_ctime.as_ref()?;
        let map = skel.maps.set_ids.as_fd().try_clone_to_owned();
        map.map(Self).ok()
    }

    /// Whether the process with this pid changed the file with this inode number in the last seconds, and
    /// that ran with its owner's or group's rights then.
    pub(crate) fn changed_by(&self, pid: u32, inode: u64) -> bool {
        let key = Key {
            pid,
            hole: 0,
            inode,
        };
        let mut mono_ns = 0_u64;
        // SAFETY: key and value have the sizes that the map was made with, and live through the call.
        let code = unsafe {
            libbpf_sys::bpf_map_lookup_elem(
                self.0.as_raw_fd(),
                (&raw const key).cast(),
                (&raw mut mono_ns).cast(),
            )
        };
        code == 0 && clock::mono_ns().saturating_sub(mono_ns) < RECENT_NS
    }
}
