//! Records of sockets: `bpf/socket.h` and what includes it.

use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cordon_behavior::event::{Closed, Direction, Dns, EventBody, Protocol, SocketFamily};

use super::{Decoded, Head, Reader, RecordError};
use crate::dns;

#[repr(C)]
struct FlowRecord {
    head: Head,
    family: u16,
    port: u16,
    local_port: u16,
    protocol: u16,
    address: [u8; 16],
}

#[repr(C)]
struct CloseRecord {
    flow: FlowRecord,
    sent: u64,
    received: u64,
    begun_ns: u64,
    is_inbound: u32,
    hole: u32,
}

#[repr(C)]
struct DnsRecord {
    flow: FlowRecord,
    bytes: u32,
    hole: u32,
    message: [u8; 512],
}

const _: () = {
    assert!(size_of::<FlowRecord>() == 64);
    assert!(size_of::<CloseRecord>() == 96);
    assert!(size_of::<DnsRecord>() == 584);
};

/// The size of what a list of sockets is made of.
pub(crate) const FLOW_BYTES: usize = size_of::<FlowRecord>();

pub(super) fn connect(reader: &Reader<'_>) -> Decoded {
    let remote = end(reader)?;
    Ok((EventBody::Connect { remote }, size_of::<FlowRecord>()))
}

pub(super) fn listen(reader: &Reader<'_>) -> Decoded {
    let local = end(reader)?;
    let protocol = match i32::from(protocol(reader)?) {
        libc::IPPROTO_UDP => Protocol::Udp,
        _ => Protocol::Tcp,
    };
    let body = EventBody::Listen { local, protocol };
    Ok((body, size_of::<FlowRecord>()))
}

pub(super) fn accept(reader: &Reader<'_>) -> Decoded {
    let body = EventBody::Accept {
        remote: end(reader)?,
        local_port: reader.u16(offset_of!(FlowRecord, local_port))?,
    };
    Ok((body, size_of::<FlowRecord>()))
}

pub(super) fn close(reader: &Reader<'_>) -> Decoded {
    let begun_ns = reader.u64(offset_of!(CloseRecord, begun_ns))?;
    let ended_ns = reader.u64(offset_of!(Head, mono_ns))?;
    let is_inbound = reader.u32(offset_of!(CloseRecord, is_inbound))? != 0;
    let closed = Closed {
        remote: end(reader)?,
        local_port: reader.u16(offset_of!(FlowRecord, local_port))?,
        direction: if is_inbound {
            Direction::In
        } else {
            Direction::Out
        },
        sent: reader.u64(offset_of!(CloseRecord, sent))?,
        received: reader.u64(offset_of!(CloseRecord, received))?,
        lasted_ns: match begun_ns {
            0 => 0,
            begun_ns => ended_ns.saturating_sub(begun_ns),
        },
    };
    let body = EventBody::Close(Box::new(closed));
    Ok((body, size_of::<CloseRecord>()))
}

pub(super) fn udp(reader: &Reader<'_>) -> Decoded {
    let remote = end(reader)?;
    Ok((EventBody::Udp { remote }, size_of::<FlowRecord>()))
}

/// What is no DNS message has an empty name: somebody uses the port for something else.
pub(super) fn dns(reader: &Reader<'_>) -> Decoded {
    let bytes = reader.u32(offset_of!(DnsRecord, bytes))? as usize;
    let message: [u8; 512] = reader.array(offset_of!(DnsRecord, message))?;
    let message = &message[..bytes.min(message.len())];
    let server = Some(end(reader)?);
    let dns = Dns {
        server,
        ..dns::read(message).unwrap_or_default()
    };
    let body = EventBody::Dns(Box::new(dns));
    Ok((body, size_of::<DnsRecord>()))
}

pub(super) fn raw_socket(reader: &Reader<'_>) -> Decoded {
    let family = socket_family(reader.u16(offset_of!(FlowRecord, family))?)?;
    let protocol = protocol(reader)?;
    let body = EventBody::RawSocket { family, protocol };
    Ok((body, size_of::<FlowRecord>()))
}

fn socket_family(family: u16) -> Result<SocketFamily, RecordError> {
    match i32::from(family) {
        libc::AF_INET => Ok(SocketFamily::Raw4),
        libc::AF_INET6 => Ok(SocketFamily::Raw6),
        libc::AF_PACKET => Ok(SocketFamily::Packet),
        _ => Err(RecordError::Family(family)),
    }
}

fn protocol(reader: &Reader<'_>) -> Result<u16, RecordError> {
    reader.u16(offset_of!(FlowRecord, protocol))
}

fn end(reader: &Reader<'_>) -> Result<SocketAddr, RecordError> {
    let address: [u8; 16] = reader.array(offset_of!(FlowRecord, address))?;
    let family = reader.u16(offset_of!(FlowRecord, family))?;
    let ip: IpAddr = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::new(address[0], address[1], address[2], address[3]).into(),
        libc::AF_INET6 => Ipv6Addr::from(address).to_canonical(),
        _ => return Err(RecordError::Family(family)),
    };
    let port = reader.u16(offset_of!(FlowRecord, port))?;
    Ok(SocketAddr::new(ip, port))
}
