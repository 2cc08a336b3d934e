//! Socket addresses as the kernel keeps them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// A `struct sockaddr` of IPv4 or IPv6; `None` for any other family or one that is cut short. The family is in the byte
/// order of the host that wrote it, which is little-endian on every architecture read here.
pub(crate) fn socket_address(bytes: &[u8]) -> Option<SocketAddr> {
    let array = |at: usize| bytes.get(at..at + 2)?.try_into().ok();
    let port = u16::from_be_bytes(array(2)?);
    let ip: IpAddr = match u16::from_le_bytes(array(0)?) {
        AF_INET => {
            let octets: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Ipv4Addr::from(octets).into()
        }
        AF_INET6 => {
            let octets: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}
