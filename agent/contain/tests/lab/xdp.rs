//! An AF_XDP socket that only sends: frames that no hook of the network stack sees.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a chunk of the area that frames are taken from.
const CHUNK: usize = 4096;
const RING: u32 = 8;

/// Sends `frames`, at most [`RING`], on the first queue of `device`.
pub fn send(device: &str, frames: &[Vec<u8>]) {
    assert!(frames.len() <= RING as usize);
    // SAFETY: plain system call without pointers; the result is checked below.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "no AF_XDP socket: {}", last_error());
    // SAFETY: `fd` was just opened, is valid, and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let area = map(None, RING as usize * CHUNK, 0);
    let area_registration = libc::xdp_umem_reg {
        addr: area as u64,
        len: (RING as usize * CHUNK) as u64,
        chunk_size: CHUNK as u32,
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    };
    set(&fd, libc::XDP_UMEM_REG, &area_registration);
    for ring in [
        libc::XDP_UMEM_FILL_RING,
        libc::XDP_UMEM_COMPLETION_RING,
        libc::XDP_TX_RING,
    ] {
        set(&fd, ring, &RING);
    }
    let offsets = ring_offsets(&fd);
    let length = offsets.tx.desc as usize + RING as usize * size_of::<libc::xdp_desc>();
    let ring = map(Some(&fd), length, libc::XDP_PGOFF_TX_RING);
    bind(&fd, device);
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the kernel aligns descriptors for what they are"
    )]
    // SAFETY: the mapping is longer than `desc`.
    let descriptors = unsafe { ring.add(offsets.tx.desc as usize).cast::<libc::xdp_desc>() };
    for (index, frame) in frames.iter().enumerate() {
        let descriptor = libc::xdp_desc {
            addr: (index * CHUNK) as u64,
            len: frame.len() as u32,
            options: 0,
        };
        assert!(frame.len() <= CHUNK);
        // SAFETY: the area has a chunk for each of at most RING frames, each frame fits its chunk, and the ring has
        // RING descriptors at `desc`, aligned by the kernel; nobody reads either before the producer moves on.
        unsafe {
            ptr::copy_nonoverlapping(frame.as_ptr(), area.add(index * CHUNK), frame.len());
            descriptors.add(index).write(descriptor);
        }
    }
    // SAFETY: the producer is an aligned u32 in the mapped ring, which the kernel accesses atomically too.
    let producer = unsafe { AtomicU32::from_ptr(ring.add(offsets.tx.producer as usize).cast()) };
    producer.store(frames.len() as u32, Ordering::Release);
    // SAFETY: no data and no address are passed: this only tells the kernel to look at the ring.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            ptr::null(),
            0,
            libc::MSG_DONTWAIT,
            ptr::null(),
            0,
        )
    };
    assert!(sent >= 0, "AF_XDP: {}", last_error());
}

/// Lives as long as the process: a test program sends little.
fn map(fd: Option<&OwnedFd>, length: usize, offset: i64) -> *mut u8 {
    let flags = match fd {
        Some(_) => libc::MAP_SHARED | libc::MAP_POPULATE,
        None => libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    };
    let fd = fd.map_or(-1, AsRawFd::as_raw_fd);
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice; the result is checked below.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), length, rights, flags, fd, offset) };
    assert_ne!(mapped, libc::MAP_FAILED, "mmap: {}", last_error());
    mapped.cast()
}

fn set<T>(fd: &OwnedFd, option: i32, value: &T) {
    // SAFETY: the value outlives the call, and its size is passed with it.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            option,
            ptr::from_ref(value).cast(),
            size_of::<T>() as u32,
        )
    };
    assert_eq!(result, 0, "AF_XDP option {option}: {}", last_error());
}

fn ring_offsets(fd: &OwnedFd) -> libc::xdp_mmap_offsets {
    // SAFETY: the offsets are plain numbers, for which all zeroes is a valid value.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    let mut size = size_of_val(&offsets) as u32;
    // SAFETY: the kernel writes at most `size` bytes, which is the size of what the pointer points at.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            (&raw mut offsets).cast(),
            &raw mut size,
        )
    };
    assert_eq!(result, 0, "AF_XDP offsets: {}", last_error());
    offsets
}

fn bind(fd: &OwnedFd, device: &str) {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: libc::XDP_COPY,
        sxdp_ifindex: nix::net::if_::if_nametoindex(device).unwrap(),
        sxdp_queue_id: 0,
        sxdp_shared_umem_fd: 0,
    };
    // SAFETY: the address outlives the call, and its size is passed with it.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    };
    assert_eq!(result, 0, "AF_XDP bind: {}", last_error());
}

fn last_error() -> std::io::Error {
    std::io::Error::last_os_error()
}
