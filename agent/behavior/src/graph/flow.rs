//! Whom a process talked to.

use std::net::{IpAddr, SocketAddr};

use super::kept::Seen;
use crate::event::{Closed, Direction, Protocol};

/// A flow, kept once per peer and port however often it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    /// The other end; of a listening socket the local one. Never an IPv4 address written as IPv6.
    pub address: IpAddr,
    /// Outbound: the remote port; else the local port.
    pub port: u16,
    /// Who begins it; `None`: this process waits for others.
    pub direction: Option<Direction>,
    pub protocol: Protocol,
    /// Beginnings seen, and ends.
    opened: u32,
    closed: u32,
    /// Beginning of the first one and of the last one, CLOCK_MONOTONIC nanoseconds.
    first_ns: u64,
    last_ns: u64,
    /// Sum of the squared times between one beginning and the next, ns².
    squares: f64,
    sent: u64,
    received: u64,
    /// The longest one, milliseconds.
    lasted_ms: u32,
}

/// How regularly something comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rhythm {
    pub times: u32,
    /// Mean time between two beginnings, nanoseconds.
    pub every_ns: f64,
    /// Standard deviation of it, divided by the mean.
    pub variation: f64,
}

/// Fewer times have no rhythm.
pub(crate) const RHYTHM: u32 = 5;

impl Flow {
    fn new(mono_ns: u64, address: IpAddr, port: u16) -> Self {
        Self {
            address: address.to_canonical(),
            port,
            direction: Some(Direction::Out),
            protocol: Protocol::Tcp,
            opened: 1,
            closed: 0,
            first_ns: mono_ns,
            last_ns: mono_ns,
            squares: 0.0,
            sent: 0,
            received: 0,
            lasted_ms: 0,
        }
    }

    pub(crate) fn out(mono_ns: u64, remote: SocketAddr) -> Self {
        Self::new(mono_ns, remote.ip(), remote.port())
    }

    pub(crate) fn into(mono_ns: u64, remote: SocketAddr, local_port: u16) -> Self {
        Self {
            direction: Some(Direction::In),
            ..Self::new(mono_ns, remote.ip(), local_port)
        }
    }

    pub(crate) fn udp(mono_ns: u64, remote: SocketAddr) -> Self {
        Self {
            protocol: Protocol::Udp,
            ..Self::out(mono_ns, remote)
        }
    }

    pub(crate) fn listen(mono_ns: u64, local: SocketAddr, protocol: Protocol) -> Self {
        Self {
            direction: None,
            protocol,
            ..Self::new(mono_ns, local.ip(), local.port())
        }
    }

    /// One that ended at `mono_ns`.
    pub(crate) fn closed(mono_ns: u64, end: &Closed) -> Self {
        let began = mono_ns.saturating_sub(end.lasted_ns);
        let flow = match end.direction {
            Direction::Out => Self::out(began, end.remote),
            Direction::In => Self::into(began, end.remote, end.local_port),
        };
        Self {
            opened: 0,
            closed: 1,
            sent: end.sent,
            received: end.received,
            lasted_ms: u32::try_from(end.lasted_ns / 1_000_000).unwrap_or(u32::MAX),
            ..flow
        }
    }

    /// When it first began.
    pub(crate) fn first_ns(&self) -> u64 {
        self.first_ns
    }

    /// Within this machine; what listens is local only when nobody else can reach it.
    pub(crate) fn is_local(&self) -> bool {
        match self.direction {
            // `connect` to 0.0.0.0 goes to this machine itself.
            Some(_) => self.address.is_loopback() || self.address.is_unspecified(),
            None => self.address.is_loopback(),
        }
    }

    /// This host began it.
    pub(crate) fn is_outbound(&self) -> bool {
        self.direction == Some(Direction::Out)
    }

    /// A TCP connection that this host began.
    pub(crate) fn is_outbound_tcp(&self) -> bool {
        self.is_outbound() && self.protocol == Protocol::Tcp
    }

    /// Direction and protocol, less than [`FLOW_CLASSES`].
    pub(crate) fn class(&self) -> usize {
        match (self.direction, self.protocol) {
            (Some(Direction::Out), Protocol::Tcp) => 0,
            (Some(Direction::Out), Protocol::Udp) => 1,
            (Some(Direction::In), _) => 2,
            (None, _) => 3,
        }
    }

    /// How often it was made.
    pub(crate) fn times(&self) -> u32 {
        self.opened.max(self.closed).max(1)
    }

    /// Bytes sent and received and the longest time in milliseconds, once an end was seen.
    pub(crate) fn account(&self) -> Option<(u64, u64, u32)> {
        (self.closed > 0).then_some((self.sent, self.received, self.lasted_ms))
    }

    /// `None` where it did not come back often enough.
    pub(crate) fn rhythm(&self) -> Option<Rhythm> {
        if self.opened < RHYTHM || self.last_ns <= self.first_ns {
            return None;
        }
        let gaps = f64::from(self.opened - 1);
        let every_ns = (self.last_ns - self.first_ns) as f64 / gaps;
        let variance = (self.squares / gaps - every_ns * every_ns).max(0.0);
        Some(Rhythm {
            times: self.opened,
            every_ns,
            variation: variance.sqrt() / every_ns,
        })
    }
}

/// How many classes of flows there are.
pub(crate) const FLOW_CLASSES: usize = 4;

impl Seen for Flow {
    fn is_same(&self, other: &Self) -> bool {
        self.port == other.port
            && self.class() == other.class()
            && self.protocol == other.protocol
            && self.address == other.address
    }

    /// Exact where what is merged lies before or after the other as a whole; the rhythm of ones
    /// that lie in between is an estimate.
    fn merge(&mut self, again: Self) {
        let (earlier, later) = if again.first_ns < self.first_ns {
            (again, *self)
        } else {
            (*self, again)
        };
        if earlier.opened > 0 && later.opened > 0 {
            let gap = later.first_ns.abs_diff(earlier.last_ns) as f64;
            self.squares = earlier.squares + later.squares + gap * gap;
        }
        if self.opened == 0 {
            (self.first_ns, self.last_ns) = (again.first_ns, again.last_ns);
        } else if again.opened > 0 {
            self.first_ns = earlier.first_ns;
            self.last_ns = self.last_ns.max(again.last_ns);
        }
        self.opened = self.opened.saturating_add(again.opened);
        self.closed = self.closed.saturating_add(again.closed);
        self.sent = self.sent.saturating_add(again.sent);
        self.received = self.received.saturating_add(again.received);
        self.lasted_ms = self.lasted_ms.max(again.lasted_ms);
    }

    fn text_bytes(&self) -> usize {
        0
    }

    fn kind(&self) -> u8 {
        self.class() as u8 * 2 + u8::from(self.is_local())
    }
}
