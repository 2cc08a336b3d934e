//! The proc connector: the kernel's netlink broadcast of what happens to processes.
//!
//! `drivers/connector/cn_proc.c`, `struct proc_event`, Linux 2.6.15. It answers only in the first
//! network, PID and user namespaces, and names processes by their pid there.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, setsockopt, sockopt};

use crate::scope;

/// `include/linux/proc_ns.h`, `PROC_PID_INIT_INO`.
const FIRST_PID_NAMESPACE: u32 = 0xEFFF_FFFC;
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;
const NLMSG_DONE: u16 = 3;
/// The first kernel that takes a mask of events with the wish to listen.
const MASKED_SINCE: (u32, u32) = (6, 6);

/// A process was made.
pub(crate) const FORK: u32 = 1;
/// A new image.
pub(crate) const EXEC: u32 = 2;
/// A change of the user ids.
pub(crate) const UID: u32 = 4;
/// A change of the group ids.
pub(crate) const GID: u32 = 0x40;
/// A tracer attached or detached.
pub(crate) const PTRACE: u32 = 0x100;
/// A process ended.
pub(crate) const EXIT: u32 = 0x8000_0000;

/// `struct nlmsghdr` and `struct cn_msg` come before `struct proc_event`.
const NETLINK_HEADER: usize = 16;
const CONNECTOR_HEADER: usize = 20;
const EVENT_AT: usize = NETLINK_HEADER + CONNECTOR_HEADER;
/// `what`, `cpu` and `timestamp_ns` come before the union.
const DATA_AT: usize = EVENT_AT + 16;

/// A socket that hears of some kinds of events. Readable when there are any.
pub(crate) struct Connector {
    socket: OwnedFd,
}

impl Connector {
    /// Listens for the events in `kinds`, a sum of the constants here.
    pub(crate) fn open(kinds: u32, receive_bytes: usize) -> io::Result<Self> {
        if scope::own_pid_namespace().map_err(io::Error::other)? != FIRST_PID_NAMESPACE {
            return Err(io::Error::other(
                "the proc connector answers only in the first PID namespace",
            ));
        }
        let socket = bind()?;
        // The default buffer loses events in any build; being refused more is no reason to give up.
        if let Err(error) = setsockopt(&socket, sockopt::RcvBufForce, &receive_bytes) {
            tracing::debug!(%error, "cannot enlarge the proc connector's buffer");
        }
        filter(&socket, kinds)?;
        let mask = (kernel_version() >= MASKED_SINCE).then_some(kinds);
        socket::send(
            socket.as_raw_fd(),
            &message(LISTEN, mask),
            MsgFlags::empty(),
        )?;
        Ok(Self { socket })
    }

    /// The next notice without waiting; `Ok(None)` where one is of no interest.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<Option<Notice>, Errno> {
        let bytes = socket::recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
        Ok(Notice::parse(&buffer[..bytes]))
    }
}

impl Drop for Connector {
    /// Kernels before 6.6 would go on as if somebody listened, at the cost of every fork.
    fn drop(&mut self) {
        let stop = message(IGNORE, None);
        if let Err(error) = socket::send(self.socket.as_raw_fd(), &stop, MsgFlags::empty()) {
            tracing::debug!(%error, "cannot tell the proc connector that nobody listens");
        }
    }
}

impl AsFd for Connector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn bind() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers; the result is checked before use.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = socket::NetlinkAddr::new(0, CN_IDX_PROC);
    socket::bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

/// Drops in the kernel what is not in `kinds`: kernels before 6.6 send every event to everybody.
fn filter(socket: &OwnedFd, kinds: u32) -> io::Result<()> {
    let mut program = filter_program(kinds);
    let described = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the description and the program that it points to outlive the call, which copies them.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const described).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Load `what`; leave with all of the message if it is one of `kinds`, else with nothing of it.
fn filter_program(kinds: u32) -> Vec<libc::sock_filter> {
    let instruction = |code: u32, k: u32, jt: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf: 0,
        k,
    };
    let wanted: Vec<u32> = (0..32)
        .map(|bit| 1 << bit)
        .filter(|it| kinds & it != 0)
        .collect();
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let mut program = vec![instruction(load, EVENT_AT as u32, 0)];
    for (index, kind) in wanted.iter().enumerate() {
        // Loads are big-endian whatever the machine.
        let loaded = u32::from_be_bytes(kind.to_ne_bytes());
        let to_accept = (wanted.len() - index) as u8;
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.push(instruction(equal, loaded, to_accept));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0));
    program.push(instruction(libc::BPF_RET | libc::BPF_K, u32::MAX, 0));
    program
}

fn message(operation: u32, mask: Option<u32>) -> Vec<u8> {
    let input: Vec<u8> = [Some(operation), mask]
        .into_iter()
        .flatten()
        .flat_map(u32::to_ne_bytes)
        .collect();
    let mut message = Vec::new();
    message.extend(((EVENT_AT + input.len()) as u32).to_ne_bytes());
    message.extend(NLMSG_DONE.to_ne_bytes());
    message.extend([0; 10]); // flags, sequence, port
    message.extend(CN_IDX_PROC.to_ne_bytes());
    message.extend(CN_VAL_PROC.to_ne_bytes());
    message.extend([0; 8]); // sequence, ack
    message.extend((input.len() as u16).to_ne_bytes());
    message.extend([0; 2]); // flags
    message.extend(input);
    message
}

fn kernel_version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    (next().unwrap_or(0), next().unwrap_or(0))
}

/// One `struct proc_event`; forks and ends of threads are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub mono_ns: u64,
    /// What happened.
    pub what: What,
}

/// What a notice tells; pids are thread groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Fork { parent: u32, child: u32 },
    Exec { pid: u32 },
    Exit { pid: u32, status: u32 },
    Uid { pid: u32, real: u32, effective: u32 },
    Gid { pid: u32, real: u32, effective: u32 },
    Ptrace { target: u32, tracer: u32 },
}

impl Notice {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let stamp = bytes.get(EVENT_AT + 8..DATA_AT)?;
        Some(Self {
            what: What::parse(bytes)?,
            mono_ns: u64::from_ne_bytes(stamp.try_into().ok()?),
        })
    }
}

impl What {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let u32_at = |at: usize| {
            let bytes = bytes.get(at..at + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let data = |index: usize| u32_at(DATA_AT + 4 * index);
        Some(match u32_at(EVENT_AT)? {
            // parent_pid, parent_tgid, child_pid, child_tgid
            FORK if data(2)? == data(3)? => Self::Fork {
                parent: data(1)?,
                child: data(3)?,
            },
            // process_pid, process_tgid
            EXEC => Self::Exec { pid: data(1)? },
            // process_pid, process_tgid, exit_code, exit_signal
            EXIT if data(0)? == data(1)? => Self::Exit {
                pid: data(1)?,
                status: data(2)?,
            },
            // process_pid, process_tgid, real, effective
            UID => Self::Uid {
                pid: data(1)?,
                real: data(2)?,
                effective: data(3)?,
            },
            GID => Self::Gid {
                pid: data(1)?,
                real: data(2)?,
                effective: data(3)?,
            },
            // process_pid, process_tgid, tracer_pid, tracer_tgid: 0 when it detaches
            PTRACE if data(3)? != 0 => Self::Ptrace {
                target: data(1)?,
                tracer: data(3)?,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(what: u32, data: [u32; 4]) -> Vec<u8> {
        let mut bytes = vec![0; EVENT_AT];
        bytes.extend(what.to_ne_bytes());
        bytes.extend([0; 12]);
        bytes.extend(data.into_iter().flat_map(u32::to_ne_bytes));
        bytes
    }

    fn what(kind: u32, data: [u32; 4]) -> Option<What> {
        Notice::parse(&event(kind, data)).map(|notice| notice.what)
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes: Vec<u8>) {
            Notice::parse(&bytes);
        }

        #[test]
        fn any_event_is_parsed_without_a_panic(bit in 0u32..32, bytes: Vec<u8>) {
            let mut all = event(1 << bit, [0; 4]);
            all.truncate(DATA_AT);
            all.extend(bytes);
            Notice::parse(&all);
        }
    }

    #[test]
    fn a_thread_that_ends_or_starts_is_no_process() {
        assert_eq!(what(EXIT, [7, 6, 0, 0]), None);
        assert_eq!(
            what(EXIT, [7, 7, 0, 0]),
            Some(What::Exit { pid: 7, status: 0 })
        );
        assert_eq!(what(FORK, [1, 1, 8, 7]), None);
    }

    #[test]
    fn a_tracer_that_goes_is_no_news() {
        assert_eq!(what(PTRACE, [7, 7, 0, 0]), None);
        let traced = What::Ptrace {
            target: 7,
            tracer: 9,
        };
        assert_eq!(what(PTRACE, [7, 7, 9, 9]), Some(traced));
    }

    #[test]
    fn the_filter_jumps_to_its_last_instruction() {
        let program = filter_program(UID | GID | PTRACE);
        for (index, instruction) in program.iter().enumerate().skip(1).take(3) {
            assert_eq!(index + 1 + usize::from(instruction.jt), program.len() - 1);
        }
    }
}
