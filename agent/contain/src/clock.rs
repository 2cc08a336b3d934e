//! The kernel's clocks that nobody sets.

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
