//! The rules of blocked remote ends: a table of its own, so that an isolation and a block leave each other alone.
//!
//! Packets from and to an address in a set are dropped, in, out and through the host; everything else goes on to the
//! tables of others. The kernel takes an address out of its set when its time is over.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use jiff::Timestamp;
use nftables::batch::Batch;
use nftables::expr::{Elem, Expression, NamedExpression};
use nftables::schema::{NfListObject, Nftables, Set, SetFlag, SetType, SetTypeValue};
use nftables::stmt::Statement;
use nftables::types::{NfChainPolicy, NfFamily, NfHook};

use super::words::{self, Writer, eq, field, table, text};
use super::{EARLY, LAST};
use crate::blocks::Block;

/// Name of the table.
pub(crate) const TABLE: &str = "cordon_blocks";

/// One transaction that replaces the table, where it `is_there`, by one for `blocks`; by none where there are none.
pub(crate) fn replace(blocks: &[Block], is_there: bool, now: Timestamp) -> Nftables<'static> {
    let mut batch = Batch::new();
    if is_there {
        batch.delete(table(NfFamily::INet, TABLE));
    }
    if !blocks.is_empty() {
        batch.add(table(NfFamily::INet, TABLE));
        add(&mut batch, blocks, now);
    }
    batch.to_nftables()
}

fn add(batch: &mut Batch<'static>, blocks: &[Block], now: Timestamp) {
    // One that is blocked more than once is for the longest of them.
    let mut seconds: BTreeMap<IpAddr, u32> = BTreeMap::new();
    for block in blocks {
        let longest = seconds.entry(block.address).or_default();
        *longest = block.seconds_left(now).max(*longest);
    }
    let (v4, v6) = seconds
        .into_iter()
        .partition(|(address, _)| address.is_ipv4());
    batch.add(set("v4", SetType::Ipv4Addr, v4));
    batch.add(set("v6", SetType::Ipv6Addr, v6));
    let mut to = Writer {
        batch,
        family: NfFamily::INet,
        table: TABLE,
    };
    let chains = [
        ("input", NfHook::Input, EARLY, &["saddr"][..]),
        ("output", NfHook::Output, LAST, &["daddr"]),
        ("forward", NfHook::Forward, EARLY, &["saddr", "daddr"]),
    ];
    for (chain, hook, priority, sides) in chains {
        to.hooked(chain, hook, priority, None, NfChainPolicy::Accept);
        // The address may be a gateway's: whom it routes for stays reachable.
        let neighbours = ["nd-neighbor-solicit", "nd-neighbor-advert"].map(text);
        let is_discovery = eq(field("icmpv6", "type"), words::set(neighbours));
        to.push(chain, None, vec![is_discovery, Statement::Accept(None)]);
        for side in sides {
            for (protocol, set) in [("ip", "@v4"), ("ip6", "@v6")] {
                let is_blocked = eq(field(protocol, side), text(set));
                to.push(chain, None, vec![is_blocked, Statement::Drop(None)]);
            }
        }
    }
}

fn set(name: &'static str, kind: SetType, seconds: Vec<(IpAddr, u32)>) -> NfListObject<'static> {
    let elements: Vec<Expression<'static>> = seconds
        .into_iter()
        .map(|(address, seconds)| element(address, seconds))
        .collect();
    NfListObject::Set(Box::new(Set {
        family: NfFamily::INet,
        table: TABLE.into(),
        name: name.into(),
        handle: None,
        set_type: SetTypeValue::Single(kind),
        policy: None,
        flags: Some(HashSet::from([SetFlag::Timeout])),
        elem: (!elements.is_empty()).then(|| elements.into()),
        timeout: None,
        gc_interval: None,
        size: None,
        comment: None,
    }))
}

fn element(address: IpAddr, seconds: u32) -> Expression<'static> {
    Expression::Named(NamedExpression::Elem(Elem {
        val: Box::new(text(&address.to_string())),
        timeout: Some(seconds),
        expires: None,
        comment: None,
        counter: None,
    }))
}
