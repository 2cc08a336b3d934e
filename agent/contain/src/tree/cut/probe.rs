//! Proof by trying: a process of our own goes where the cut-off are, and tries what they would.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cordon_proto::record::Probe;

/// The port that discards, on the host itself: whether a datagram gets so far depends on nobody else.
const DISCARD: u16 = 9;
const TRIES: [(u8, &str, bool); 4] = [
    (1, "udp 127.0.0.1:9 by one who is not cut off", true),
    (2, "udp [::1]:9 by one who is not cut off", true),
    (4, "udp 127.0.0.1:9 by one who is cut off", false),
    (8, "udp [::1]:9 by one who is cut off", false),
];
const NOT_MOVED: i32 = 64;

/// Sends from outside and from inside. A family in which nothing leaves from outside either is not listed; nothing is
/// when the process could not be made or moved.
pub(super) fn probe(procs: &Path) -> Vec<Probe> {
    let Some(reached) = CString::new(procs.as_os_str().as_bytes())
        .ok()
        .and_then(|procs| run(&procs))
    else {
        return Vec::new();
    };
    let said = |bit: u8| reached & bit != 0;
    let listed = TRIES
        .iter()
        .filter(|(bit, ..)| said(*bit) || said(*bit >> 2));
    listed
        .map(|(bit, target, expected)| Probe {
            target: (*target).to_owned(),
            reached: said(*bit),
            expected: *expected,
        })
        .collect()
}

fn run(procs: &CString) -> Option<u8> {
    // SAFETY: the child of a process with threads may call only what is safe in a signal handler: it makes system
    // calls, allocates nothing, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the path outlives the call, and the rest takes integers.
        unsafe {
            let free = send4() | send6() << 1;
            let file = libc::open(procs.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if libc::write(file, c"0".as_ptr().cast(), 1) != 1 {
                libc::_exit(NOT_MOVED);
            }
            libc::_exit(i32::from(free | (send4() | send6() << 1) << 2));
        }
    }
    let mut status = 0;
    // SAFETY: `status` is ours, and the child nobody else's to wait for.
    while child > 0 && unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return None;
        }
    }
    let has_told = child > 0 && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != NOT_MOVED;
    has_told.then(|| libc::WEXITSTATUS(status) as u8)
}

fn send4() -> u8 {
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: DISCARD.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_be_bytes([127, 0, 0, 1]).to_be(),
        },
        sin_zero: [0; 8],
    };
    send(libc::AF_INET, (&raw const to).cast(), size_of_val(&to))
}

fn send6() -> u8 {
    let mut address = [0; 16];
    address[15] = 1;
    let to = libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: DISCARD.to_be(),
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: address },
        sin6_scope_id: 0,
    };
    send(libc::AF_INET6, (&raw const to).cast(), size_of_val(&to))
}

/// 1 when an empty datagram leaves, else 0.
fn send(family: i32, to: *const libc::sockaddr, length: usize) -> u8 {
    // SAFETY: `to` points to an address of that length, which outlives the call.
    unsafe {
        let socket = libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let sent = libc::sendto(
            socket,
            std::ptr::null(),
            0,
            0,
            to,
            length as libc::socklen_t,
        );
        libc::close(socket);
        u8::from(sent == 0)
    }
}
