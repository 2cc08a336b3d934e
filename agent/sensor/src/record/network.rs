//! Records of sockets: `bpf/connect.h`.

use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cordon_behavior::event::EventBody;

use super::{Decoded, Head, Reader, RecordError};

#[repr(C)]
struct ConnectRecord {
    head: Head,
    family: u16,
    port: u16,
    hole: u32,
    address: [u8; 16],
}

const _: () = assert!(size_of::<ConnectRecord>() == 64);

pub(super) fn connect(reader: &Reader<'_>) -> Decoded {
    let address: [u8; 16] = reader.array(offset_of!(ConnectRecord, address))?;
    let family = reader.u16(offset_of!(ConnectRecord, family))?;
    let ip: IpAddr = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::new(address[0], address[1], address[2], address[3]).into(),
        libc::AF_INET6 => Ipv6Addr::from(address).to_canonical(),
        _ => return Err(RecordError::Family(family)),
    };
    let port = reader.u16(offset_of!(ConnectRecord, port))?;
    let remote = SocketAddr::new(ip, port);
    Ok((EventBody::Connect { remote }, size_of::<ConnectRecord>()))
}
