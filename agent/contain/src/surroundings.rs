//! What the host's own network looks like: devices, addresses, subnets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nameindex;

use crate::error::ContainError;
use crate::rules::Surroundings;

/// Number of the loopback device in every network namespace (LOOPBACK_IFINDEX, linux/net/loopback.c).
const LOOPBACK_INDEX: u32 = 1;

pub(crate) fn surroundings() -> Result<Surroundings, ContainError> {
    Ok(Surroundings {
        devices: devices()?,
        subnets: subnets()?,
    })
}

pub(crate) fn devices() -> Result<BTreeSet<String>, ContainError> {
    let failed = ContainError::netlink("list network devices");
    let names = if_nameindex().map_err(failed)?;
    Ok(names
        .iter()
        .filter(|device| device.index() != LOOPBACK_INDEX)
        .map(|device| device.name().to_string_lossy().into_owned())
        .collect())
}

pub(crate) fn local_addresses() -> Result<BTreeSet<IpAddr>, ContainError> {
    let failed = ContainError::netlink("list own addresses");
    let addresses = getifaddrs().map_err(failed)?;
    Ok(addresses
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect())
}

fn subnets() -> Result<BTreeSet<(Ipv4Addr, u8)>, ContainError> {
    let failed = ContainError::netlink("list own subnets");
    let addresses = getifaddrs().map_err(failed)?;
    Ok(addresses
        .filter_map(|interface| {
            let address = interface.address?.as_sockaddr_in()?.ip();
            let mask = u32::from(interface.netmask?.as_sockaddr_in()?.ip());
            let length = mask.leading_ones() as u8;
            let network = Ipv4Addr::from(u32::from(address) & mask);
            // A point-to-point address has no subnet, and "everywhere" is not one.
            (!address.is_loopback() && (1..32).contains(&length)).then_some((network, length))
        })
        .collect())
}
