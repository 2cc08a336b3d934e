//! The proc connector: the kernel's netlink broadcast of forks, execs and exits.
//!
//! `drivers/connector/cn_proc.c`, `struct proc_event`, Linux 2.6.15. It answers only in the first
//! network, PID and user namespaces, and names processes by pid: the rest is read from `/proc`.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use cordon_behavior::event::EventBody;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, MsgFlags, setsockopt, sockopt};

use super::{Known, event};
use crate::out::Out;
use crate::scope;

/// `include/linux/proc_ns.h`, `PROC_PID_INIT_INO`.
const FIRST_PID_NAMESPACE: u32 = 0xEFFF_FFFC;
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const NLMSG_DONE: u16 = 3;

const PROC_EVENT_FORK: u32 = 1;
const PROC_EVENT_EXEC: u32 = 2;
const PROC_EVENT_EXIT: u32 = 0x8000_0000;

/// `struct nlmsghdr` and `struct cn_msg` come before `struct proc_event`.
const NETLINK_HEADER: usize = 16;
const CONNECTOR_HEADER: usize = 20;
const EVENT_AT: usize = NETLINK_HEADER + CONNECTOR_HEADER;
/// `what`, `cpu` and `timestamp_ns` come before the union.
const DATA_AT: usize = EVENT_AT + 16;

const RECEIVE_BYTES: usize = 4 * 1024 * 1024;

pub(super) struct Connector {
    socket: OwnedFd,
}

impl Connector {
    pub(super) fn open() -> io::Result<Self> {
        if scope::own_pid_namespace().map_err(io::Error::other)? != FIRST_PID_NAMESPACE {
            return Err(io::Error::other(
                "the proc connector answers only in the first PID namespace",
            ));
        }
        let socket = bind()?;
        // The default buffer loses events in any build; being refused more is no reason to give up.
        if let Err(error) = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BYTES) {
            tracing::debug!(%error, "cannot enlarge the proc connector's buffer");
        }
        socket::send(socket.as_raw_fd(), &listen_message(), MsgFlags::empty())?;
        Ok(Self { socket })
    }

    pub(super) fn watch(&self, known: &mut Known, out: &Out, stopped: &PipeReader) {
        let mut buffer = [0; 4096];
        loop {
            let mut fds = [
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
            ];
            let woken = poll(&mut fds, PollTimeout::NONE);
            if woken.is_ok() && fds[1].any().unwrap_or(false) {
                return;
            }
            self.drain(&mut buffer, known, out);
        }
    }

    fn drain(&self, buffer: &mut [u8], known: &mut Known, out: &Out) {
        loop {
            match socket::recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(bytes) => {
                    if let Some(notice) = Notice::parse(&buffer[..bytes]) {
                        notice.tell(known, out);
                    }
                }
                // The kernel says that it dropped some, not how many.
                Err(Errno::ENOBUFS) => out.loss("proc connector", 1),
                Err(_) => return,
            }
        }
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

fn listen_message() -> Vec<u8> {
    let length = (EVENT_AT + size_of::<u32>()) as u32;
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(NLMSG_DONE.to_ne_bytes());
    message.extend([0; 10]); // flags, sequence, port
    message.extend(CN_IDX_PROC.to_ne_bytes());
    message.extend(CN_VAL_PROC.to_ne_bytes());
    message.extend([0; 8]); // sequence, ack
    message.extend((size_of::<u32>() as u16).to_ne_bytes());
    message.extend([0; 2]); // flags
    message.extend(PROC_CN_MCAST_LISTEN.to_ne_bytes());
    message
}

/// One `struct proc_event`, threads left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Notice {
    mono_ns: u64,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Fork { parent: u32, child: u32 },
    Exec { pid: u32 },
    Exit { pid: u32, status: u32 },
}

impl Notice {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let u32_at = |at: usize| {
            let bytes = bytes.get(at..at + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let data = |index: usize| u32_at(DATA_AT + 4 * index);
        let stamp = bytes.get(EVENT_AT + 8..DATA_AT)?;
        let what = match u32_at(EVENT_AT)? {
            // parent_pid, parent_tgid, child_pid, child_tgid
            PROC_EVENT_FORK if data(2)? == data(3)? => What::Fork {
                parent: data(1)?,
                child: data(3)?,
            },
            // process_pid, process_tgid
            PROC_EVENT_EXEC => What::Exec { pid: data(1)? },
            // process_pid, process_tgid, exit_code, exit_signal
            PROC_EVENT_EXIT if data(0)? == data(1)? => What::Exit {
                pid: data(1)?,
                status: data(2)?,
            },
            _ => return None,
        };
        Some(Self {
            mono_ns: u64::from_ne_bytes(stamp.try_into().ok()?),
            what,
        })
    }

    fn tell(self, known: &mut Known, out: &Out) {
        let told = match self.what {
            What::Fork { parent, child } => known.key_now(child).and_then(|child| {
                let parent = known.key(parent).or_else(|| known.key_now(parent))?;
                Some((parent, EventBody::Fork { child }))
            }),
            What::Exec { pid } => known
                .image(pid, false)
                .map(|(process, exec)| (process, EventBody::Exec(Box::new(exec)))),
            What::Exit { pid, status } => known.forget(pid).map(|process| {
                let code = (status >> 8 & 0xff).cast_signed();
                let signal = (status & 0x7f).cast_signed();
                (process, EventBody::Exit { code, signal })
            }),
        };
        match told {
            Some((process, body)) => out.event(event(self.mono_ns, process, body)),
            // It ended before /proc was read: its exec is lost, and its end means nothing to anybody.
            None if matches!(self.what, What::Exec { .. }) => out.loss("proc/exec", 1),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes: Vec<u8>) {
            Notice::parse(&bytes);
        }
    }

    #[test]
    fn a_thread_that_ends_or_starts_is_no_process() {
        let mut bytes = vec![0; DATA_AT + 24];
        bytes[EVENT_AT..EVENT_AT + 4].copy_from_slice(&PROC_EVENT_EXIT.to_ne_bytes());
        bytes[DATA_AT] = 7;
        bytes[DATA_AT + 4] = 6;
        assert_eq!(Notice::parse(&bytes), None);
        bytes[DATA_AT + 4] = 7;
        let what = What::Exit { pid: 7, status: 0 };
        assert_eq!(Notice::parse(&bytes), Some(Notice { mono_ns: 0, what }));
    }
}
