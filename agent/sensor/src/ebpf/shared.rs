//! What programs and reader tell each other without a system call: the object's .bss, which libbpf
//! maps into this process.

use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use libbpf_rs::{AsRawLibbpf, libbpf_sys};

use super::skel::{SensorSkel, types};
use crate::SensorError;
use crate::record::KINDS;

/// The mapped variables, as long as the object lives.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    bss: NonNull<u8>,
    object: PhantomData<&'a ()>,
}

/// The programs count by as many kinds as there are names for.
const _: fn(&types::bss) -> &[u64; KINDS.len()] = |bss| &bss.losses;
const _: fn(&types::bss) -> &[u64; KINDS.len()] = |bss| &bss.throttles;

impl<'a> Shared<'a> {
    pub(super) fn of(skel: &'a SensorSkel<'_>) -> Result<Self, SensorError> {
        let mut bytes = 0;
        // SAFETY: the map is that of a loaded object, and `bytes` is where the call writes its size.
        let start = unsafe {
            let map = skel.maps.bss.as_libbpf_object().as_ptr();
            libbpf_sys::bpf_map__initial_value(map, &raw mut bytes)
        };
        let bss = NonNull::new(start.cast()).filter(|_| bytes as usize >= size_of::<types::bss>());
        let bss = bss.ok_or_else(|| SensorError::Ebpf {
            act: "map the variables of the eBPF programs",
            source: libbpf_rs::Error::from_raw_os_error(libc::ENOMEM),
        })?;
        Ok(Self {
            bss,
            object: PhantomData,
        })
    }

    /// Records of a kind that found the ring full.
    pub(super) fn lost(self, kind: usize) -> u64 {
        self.count(offset_of!(types::bss, losses), kind)
    }

    /// Records of a kind that were not handed over because their cgroup made too many.
    pub(super) fn throttled(self, kind: usize) -> u64 {
        self.count(offset_of!(types::bss, throttles), kind)
    }

    /// Thread group whose signals are noted; 0 before anybody said so.
    pub(super) fn agent(self) -> u32 {
        // SAFETY: inside the mapping by `of`, aligned as the compiler of the object laid it out.
        let agent = unsafe {
            let at = self.bss.add(offset_of!(types::bss, agent_tgid));
            AtomicU32::from_ptr(at.as_ptr().cast())
        };
        agent.load(Ordering::Relaxed)
    }

    /// From here on a program that submits something urgent wakes the reader. Full barrier: what the
    /// caller reads of the ring after this is no older than the flag.
    pub(super) fn fall_asleep(self) {
        self.reader_sleeps().store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    pub(super) fn wake_up(self) {
        self.reader_sleeps().store(0, Ordering::Relaxed);
    }

    fn reader_sleeps(&self) -> &AtomicU32 {
        // SAFETY: inside the mapping by `of`, aligned as the compiler of the object laid it out, and
        // nobody makes a reference to it but as an atomic.
        unsafe {
            let at = self.bss.add(offset_of!(types::bss, reader_sleeps));
            AtomicU32::from_ptr(at.as_ptr().cast())
        }
    }

    fn count(self, array_at: usize, kind: usize) -> u64 {
        assert!(kind < KINDS.len(), "no such kind of record");
        // SAFETY: as above; the array has an entry for each kind.
        let counter = unsafe {
            let at = self.bss.add(array_at + kind * size_of::<u64>());
            AtomicU64::from_ptr(at.as_ptr().cast())
        };
        counter.load(Ordering::Relaxed)
    }
}
