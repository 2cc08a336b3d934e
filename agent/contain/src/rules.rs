//! The rules of an isolated host, as one batch.
//!
//! | table | chain | why there |
//! |---|---|---|
//! | `inet cordon` | `input`, priority -300 | before conntrack-using filters of others do work for a packet that is dropped anyway |
//! | | `output`, last priority | after everybody's DNAT and re-routing, so that the packet is judged as it will leave; a drop is final wherever it stands |
//! | | `forward`, priority -300 | containers and virtual machines behind the host; nothing passes |
//! | `netdev cordon` | `egress_N` on every device but loopback | AF_PACKET and other senders that never see `inet`; bridged frames of guests |
//! | `bridge cordon` | `forward`, priority -300 | frames between the ports of the host's own bridges, where there is no egress; nothing passes |
//!
//! `bridge cordon` goes in whether there is a bridge or not: one that is made later is cut from its first frame.
//!
//! Every chain ends in a drop, and its policy is drop. Nothing is let through for being `established` or `related`.
//!
//! The controller is let through for sockets that carry the agent's mark. `output` matches the mark of
//! the *socket*, because other tables may rewrite the packet's mark, and puts it on the packet again,
//! so that `egress` (where no socket can be looked up) sees it.

pub(crate) mod blocks;
mod words;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cordon_proto::policy::{AllowRule, Transport};
use nftables::batch::Batch;
use nftables::expr::{BinaryOperation, Expression, MetaKey};
use nftables::schema::Nftables;
use nftables::stmt::{JumpTarget, Match, Operator, Statement};
use nftables::types::{NfFamily, NfHook};
use serde::{Deserialize, Serialize};

use crate::error::ContainError;
use crate::spec::{Comment, IsolationSpec, transport_name};
use words::{
    Writer, address, and, chain, eq, field, link_local, link_multicast, loopback, mark_packet,
    marked_socket, meta, port, prefix, set, table, text,
};

/// Name of all tables.
pub(crate) const TABLE: &str = "cordon";
/// The chain that every egress chain jumps to.
pub(crate) const EGRESS_ALLOW: &str = "allow";

pub(crate) const EARLY: i32 = -300;
pub(crate) const LAST: i32 = i32::MAX - 1;
/// EtherTypes of frames that keep the link itself up and that no bridge forwards: LACP (bonding)
/// and EAPOL (802.1X). Without them a bond or an authenticated port goes down with the controller.
const LINK_CONTROL: [u32; 2] = [0x8809, 0x888e];
/// Bounds the batch on a host with very many addresses.
const MAX_SUBNETS: usize = 64;

/// What an isolation has beside `inet cordon`, where the kernel takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parts {
    /// Egress chains (Linux 5.16 and later).
    pub(crate) egress: bool,
    /// `bridge cordon`. Isolations of older agents are without.
    #[serde(default)]
    pub(crate) bridge: bool,
}

impl Parts {
    pub(crate) const ALL: Self = Self::of(true, true);
    /// What is tried when the kernel refuses all of them, in this order.
    pub(crate) const FEWER: [Self; 3] = [
        Self::of(true, false),
        Self::of(false, true),
        Self::of(false, false),
    ];

    const fn of(egress: bool, bridge: bool) -> Self {
        Self { egress, bridge }
    }

    /// What is not stopped without the parts that are missing, in words; `refusal` is the kernel's.
    pub(crate) fn missing(self, refusal: &ContainError) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.egress {
            missing.push(format!(
                "raw and packet sockets are not stopped, this kernel takes no egress chains: {refusal}"
            ));
        }
        match self {
            Self { bridge: true, .. } => {}
            Self { egress: true, .. } => missing.push(format!(
                "frames between guests on a bridge are stopped by egress chains alone, this kernel takes no bridge chains: {refusal}"
            )),
            Self { egress: false, .. } => missing.push(
                "frames between guests on a bridge are not stopped, this kernel takes no bridge chains either".into(),
            ),
        }
        missing
    }
}

/// What the host's own network looks like when the rules are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Every network device but loopback.
    pub(crate) devices: BTreeSet<String>,
    /// Subnets of the host's own IPv4 addresses: where a DHCP lease is renewed by unicast.
    pub(crate) subnets: BTreeSet<(Ipv4Addr, u8)>,
}

/// One transaction that replaces the tables of ours that are `there` by the rules for `spec`.
///
/// Without a part its table is not even added to be deleted: a kernel that does not know the family refuses that.
pub(crate) fn isolate(
    spec: &IsolationSpec,
    mark: u32,
    around: &Surroundings,
    parts: Parts,
    there: &[NfFamily],
) -> Nftables<'static> {
    let mut batch = Batch::new();
    delete(&mut batch, there);
    inet_rules(new_table(&mut batch, NfFamily::INet), spec, mark, around);
    if parts.egress {
        egress_rules(new_table(&mut batch, NfFamily::NetDev), spec, mark, around);
    }
    if parts.bridge {
        bridge_rules(new_table(&mut batch, NfFamily::Bridge), spec);
    }
    batch.to_nftables()
}

/// One transaction that removes the tables of ours that are `there`.
pub(crate) fn open(there: &[NfFamily]) -> Nftables<'static> {
    let mut batch = Batch::new();
    delete(&mut batch, there);
    batch.to_nftables()
}

/// Not by way of adding them: the kernel refuses to add a table that is there with other flags, and root can leave one
/// behind that has some.
fn delete(batch: &mut Batch<'static>, there: &[NfFamily]) {
    for family in there {
        batch.delete(table(*family, TABLE));
    }
}

fn new_table<'a>(batch: &'a mut Batch<'static>, family: NfFamily) -> Writer<'a> {
    batch.add(table(family, TABLE));
    Writer {
        batch,
        family,
        table: TABLE,
    }
}

fn inet_rules(mut to: Writer<'_>, spec: &IsolationSpec, mark: u32, around: &Surroundings) {
    to.base_chain("input", NfHook::Input, EARLY, None);
    to.base_chain("output", NfHook::Output, LAST, None);
    to.base_chain("forward", NfHook::Forward, EARLY, None);

    to.rule("input", Comment::header(spec), vec![loopback(MetaKey::Iif)]);
    let from_controller = spec.controller_ends().map(|end| {
        let matches = vec![address("saddr", end.0), port("tcp", "sport", end.1)];
        (
            Comment::controller(end),
            and(matches, [marked_socket(mark)]),
        )
    });
    for (comment, matches) in from_controller.collect::<Vec<_>>() {
        to.rule("input", comment, matches);
    }
    for rule in &spec.allow {
        to.rule("input", Comment::allow(rule), from_allowed(rule));
    }
    to.rule("input", Comment::reason(spec), dhcp("input", None));
    to.rule("input", Comment::policy(spec), dhcp6("input"));
    for (comment, matches) in icmp_in(mark) {
        to.rule("input", comment.to_owned(), matches);
    }
    to.drop_the_rest("input");
    to.drop_the_rest("forward");

    to.rule("output", "loopback".into(), vec![loopback(MetaKey::Oif)]);
    for end in spec.controller_ends() {
        let matches = vec![
            address("daddr", end.0),
            port("tcp", "dport", end.1),
            marked_socket(mark),
            mark_packet(mark),
        ];
        to.rule("output", Comment::controller(end), matches);
    }
    out_rules(&mut to, "output", spec, around);
    to.drop_the_rest("output");
}

fn egress_rules(mut to: Writer<'_>, spec: &IsolationSpec, mark: u32, around: &Surroundings) {
    to.batch.add(chain(NfFamily::NetDev, EGRESS_ALLOW));
    let arp = vec![eq(meta(MetaKey::Protocol), text("arp"))];
    to.rule(EGRESS_ALLOW, Comment::header(spec), arp);
    let link_control = set(LINK_CONTROL.map(Expression::Number));
    let link_control = vec![eq(meta(MetaKey::Protocol), link_control)];
    to.rule(EGRESS_ALLOW, "link control".into(), link_control);
    for end in spec.controller_ends() {
        let matches = vec![
            address("daddr", end.0),
            port("tcp", "dport", end.1),
            eq(meta(MetaKey::Mark), Expression::Number(mark)),
        ];
        to.rule(EGRESS_ALLOW, Comment::controller(end), matches);
    }
    out_rules(&mut to, EGRESS_ALLOW, spec, around);
    for (index, device) in around.devices.iter().enumerate() {
        let name = format!("egress_{index}");
        to.base_chain(&name, NfHook::Egress, 0, Some(device));
        to.push(
            &name,
            None,
            vec![Statement::Jump(JumpTarget {
                target: EGRESS_ALLOW.into(),
            })],
        );
        to.drop_the_rest(&name);
    }
}

fn bridge_rules(mut to: Writer<'_>, spec: &IsolationSpec) {
    to.base_chain("forward", NfHook::Forward, EARLY, None);
    to.push(
        "forward",
        Some(Comment::header(spec)),
        vec![Statement::Drop(None)],
    );
}

/// What `output` and `egress` let out alike.
fn out_rules(to: &mut Writer<'_>, chain: &str, spec: &IsolationSpec, around: &Surroundings) {
    for rule in &spec.allow {
        let transport = transport_name(rule.transport);
        let end = address("daddr", rule.address.to_canonical());
        let matches = vec![end, port(transport, "dport", rule.port)];
        to.rule(chain, Comment::allow(rule), matches);
    }
    let broadcast = (Ipv4Addr::BROADCAST, 32);
    let subnets = around.subnets.iter().copied().take(MAX_SUBNETS);
    for subnet in std::iter::once(broadcast).chain(subnets) {
        to.rule(chain, "dhcp client".into(), dhcp("output", Some(subnet)));
    }
    to.rule(chain, "dhcpv6 client".into(), dhcp6("output"));
    to.rule(chain, "nd".into(), nd_out(spec));
    to.rule(chain, "mld, which nd relies on".into(), mld_out());
}

/// A peer of the allow list answers; it does not call. UDP has no such difference.
fn from_allowed(rule: &AllowRule) -> Vec<Statement<'static>> {
    let transport = transport_name(rule.transport);
    let mut matches = vec![
        address("saddr", rule.address.to_canonical()),
        port(transport, "sport", rule.port),
    ];
    if rule.transport == Transport::Tcp {
        let syn_and_ack = Expression::List(vec![text("syn"), text("ack")]);
        let flags = BinaryOperation::AND(field("tcp", "flags"), syn_and_ack);
        matches.push(Statement::Match(Match {
            left: Expression::BinaryOperation(Box::new(flags)),
            right: text("syn"),
            op: Operator::NEQ,
        }));
    }
    matches
}

fn icmp_in(mark: u32) -> [(&'static str, Vec<Statement<'static>>); 4] {
    let from_this_link = || eq(field("ip6", "hoplimit"), Expression::Number(255));
    let nd = set([
        "nd-router-advert",
        "nd-neighbor-solicit",
        "nd-neighbor-advert",
    ]
    .map(text));
    [
        (
            "nd, never routed",
            vec![eq(field("icmpv6", "type"), nd), from_this_link()],
        ),
        (
            "mld, which nd relies on",
            vec![
                eq(field("icmpv6", "type"), text("mld-listener-query")),
                eq(field("ip6", "saddr"), link_local()),
            ],
        ),
        // The kernel looks up the socket that the quoted packet belongs to.
        (
            "path mtu of the agent's own packets",
            vec![
                eq(field("icmp", "type"), text("destination-unreachable")),
                eq(field("icmp", "code"), text("frag-needed")),
                marked_socket(mark),
            ],
        ),
        (
            "path mtu of the agent's own packets",
            vec![
                eq(field("icmpv6", "type"), text("packet-too-big")),
                marked_socket(mark),
            ],
        ),
    ]
}

/// Solicitations and advertisements go no further than the link and the ends that may be talked to:
/// an unbounded rule would be a tunnel to anywhere.
fn nd_out(spec: &IsolationSpec) -> Vec<Statement<'static>> {
    let kinds = [
        "nd-router-solicit",
        "nd-neighbor-solicit",
        "nd-neighbor-advert",
    ];
    let mut ends: Vec<Expression<'static>> = vec![link_local(), link_multicast()];
    let allowed = spec.allow.iter().map(|rule| rule.address.to_canonical());
    let named: BTreeSet<Ipv6Addr> = spec
        .controller_ends()
        .map(|end| end.0)
        .chain(allowed)
        .filter_map(|address| match address {
            // Overlapping elements are an error; these are in the link-local prefix already.
            IpAddr::V6(v6) if !v6.is_unicast_link_local() => Some(v6),
            _ => None,
        })
        .collect();
    ends.extend(named.iter().map(|v6| text(&v6.to_string())));
    vec![
        eq(field("icmpv6", "type"), set(kinds.map(text))),
        eq(field("ip6", "daddr"), set(ends)),
    ]
}

fn mld_out() -> Vec<Statement<'static>> {
    let kinds = [
        "mld-listener-report",
        "mld-listener-reduction",
        "mld2-listener-report",
    ];
    vec![
        eq(field("icmpv6", "type"), set(kinds.map(text))),
        eq(field("ip6", "daddr"), link_multicast()),
    ]
}

fn dhcp(way: &str, subnet: Option<(Ipv4Addr, u8)>) -> Vec<Statement<'static>> {
    let (from, to) = if way == "input" { (67, 68) } else { (68, 67) };
    let mut matches = vec![port("udp", "sport", from), port("udp", "dport", to)];
    matches.push(match subnet {
        Some((network, 32)) => address("daddr", network.into()),
        Some((network, length)) => eq(field("ip", "daddr"), prefix(network.into(), length)),
        None => eq(meta(MetaKey::Nfproto), text("ipv4")),
    });
    matches
}

fn dhcp6(way: &str) -> Vec<Statement<'static>> {
    if way == "input" {
        let server = eq(field("ip6", "saddr"), link_local());
        return vec![server, port("udp", "sport", 547), port("udp", "dport", 546)];
    }
    let servers = set([link_local(), text("ff02::1:2")]);
    vec![
        eq(field("ip6", "daddr"), servers),
        port("udp", "sport", 546),
        port("udp", "dport", 547),
    ]
}
