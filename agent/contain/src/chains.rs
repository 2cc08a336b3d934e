//! Which chains of ours are in the kernel, and on which device each egress chain hangs, asked of the
//! kernel itself.
//!
//! `nft -j` 1.0.6, the one of Debian 12, lists a chain's device in its text form only; and a host from
//! which `nft` was removed must still be told truly whether anything of ours is in force.

use std::collections::BTreeMap;

use nix::sys::socket::{SockFlag, SockProtocol};

use crate::error::ContainError;
use crate::netlink::{Netlink, attributes, text};
use crate::rules::TABLE;

// linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
const GET_CHAIN: u16 = 10 << 8 | 4;
const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_NETDEV: u8 = 5;
const NFGENMSG_BYTES: usize = 4;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const HOOK_DEVICE: u16 = 3;

/// Chain to device. Chains of more than one device are not ours and are left out.
pub(crate) fn devices() -> Result<BTreeMap<String, String>, ContainError> {
    let mut found = BTreeMap::new();
    dump(NFPROTO_NETDEV, |message| found.extend(chain(message)))?;
    Ok(found)
}

/// Whether any chain of any table of ours is in the kernel.
pub(crate) fn any() -> Result<bool, ContainError> {
    let mut found = false;
    dump(NFPROTO_UNSPEC, |message| {
        found |= attributes(message)
            .any(|(kind, content)| kind == CHAIN_TABLE && text(content) == Some(TABLE));
    })?;
    Ok(found)
}

fn dump(family: u8, mut each: impl FnMut(&[u8])) -> Result<(), ContainError> {
    let failed = ContainError::netlink("list the chains of nftables");
    let mut netlink =
        Netlink::open(SockProtocol::NetlinkNetFilter, 0, SockFlag::empty()).map_err(&failed)?;
    netlink
        .dump(GET_CHAIN, &[family, 0, 0, 0], |message| {
            if let Some(attributes) = message.payload.get(NFGENMSG_BYTES..) {
                each(attributes);
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
