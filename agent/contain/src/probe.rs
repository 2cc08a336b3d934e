//! Proof by trying: who can be reached, with the agent's mark and without.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use cordon_proto::policy::Transport;
use cordon_proto::record::Probe;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, setsockopt, socket,
    sockopt,
};

use crate::spec::transport_name;

/// A blocked probe is silent, so this long is what silence takes to count; longer where the
/// controller itself takes longer to answer.
const SILENCE: Duration = Duration::from_millis(200);
/// A controller that takes longer than this is taken as not answering.
const PATIENCE: Duration = Duration::from_millis(1500);
const POLL_STEP: Duration = Duration::from_millis(20);

/// Somewhere that must be out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeTarget {
    /// Where.
    pub address: SocketAddr,
    /// By TCP connect, or by sending one empty UDP datagram, which the kernel refuses when it is dropped.
    pub transport: Transport,
}

struct Attempt {
    target: ProbeTarget,
    marked: bool,
    outcome: Outcome,
}

enum Outcome {
    Waiting(OwnedFd),
    Settled { reached: bool },
}

/// Tries every controller with and without the mark, and every forbidden target without, all at once.
///
/// Takes about 200 ms when the marked probe is answered and the others are not, and at most 1.5 s.
pub(crate) fn prove(
    mark: u32,
    controllers: &[SocketAddr],
    forbidden: &[ProbeTarget],
) -> Vec<Probe> {
    let to_controller = controllers.iter().map(|address| ProbeTarget {
        address: *address,
        transport: Transport::Tcp,
    });
    let mut attempts: Vec<Attempt> = to_controller
        .flat_map(|target| [(target, true), (target, false)])
        .chain(forbidden.iter().map(|target| (*target, false)))
        .map(|(target, marked)| Attempt::start(target, marked, mark))
        .collect();
    settle(&mut attempts);
    attempts.iter().map(Attempt::probe).collect()
}

fn settle(attempts: &mut [Attempt]) {
    let start = Instant::now();
    let mut silence_counts_after = PATIENCE;
    while start.elapsed() < silence_counts_after {
        poll_step(attempts);
        if !attempts.iter().any(Attempt::is_waiting) {
            return;
        }
        let answered = attempts.iter().all(|a| !a.marked || !a.is_waiting());
        if answered && silence_counts_after == PATIENCE {
            silence_counts_after = (start.elapsed() * 2).max(SILENCE).min(PATIENCE);
        }
    }
}

fn poll_step(attempts: &mut [Attempt]) {
    let mut fds: Vec<PollFd<'_>> = attempts
        .iter()
        .filter_map(|attempt| match &attempt.outcome {
            Outcome::Waiting(fd) => Some(PollFd::new(fd.as_fd(), PollFlags::POLLOUT)),
            Outcome::Settled { .. } => None,
        })
        .collect();
    let step = PollTimeout::try_from(POLL_STEP).unwrap_or(PollTimeout::ZERO);
    if matches!(poll(&mut fds, step), Ok(0) | Err(_)) {
        return;
    }
    let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
    drop(fds);
    let waiting = attempts.iter_mut().filter(|attempt| attempt.is_waiting());
    for (attempt, ready) in waiting.zip(ready) {
        if ready {
            attempt.read_result();
        }
    }
}

impl Attempt {
    fn start(target: ProbeTarget, marked: bool, mark: u32) -> Self {
        let outcome = match begin(target, marked.then_some(mark)) {
            Ok(outcome) => outcome,
            // Not even a socket: nothing got through.
            Err(_) => Outcome::Settled { reached: false },
        };
        Self {
            target,
            marked,
            outcome,
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.outcome, Outcome::Waiting(_))
    }

    fn read_result(&mut self) {
        if let Outcome::Waiting(fd) = &self.outcome {
            let error = getsockopt(fd, sockopt::SocketError).unwrap_or(libc::EIO);
            self.outcome = Outcome::Settled {
                reached: got_through(Errno::from_raw(error)),
            };
        }
    }

    fn probe(&self) -> Probe {
        Probe {
            target: format!(
                "{} {} {}",
                transport_name(self.target.transport),
                self.target.address,
                if self.marked { "marked" } else { "unmarked" }
            ),
            reached: matches!(self.outcome, Outcome::Settled { reached: true }),
            expected: self.marked,
        }
    }
}

/// A refusal is an answer: the packet got there and one came back.
fn got_through(result: Errno) -> bool {
    matches!(result, Errno::UnknownErrno | Errno::ECONNREFUSED)
}

fn begin(target: ProbeTarget, mark: Option<u32>) -> nix::Result<Outcome> {
    let family = match target.address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let kind = match target.transport {
        Transport::Tcp => SockType::Stream,
        Transport::Udp => SockType::Datagram,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, kind, flags, None)?;
    if let Some(mark) = mark {
        setsockopt(&fd, sockopt::Mark, &mark)?;
    }
    let address = SockaddrStorage::from(target.address);
    match (connect(fd.as_raw_fd(), &address), target.transport) {
        (Ok(()), Transport::Udp) => Ok(Outcome::Settled {
            reached: datagram_leaves(fd),
        }),
        (Ok(()), Transport::Tcp) => Ok(Outcome::Settled { reached: true }),
        (Err(Errno::EINPROGRESS), _) => Ok(Outcome::Waiting(fd)),
        (Err(errno), _) => Ok(Outcome::Settled {
            reached: got_through(errno),
        }),
    }
}

/// A drop in an output chain is an error of `send`.
fn datagram_leaves(fd: OwnedFd) -> bool {
    let socket = std::net::UdpSocket::from(fd);
    socket.send(&[]).is_ok()
}
