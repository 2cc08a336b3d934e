//! Which device each of our egress chains hangs on, asked of the kernel itself.
//!
//! `nft -j` 1.0.6, the one of Debian 12, lists a chain's device in its text form only.

use std::collections::BTreeMap;

use nix::sys::socket::{SockFlag, SockProtocol};

use crate::error::ContainError;
use crate::netlink::{Netlink, attributes, text};
use crate::rules::TABLE;

// linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
const GET_CHAIN: u16 = 10 << 8 | 4;
const NFPROTO_NETDEV: u8 = 5;
const NFGENMSG_BYTES: usize = 4;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const HOOK_DEVICE: u16 = 3;

/// Chain to device. Chains of more than one device are not ours and are left out.
pub(crate) fn devices() -> Result<BTreeMap<String, String>, ContainError> {
    let failed = ContainError::netlink("list the egress chains");
    let mut netlink =
        Netlink::open(SockProtocol::NetlinkNetFilter, 0, SockFlag::empty()).map_err(&failed)?;
    let mut found = BTreeMap::new();
    let everything = [NFPROTO_NETDEV, 0, 0, 0];
    netlink
        .dump(GET_CHAIN, &everything, |message| {
            found.extend(message.payload.get(NFGENMSG_BYTES..).and_then(chain));
        })
        .map_err(&failed)?;
    Ok(found)
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
