//! The kernel's clocks.

/// CLOCK_MONOTONIC, nanoseconds: what the kernel stamps events with.
pub fn mono_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME, nanoseconds: what the kernel stamps the beginning of processes with.
pub(crate) fn boot_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// CPU time of the calling thread, nanoseconds.
pub(crate) fn thread_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// What to add to a monotonic time to get the wall time, as the clocks stand now.
pub(crate) fn wall_offset_ns() -> i64 {
    read(libc::CLOCK_REALTIME).cast_signed() - mono_ns().cast_signed()
}

/// Nanoseconds in one tick of the start times that `/proc` tells.
pub(crate) fn tick_ns() -> u64 {
    1_000_000_000 / procfs::ticks_per_second().max(1)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec, which is all that the call writes. It cannot fail
    // for these clocks.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
