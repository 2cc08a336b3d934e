//! Senders and receivers: sockets of every kind that a host has, bounded in time.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect,
    getsockopt, sendto, setsockopt, socket, sockopt,
};

/// How long silence takes to count. The lab's round trip takes microseconds.
pub const SILENCE: Duration = Duration::from_millis(250);

/// TCP and UDP echo on every address, both families, for as long as the process lives.
pub fn serve(port: u16) {
    let wildcard = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let listener = TcpListener::bind(wildcard).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || echo(stream));
        }
    });
    // One socket an address, so that the answer comes from the address that was asked.
    for address in own_addresses() {
        let socket = UdpSocket::bind(SocketAddr::new(address, port)).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((n, from)) = socket.recv_from(&mut buffer) {
                drop(socket.send_to(&buffer[..n], from));
            }
        });
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 2048];
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 || stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

fn own_addresses() -> Vec<IpAddr> {
    nix::ifaddrs::getifaddrs()
        .unwrap()
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect()
}

/// A connected stream, or `None` when nobody answered in time. A refusal counts as an answer that the
/// caller can tell: it panics, because no service of the lab refuses.
pub fn tcp(to: SocketAddr, mark: Option<u32>, from_port: u16) -> Option<TcpStream> {
    let (family, any) = match to {
        SocketAddr::V4(_) => (AddressFamily::Inet, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        SocketAddr::V6(_) => (AddressFamily::Inet6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Stream, flags, None).unwrap();
    setsockopt(&fd, sockopt::ReuseAddr, &true).unwrap();
    if let Some(mark) = mark {
        setsockopt(&fd, sockopt::Mark, &mark).unwrap();
    }
    if from_port != 0 {
        let local = SockaddrStorage::from(SocketAddr::new(any, from_port));
        bind(fd.as_raw_fd(), &local).unwrap();
    }
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(_) => return None,
    }
    if !is_ready(&fd, PollFlags::POLLOUT) {
        return None;
    }
    let error = getsockopt(&fd, sockopt::SocketError).unwrap();
    assert_ne!(error, libc::ECONNREFUSED, "{to} refused: the lab is broken");
    if error != 0 {
        return None;
    }
    let stream = TcpStream::from(fd);
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    Some(stream)
}

/// Whether the connection still carries data both ways.
pub fn echoes(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut answer).is_ok()
}

pub fn udp(to: SocketAddr) -> bool {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let mut buffer = [0; 16];
    socket.send_to(b"ping", to).is_ok() && socket.recv(&mut buffer).is_ok()
}

pub fn ping(to: &str) -> bool {
    let out = Command::new("ping")
        .args(["-c1", "-W0.3", to])
        .output()
        .expect("ping not found: install iputils-ping");
    out.status.success()
}

/// A UDP socket that waits for one datagram.
pub struct Ear(UdpSocket);

impl Ear {
    pub fn udp(on: SocketAddr) -> Self {
        let socket = UdpSocket::bind(on).unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        Self(socket)
    }

    pub fn join(self, group: Ipv6Addr, device: &str) -> Self {
        let index = nix::net::if_::if_nametoindex(device).unwrap();
        self.0.join_multicast_v6(&group, index).unwrap();
        self
    }

    pub fn hears(&self) -> bool {
        self.0.recv(&mut [0; 2048]).is_ok()
    }
}

/// Sends one datagram from `from` to `to`; a device is needed for link-scoped addresses.
pub fn send_udp(from: SocketAddr, to: SocketAddr) {
    let socket = UdpSocket::bind(from).unwrap();
    socket.set_broadcast(true).unwrap();
    drop(socket.send_to(b"ping", to));
}

/// Sends one datagram as far as it gets, from `from_port` (0: any).
pub fn send(payload: &[u8], from_port: u16, to: SocketAddr, mark: Option<u32>) {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, from_port)).unwrap();
    if let Some(mark) = mark {
        setsockopt(&socket, sockopt::Mark, &mark).unwrap();
    }
    drop(socket.send_to(payload, to));
}

/// Sends a packet whose IP header the caller wrote, as far as it gets.
pub fn send_raw(packet: &[u8], to: IpAddr) {
    let family = match to {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = socket(
        family,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Raw,
    )
    .unwrap();
    let to = SockaddrStorage::from(SocketAddr::new(to, 0));
    // A refusal is one way of not getting through.
    sendto(fd.as_raw_fd(), packet, &to, MsgFlags::empty()).unwrap_or_default();
}

/// An AF_PACKET socket: what goes out here never sees the `inet` hooks.
pub struct Packet {
    fd: OwnedFd,
    index: u32,
}

impl Packet {
    pub fn open(device: &str) -> Self {
        let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
        // SAFETY: plain system call without pointers; the result is checked below.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, protocol) };
        assert!(fd >= 0, "no packet socket: run the tests as root");
        // SAFETY: `fd` was just opened, is valid, and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let index = nix::net::if_::if_nametoindex(device).unwrap();
        Self { fd, index }
    }

    /// Also with PACKET_QDISC_BYPASS, the fast path that skips traffic control.
    pub fn bypass_qdisc(self) -> Self {
        let on: i32 = 1;
        // SAFETY: the option value points at a live i32 and its size is passed with it.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const on).cast(),
                size_of::<i32>() as u32,
            )
        };
        assert_eq!(result, 0);
        self
    }

    pub fn marked(self, mark: u32) -> Self {
        setsockopt(&self.fd, sockopt::Mark, &mark).unwrap();
        self
    }

    /// With room for some ten thousand frames until somebody looks.
    pub fn roomy(self) -> Self {
        setsockopt(&self.fd, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        self
    }

    pub fn send(&self, frame: &[u8]) {
        // SAFETY: sockaddr_ll is plain data, for which all zeroes is a valid value.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = self.index as i32;
        to.sll_halen = 6;
        to.sll_addr[..6].copy_from_slice(&frame[..6]);
        // SAFETY: frame and address outlive the call, and their sizes are passed with them.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        // A drop in an egress chain may be told to the sender; a device may be down or gone.
        let error = std::io::Error::last_os_error().raw_os_error();
        let expected = [libc::ENOBUFS, libc::EPERM, libc::ENETDOWN, libc::ENXIO];
        assert!(
            sent >= 0 || error.is_some_and(|error| expected.contains(&error)),
            "{error:?}"
        );
    }

    /// Whether a frame with `needle` in it comes by.
    pub fn sees(&self, needle: &[u8]) -> bool {
        let end = std::time::Instant::now() + SILENCE;
        let mut buffer = [0u8; 2048];
        while std::time::Instant::now() < end {
            if !is_ready(&self.fd, PollFlags::POLLIN) {
                return false;
            }
            let n = nix::unistd::read(&self.fd, &mut buffer).unwrap();
            if buffer[..n].windows(needle.len()).any(|w| w == needle) {
                return true;
            }
        }
        false
    }

    /// How many of the frames that have come by since the last look are `wanted`. Looks until none comes for a moment.
    pub fn count(&self, wanted: impl Fn(&[u8]) -> bool) -> u32 {
        let end = std::time::Instant::now() + 4 * SILENCE;
        let quiet = PollTimeout::from(50_u8);
        let mut buffer = [0u8; 2048];
        let mut count = 0;
        while std::time::Instant::now() < end {
            if poll(
                &mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)],
                quiet,
            )
            .unwrap()
                == 0
            {
                break;
            }
            let n = nix::unistd::read(&self.fd, &mut buffer).unwrap();
            count += u32::from(wanted(&buffer[..n]));
        }
        count
    }
}

pub fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from[..], &kind.to_be_bytes(), payload].concat()
}

pub fn ipv4_udp(from: (&str, u16), to: (&str, u16), payload: &[u8]) -> Vec<u8> {
    let udp_length = (8 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp_length).to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.0.parse::<Ipv4Addr>().unwrap().octets());
    packet.extend(to.0.parse::<Ipv4Addr>().unwrap().octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    for word in [from.1, to.1, udp_length, 0] {
        packet.extend(word.to_be_bytes());
    }
    packet.extend(payload);
    packet
}

/// ICMPv6 with a right checksum, hop limit 255.
pub fn icmpv6(from: &str, to: &str, message: &[u8]) -> Vec<u8> {
    let (from, to): (Ipv6Addr, Ipv6Addr) = (from.parse().unwrap(), to.parse().unwrap());
    let length = message.len() as u16;
    let pseudo = [
        &from.octets()[..],
        &to.octets(),
        &u32::from(length).to_be_bytes(),
        &[0, 0, 0, 58],
        message,
    ]
    .concat();
    let sum = checksum(&pseudo);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([58, 255]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(message);
    packet[42..44].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn is_ready(fd: &impl AsFd, wanted: PollFlags) -> bool {
    let timeout = PollTimeout::try_from(SILENCE).unwrap();
    poll(&mut [PollFd::new(fd.as_fd(), wanted)], timeout).unwrap() > 0
}
