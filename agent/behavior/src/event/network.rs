//! Flows, names and raw sockets.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Who began a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// This host.
    Out,
    /// The other end.
    In,
}

impl Direction {
    /// As JSON names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As JSON names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A TCP connection's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The other end.
    pub remote: SocketAddr,
    /// Local port.
    pub local_port: u16,
    /// Who began it.
    pub direction: Direction,
    /// Payload bytes sent and acknowledged.
    pub sent: u64,
    /// Payload bytes received.
    pub received: u64,
    /// From its beginning to its end, nanoseconds; 0 when the beginning was not seen.
    pub lasted_ns: u64,
}

/// A DNS message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// The name asked for, without the final dot.
    pub name: String,
    /// Type of the question as RFC 1035 names it (`A`, `AAAA`, `TXT`, ...).
    pub query_type: String,
    /// The resolver.
    pub server: Option<SocketAddr>,
    /// This is an answer; else a question.
    pub is_answer: bool,
    /// Response code of an answer; 0 is no error.
    pub rcode: u8,
    /// Addresses in an answer, at most 16.
    pub addresses: Vec<IpAddr>,
}

/// Sockets that see or send what no transport of the kernel made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketFamily {
    /// SOCK_RAW of IPv4.
    Raw4,
    /// SOCK_RAW of IPv6.
    Raw6,
    /// AF_PACKET.
    Packet,
}

impl SocketFamily {
    /// As JSON names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw4 => "raw4",
            Self::Raw6 => "raw6",
            Self::Packet => "packet",
        }
    }
}
