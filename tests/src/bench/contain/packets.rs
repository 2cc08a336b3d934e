//! Packets that are on their way all the time, and an ear that knows when the kernel received each.
//!
//! The ear is another machine's: what it hears left the host, whatever the host believes. The stamp is the receiving
//! kernel's (`SO_TIMESTAMPNS`, CLOCK_REALTIME), so a late reader makes nothing later.

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::prctl::set_timerslack;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::lab::Node;

/// Where ears listen.
pub const PORT: u16 = 9797;
/// Seconds of packets fit, should the reader be kept waiting.
const BUFFER_BYTES: usize = 32 << 20;
/// How often the socket is emptied. Waking at each packet would cost the cores that are being measured.
const EMPTIED: Duration = Duration::from_millis(5);
/// A clock is read between two readings of the other so often; the closest pair counts.
const READINGS: usize = 5;

/// Sends one datagram after the other, to each end in turn, until it is killed.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// An end; may be given several times.
    #[arg(long, required = true)]
    to: Vec<SocketAddr>,
    /// Names the packets to the first end; those to the next have the next number.
    #[arg(long)]
    stream: u8,
    /// Time from one datagram to the next, microseconds.
    #[arg(long)]
    every: u64,
}

/// Sends for ever.
pub fn send(arguments: &Arguments) -> Result<()> {
    set_timerslack(1)?;
    let every = Duration::from_micros(arguments.every);
    let mut streams = Vec::new();
    for (to, number) in arguments.to.iter().zip(arguments.stream..) {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        streams.push((UdpSocket::bind((any, 0))?, *to, number));
    }
    let mut due = Instant::now();
    for (socket, to, number) in streams.iter().cycle() {
        // What is dropped on the way out is refused here. The ear says what left.
        drop(socket.send_to(&[*number], to));
        // What was missed is not made up for: a burst would say nothing about the time in between.
        due = (due + every).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// One datagram that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Whose: sender and family.
    pub stream: u8,
    /// Kernel's stamp of its arrival, CLOCK_REALTIME nanoseconds.
    pub at_ns: i64,
}

#[derive(Default)]
struct Heard {
    packets: Vec<Packet>,
    last_ns: i64,
}

/// Listens on a node, both families, until dropped.
pub struct Ear {
    socket: Arc<UdpSocket>,
    heard: Arc<Mutex<Heard>>,
    closing: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Ear {
    /// Begins to listen. Its socket is the bench's, not one of the node's processes'.
    pub fn open(node: &Node) -> Result<Self> {
        let any = (Ipv6Addr::UNSPECIFIED, PORT);
        let socket = node
            .within_network(|| Ok(UdpSocket::bind(any)?))
            .with_context(|| format!("cannot listen on {}", node.name()))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES)?;
        let socket = Arc::new(socket);
        let heard = Arc::<Mutex<Heard>>::default();
        let closing = Arc::<AtomicBool>::default();
        let (source, kept, seen) = (
            Arc::clone(&socket),
            Arc::clone(&heard),
            Arc::clone(&closing),
        );
        let listener = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                drop(caught_up(&source, &kept));
                thread::sleep(EMPTIED);
            }
        });
        Ok(Self {
            socket,
            heard,
            closing,
            listener: Some(listener),
        })
    }

    /// What was heard since this was last asked.
    pub fn take(&self) -> Vec<Packet> {
        std::mem::take(&mut caught_up(&self.socket, &self.heard).packets)
    }

    /// When the last packet arrived, CLOCK_REALTIME nanoseconds; 0: none did.
    pub fn last_ns(&self) -> i64 {
        caught_up(&self.socket, &self.heard).last_ns
    }

    /// Whether nothing arrived for so long.
    pub fn is_silent_for(&self, time: Duration) -> Result<bool> {
        let silent = (real_ns()? - self.last_ns()).max(0);
        Ok(Duration::from_nanos(silent.cast_unsigned()) >= time)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}

/// With everything that has arrived.
fn caught_up<'a>(socket: &UdpSocket, heard: &'a Mutex<Heard>) -> MutexGuard<'a, Heard> {
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    while let Ok(packet) = receive(socket) {
        let Some(packet) = packet else { continue };
        heard.last_ns = heard.last_ns.max(packet.at_ns);
        heard.packets.push(packet);
    }
    heard
}

/// `None`: it had no name or no stamp, so nobody of ours sent it.
fn receive(socket: &UdpSocket) -> Result<Option<Packet>, Errno> {
    let mut name = [0];
    let mut space = cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(&mut name)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let stamp = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(nanos(stamp)),
        _ => None,
    });
    let is_named = message.bytes == 1;
    Ok(stamp.filter(|_| is_named).map(|at_ns| Packet {
        stream: name[0],
        at_ns,
    }))
}

fn nanos(time: TimeSpec) -> i64 {
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

/// CLOCK_REALTIME now, nanoseconds.
pub fn real_ns() -> Result<i64> {
    Ok(nanos(clock_gettime(ClockId::CLOCK_REALTIME)?))
}

/// CLOCK_MONOTONIC now, nanoseconds.
pub fn mono_ns() -> Result<i64> {
    Ok(nanos(clock_gettime(ClockId::CLOCK_MONOTONIC)?))
}

/// What has to be added to CLOCK_MONOTONIC for CLOCK_REALTIME, now, nanoseconds.
pub fn real_of_mono_ns() -> Result<i64> {
    let mut closest = (i64::MAX, 0);
    for _ in 0..READINGS {
        let (before, real, after) = (mono_ns()?, real_ns()?, mono_ns()?);
        closest = closest.min((after - before, real - before.midpoint(after)));
    }
    Ok(closest.1)
}
