//! One CPU's ring of side band records: `perf_event_open(2)` and its mapping.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Records of about 350 new programs: 0.4 s of 800 exec/s on one CPU.
const DATA_BYTES: usize = 256 * 1024;
/// Unread bytes that wake the reader.
const WAKE_BYTES: u32 = 64 * 1024;

const TYPE_SOFTWARE: u32 = 1;
const COUNT_SW_DUMMY: u64 = 9;
/// `PERF_SAMPLE_TID | PERF_SAMPLE_TIME`.
const SAMPLE_ID: u64 = 1 << 1 | 1 << 2;
const MMAP: u64 = 1 << 8;
const WATERMARK: u64 = 1 << 14;
const SAMPLE_ID_ALL: u64 = 1 << 18;
const MMAP2: u64 = 1 << 23;
const USE_CLOCKID: u64 = 1 << 25;
const NAMESPACES: u64 = 1 << 28;
const BPF_EVENT: u64 = 1 << 30;
const FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;

/// Offsets in `struct perf_event_mmap_page`.
const HEAD_AT: usize = 1024;
const TAIL_AT: usize = 1032;

/// `struct perf_event_attr` up to `PERF_ATTR_SIZE_VER5` (Linux 4.1).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_watermark: u32,
    breakpoint_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

const _: () = assert!(size_of::<Attributes>() == 112);

/// Linux 5.1, for `BPF_EVENT`; needs CAP_PERFMON or CAP_SYS_ADMIN.
pub(super) struct Ring {
    event: OwnedFd,
    memory: NonNull<u8>,
    page_bytes: usize,
}

// SAFETY: the mapping belongs to this value alone, and a mapping is not tied to a thread.
unsafe impl Send for Ring {}

impl Ring {
    pub(super) fn open(cpu: u32) -> io::Result<Self> {
        let event = open_event(cpu)?;
        // SAFETY: no pointers.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        // SAFETY: the kernel picks a free place, so no memory of ours is touched.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                page_bytes + DATA_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        let memory = NonNull::new(memory.cast()).filter(|_| memory != libc::MAP_FAILED);
        Ok(Self {
            event,
            memory: memory.ok_or_else(io::Error::last_os_error)?,
            page_bytes,
        })
    }

    /// Replaces what is in `buffer` by the unread records, and makes room for new ones.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) {
        let head = self.counter(HEAD_AT).load(Ordering::Acquire);
        let tail = self.counter(TAIL_AT).load(Ordering::Relaxed);
        let unread = (head.wrapping_sub(tail) as usize).min(DATA_BYTES);
        let begin = tail as usize % DATA_BYTES;
        let until_end = unread.min(DATA_BYTES - begin);
        buffer.clear();
        self.copy(begin, until_end, buffer);
        self.copy(0, unread - until_end, buffer);
        self.counter(TAIL_AT).store(head, Ordering::Release);
    }

    fn copy(&self, at: usize, bytes: usize, buffer: &mut Vec<u8>) {
        debug_assert!(at + bytes <= DATA_BYTES);
        // SAFETY: the data lie after the first page and are `DATA_BYTES` long; the kernel writes none
        // of what is between tail and head before the tail moves.
        let unread = unsafe {
            let data = self.memory.as_ptr().add(self.page_bytes + at);
            std::slice::from_raw_parts(data, bytes)
        };
        buffer.extend_from_slice(unread);
    }

    fn counter(&self, at: usize) -> &AtomicU64 {
        // SAFETY: both counters are aligned and inside the mapped first page, which lives as long as
        // `self`; the kernel too changes them atomically.
        unsafe { AtomicU64::from_ptr(self.memory.as_ptr().add(at).cast()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and nobody borrows it any more.
        let code =
            unsafe { libc::munmap(self.memory.as_ptr().cast(), self.page_bytes + DATA_BYTES) };
        debug_assert_eq!(code, 0);
    }
}

/// Readable when [`WAKE_BYTES`] are unread.
impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

fn open_event(cpu: u32) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind: TYPE_SOFTWARE,
        size: size_of::<Attributes>() as u32,
        config: COUNT_SW_DUMMY,
        sample_type: SAMPLE_ID,
        flags: MMAP | MMAP2 | WATERMARK | SAMPLE_ID_ALL | USE_CLOCKID | NAMESPACES | BPF_EVENT,
        wakeup_watermark: WAKE_BYTES,
        clockid: libc::CLOCK_MONOTONIC,
        ..Attributes::default()
    };
    // SAFETY: the attributes are alive and say their size; every process on one CPU, no group.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            -1,
            cpu as libc::c_int,
            -1,
            FLAG_FD_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
