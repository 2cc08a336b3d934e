//! The kernel's clocks that nobody sets.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::ContainError;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A moment on the clock of a boot, and what time it was then for whoever keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    boot_id: String,
    /// CLOCK_BOOTTIME, nanoseconds.
    boot_ns: u64,
    /// What time it was.
    time: Timestamp,
}

impl Moment {
    /// Of this boot; `None` where its name cannot be read.
    pub fn of_this_boot(boot_ns: u64, time: Timestamp) -> Option<Self> {
        let boot_id = boot_id().ok()?.trim().to_owned();
        Some(Self {
            boot_id,
            boot_ns,
            time,
        })
    }

    /// CLOCK_BOOTTIME and the time then, if that was in this boot: the clock of another one says nothing now.
    pub fn in_this_boot(&self) -> Option<(u64, Timestamp)> {
        let this = boot_id().ok()?;
        (this.trim() == self.boot_id).then_some((self.boot_ns, self.time))
    }
}

/// As the kernel writes it, with the end of the line.
pub(crate) fn boot_id() -> Result<String, ContainError> {
    std::fs::read_to_string(BOOT_ID).map_err(ContainError::disk("read", BOOT_ID))
}

/// CLOCK_MONOTONIC, nanoseconds: comparable with the stamps of eBPF's `bpf_ktime_get_ns`.
pub fn monotonic_ns() -> u64 {
    ns_of(libc::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME, nanoseconds: like [`monotonic_ns`], and goes on while the machine is suspended.
pub fn boottime_ns() -> u64 {
    ns_of(libc::CLOCK_BOOTTIME)
}

fn ns_of(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid, writable timespec for the whole call, and both clocks always exist.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    debug_assert_eq!(result, 0, "both clocks exist on every Linux");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
