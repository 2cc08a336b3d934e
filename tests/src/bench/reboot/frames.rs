//! What a frame that left a host is: one that an isolation lets through, by docs/containment.md, or another.
//!
//! Written from the page, not from the rules, and stricter than a look at the wire needs to be: what is not surely one of
//! those that pass is an offender.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::capture::Frame;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
/// LACP and 802.1X.
const LINK_CONTROL: [u16; 2] = [0x8809, 0x888e];

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;

/// Router and neighbour solicitations, and neighbour advertisements.
const DISCOVERY: [u8; 3] = [133, 135, 136];
/// Reports and the leaving of groups.
const MLD: [u8; 3] = [131, 132, 143];

/// Whom an isolated host may talk to.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The controller's addresses.
    pub controller: Vec<IpAddr>,
    /// And its port.
    pub port: u16,
    /// The host's own IPv4 subnet: address and length.
    pub subnet: (Ipv4Addr, u8),
}

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Address resolution of IPv4.
    Arp,
    /// Neighbour and router discovery of IPv6.
    Discovery,
    /// Multicast listener reports, which discovery relies on.
    Mld,
    /// A client's, of either family.
    Dhcp,
    /// LACP or 802.1X.
    LinkControl,
    /// TCP to the controller's address and port. By whom does not show on the wire.
    Controller,
    /// Anything else: protocol and destination.
    Other(String),
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arp => "arp",
            Self::Discovery => "nd",
            Self::Mld => "mld",
            Self::Dhcp => "dhcp",
            Self::LinkControl => "link_control",
            Self::Controller => "controller_tcp",
            Self::Other(what) => what,
        })
    }
}

/// How many of a sort, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub frames: u64,
    /// Time of the first, microseconds.
    pub first_us: u64,
    /// Time of the last, microseconds.
    pub last_us: u64,
}

/// Frames by what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<Sort, Count>);

impl Tally {
    /// Counts a frame.
    pub fn add(&mut self, frame: &Frame, ends: &Ends) {
        let new = Count {
            frames: 0,
            first_us: frame.at_us,
            last_us: frame.at_us,
        };
        let count = self.0.entry(sort(frame, ends)).or_insert(new);
        count.frames += 1;
        count.last_us = frame.at_us;
    }

    /// How many there were of a sort.
    pub fn frames(&self, sort: &Sort) -> u64 {
        self.0.get(sort).map_or(0, |count| count.frames)
    }

    /// Those that no isolation lets through.
    pub fn others(&self) -> impl Iterator<Item = (&str, Count)> {
        self.0.iter().filter_map(|(sort, count)| match sort {
            Sort::Other(what) => Some((what.as_str(), *count)),
            _ => None,
        })
    }
}

/// What a frame is.
pub fn sort(frame: &Frame, ends: &Ends) -> Sort {
    if frame.is_cut {
        return Sort::Other("a frame that was captured in part".to_owned());
    }
    allowed_or_named(&frame.bytes, ends).unwrap_or_else(|| {
        Sort::Other("a frame that is too short for what it says it is".to_owned())
    })
}

/// `None`: it ends before it says what it is.
fn allowed_or_named(frame: &[u8], ends: &Ends) -> Option<Sort> {
    let kind = u16::from_be_bytes(*frame.get(12..)?.first_chunk()?);
    let rest = frame.get(14..)?;
    match kind {
        ARP => Some(Sort::Arp),
        kind if LINK_CONTROL.contains(&kind) => Some(Sort::LinkControl),
        IPV4 => ipv4(rest, ends),
        IPV6 => ipv6(rest, ends),
        kind => Some(Sort::Other(format!("EtherType {kind:#06x}"))),
    }
}

fn ipv4(packet: &[u8], ends: &Ends) -> Option<Sort> {
    let to: [u8; 4] = *packet.get(16..)?.first_chunk()?;
    let to = Ipv4Addr::from(to);
    let fragment = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?) & 0x3fff;
    if fragment != 0 {
        return Some(Sort::Other(format!("a fragment to {to}")));
    }
    let protocol = *packet.get(9)?;
    let rest = packet.get(usize::from(packet.first()? & 15) * 4..)?;
    let is_dhcp = protocol == UDP && ports(rest)? == (68, 67);
    if is_dhcp && (to.is_broadcast() || is_within(to, ends.subnet)) {
        return Some(Sort::Dhcp);
    }
    transport(protocol, to.into(), rest, ends)
}

fn ipv6(packet: &[u8], ends: &Ends) -> Option<Sort> {
    let to: [u8; 16] = *packet.get(24..)?.first_chunk()?;
    let to = Ipv6Addr::from(to);
    let (mut protocol, hops) = (*packet.get(6)?, *packet.get(7)?);
    let mut rest = packet.get(40..)?;
    // Listener reports carry it. Whatever other header is put between is an offender by its number.
    if protocol == HOP_BY_HOP {
        protocol = *rest.first()?;
        rest = rest.get(8 * (1 + usize::from(*rest.get(1)?))..)?;
    }
    let is_local = to.is_unicast_link_local();
    let is_link_multicast = to.segments()[0] == 0xff02;
    if protocol == UDP && ports(rest)? == (546, 547) {
        let servers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
        if is_local || to == servers {
            return Some(Sort::Dhcp);
        }
    }
    if protocol == ICMPV6 {
        let kind = *rest.first()?;
        let is_named = ends.controller.contains(&to.into());
        if DISCOVERY.contains(&kind) && hops == 255 && (is_local || is_link_multicast || is_named) {
            return Some(Sort::Discovery);
        }
        if MLD.contains(&kind) && is_link_multicast {
            return Some(Sort::Mld);
        }
    }
    transport(protocol, to.into(), rest, ends)
}

fn transport(protocol: u8, to: IpAddr, packet: &[u8], ends: &Ends) -> Option<Sort> {
    let name = match protocol {
        TCP => "TCP",
        UDP => "UDP",
        ICMP | ICMPV6 => {
            let kind = packet.first()?;
            return Some(Sort::Other(format!("ICMP type {kind} to {to}")));
        }
        number => return Some(Sort::Other(format!("protocol {number} to {to}"))),
    };
    let port = ports(packet)?.1;
    if protocol == TCP && port == ends.port && ends.controller.contains(&to) {
        return Some(Sort::Controller);
    }
    Some(Sort::Other(format!("{name} to {to} port {port}")))
}

/// Source and destination.
fn ports(packet: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *packet.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

fn is_within(address: Ipv4Addr, (network, length): (Ipv4Addr, u8)) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    address.to_bits() & mask == network.to_bits() & mask
}

#[cfg(test)]
mod tests;
