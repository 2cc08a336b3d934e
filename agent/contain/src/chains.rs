//! Which tables of ours are in the kernel, and on which device each egress chain hangs, asked of the
//! kernel itself.
//!
//! `nft -j` 1.0.6, the one of Debian 12, lists a chain's device in its text form only; and a host from
//! which `nft` was removed must still be told truly whether anything of ours is in force.

use std::collections::BTreeMap;

use nftables::types::NfFamily;
use nix::sys::socket::{SockFlag, SockProtocol};

use crate::error::ContainError;
use crate::netlink::{Netlink, attributes, text};
use crate::rules::TABLE;

// linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
const GET_TABLE: u16 = 10 << 8 | 1;
const GET_CHAIN: u16 = 10 << 8 | 4;
const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_INET: u8 = 1;
const NFPROTO_NETDEV: u8 = 5;
const NFPROTO_BRIDGE: u8 = 7;
const NFGENMSG_BYTES: usize = 4;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const HOOK_DEVICE: u16 = 3;

/// Chain to device. Chains of more than one device are not ours and are left out.
pub(crate) fn devices() -> Result<BTreeMap<String, String>, ContainError> {
    let mut found = BTreeMap::new();
    dump(GET_CHAIN, NFPROTO_NETDEV, |_, message| {
        found.extend(chain(message));
    })?;
    Ok(found)
}

/// The families that have a table of this name.
pub(crate) fn tables(name: &str) -> Result<Vec<NfFamily>, ContainError> {
    let mut found = Vec::new();
    dump(GET_TABLE, NFPROTO_UNSPEC, |family, message| {
        let named = attributes(message).find(|(kind, _)| *kind == TABLE_NAME);
        if named.and_then(|(_, content)| text(content)) == Some(name) {
            found.extend(family_of(family));
        }
    })?;
    Ok(found)
}

/// The families that we have tables of; one of our name in another family is somebody else's.
fn family_of(number: u8) -> Option<NfFamily> {
    Some(match number {
        NFPROTO_INET => NfFamily::INet,
        NFPROTO_NETDEV => NfFamily::NetDev,
        NFPROTO_BRIDGE => NfFamily::Bridge,
        _ => return None,
    })
}

/// Hands over the family and the attributes of everything that is listed.
fn dump(request: u16, family: u8, mut each: impl FnMut(u8, &[u8])) -> Result<(), ContainError> {
    let failed = ContainError::netlink("list the tables and chains of nftables");
    let mut netlink =
        Netlink::open(SockProtocol::NetlinkNetFilter, 0, SockFlag::empty()).map_err(&failed)?;
    netlink
        .dump(request, &[family, 0, 0, 0], |message| {
            if let Some((header, attributes)) = message.payload.split_at_checked(NFGENMSG_BYTES) {
                each(header[0], attributes);
            }
        })
        .map_err(&failed)
}

/// Name and device of a chain of ours.
fn chain(message: &[u8]) -> Option<(String, String)> {
    let find = |kind| attributes(message).find(move |(found, _)| *found == kind);
    let (_, table) = find(CHAIN_TABLE)?;
    let (_, name) = find(CHAIN_NAME)?;
    let (_, hook) = find(CHAIN_HOOK)?;
    let (_, device) = attributes(hook).find(|(kind, _)| *kind == HOOK_DEVICE)?;
    (text(table)? == TABLE).then_some(())?;
    Some((text(name)?.to_owned(), text(device)?.to_owned()))
}
