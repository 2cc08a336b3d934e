//! How the process that the sensor runs in shares out its memory.

/// Lets all threads allocate from one arena of the C library; to be called before a thread is started.
///
/// Events are allocated by the reader, kept by the judge and freed by whoever came last. With an arena for each thread,
/// glibc's way, each arena keeps what it once needed, which is nobody's any more: `rss_steady` of
/// `cargo xtask bench sensor --only sweep` is what it comes to. Other C libraries have no arenas: nothing happens there.
///
/// Source: `mallopt(3)`, `M_ARENA_MAX`.
pub fn share_one_arena() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt takes numbers only, and may be called at any time.
        let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        debug_assert_eq!(taken, 1, "glibc took M_ARENA_MAX");
    }
}
