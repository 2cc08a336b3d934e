//! The words that rules are written in: thin names for the types of the `nftables` crate.

use std::net::{IpAddr, Ipv6Addr};

use nftables::batch::Batch;
use nftables::expr::{
    Expression, Meta, MetaKey, NamedExpression, Payload, PayloadField, Prefix, SetItem, Socket,
    SocketAttr,
};
use nftables::schema::{Chain, NfListObject, Rule, Table};
use nftables::stmt::{Mangle, Match, Operator, Statement};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};

use super::TABLE;

/// By index, not by name: a device can be renamed to "lo", but no other can be number 1.
pub(super) fn loopback(side: MetaKey) -> Statement<'static> {
    eq(meta(side), text("lo"))
}

pub(super) fn marked_socket(mark: u32) -> Statement<'static> {
    let socket = NamedExpression::Socket(Socket {
        key: std::borrow::Cow::Owned(SocketAttr::Mark),
    });
    eq(Expression::Named(socket), Expression::Number(mark))
}

pub(super) fn mark_packet(mark: u32) -> Statement<'static> {
    Statement::Mangle(Mangle {
        key: meta(MetaKey::Mark),
        value: Expression::Number(mark),
    })
}

pub(super) fn address(side: &str, address: IpAddr) -> Statement<'static> {
    let protocol = if address.is_ipv4() { "ip" } else { "ip6" };
    eq(field(protocol, side), text(&address.to_string()))
}

pub(super) fn port(transport: &str, side: &str, port: u16) -> Statement<'static> {
    eq(field(transport, side), Expression::Number(port.into()))
}

pub(super) fn link_local() -> Expression<'static> {
    prefix(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).into(), 10)
}

pub(super) fn link_multicast() -> Expression<'static> {
    prefix(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0).into(), 16)
}

pub(super) fn prefix(network: IpAddr, length: u8) -> Expression<'static> {
    Expression::Named(NamedExpression::Prefix(Prefix {
        addr: Box::new(text(&network.to_string())),
        len: length.into(),
    }))
}

pub(super) fn set(items: impl IntoIterator<Item = Expression<'static>>) -> Expression<'static> {
    Expression::Named(NamedExpression::Set(
        items.into_iter().map(SetItem::Element).collect(),
    ))
}

pub(super) fn field(protocol: &str, field: &str) -> Expression<'static> {
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(
        PayloadField {
            protocol: protocol.to_owned().into(),
            field: field.to_owned().into(),
        },
    )))
}

pub(super) fn meta(key: MetaKey) -> Expression<'static> {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

pub(super) fn text(text: &str) -> Expression<'static> {
    Expression::String(text.to_owned().into())
}

pub(super) fn eq(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match {
        left,
        right,
        op: Operator::EQ,
    })
}

pub(super) fn and(
    mut matches: Vec<Statement<'static>>,
    more: impl IntoIterator<Item = Statement<'static>>,
) -> Vec<Statement<'static>> {
    matches.extend(more);
    matches
}

pub(super) fn table(family: NfFamily, name: &'static str) -> NfListObject<'static> {
    NfListObject::Table(Table {
        family,
        name: name.into(),
        handle: None,
    })
}

pub(super) fn chain(family: NfFamily, name: &str) -> NfListObject<'static> {
    NfListObject::Chain(Chain {
        family,
        table: TABLE.into(),
        name: name.to_owned().into(),
        ..Chain::default()
    })
}

/// Adds chains and rules of one table to the batch.
pub(super) struct Writer<'a> {
    pub(super) batch: &'a mut Batch<'static>,
    pub(super) family: NfFamily,
    pub(super) table: &'static str,
}

impl Writer<'_> {
    pub(super) fn base_chain(
        &mut self,
        name: &str,
        hook: NfHook,
        priority: i32,
        device: Option<&str>,
    ) {
        self.hooked(name, hook, priority, device, NfChainPolicy::Drop);
    }

    pub(super) fn hooked(
        &mut self,
        name: &str,
        hook: NfHook,
        priority: i32,
        device: Option<&str>,
        policy: NfChainPolicy,
    ) {
        self.batch.add(NfListObject::Chain(Chain {
            family: self.family,
            table: self.table.into(),
            name: name.to_owned().into(),
            _type: Some(NfChainType::Filter),
            hook: Some(hook),
            prio: Some(priority),
            dev: device.map(|device| device.to_owned().into()),
            policy: Some(policy),
            ..Chain::default()
        }));
    }

    /// An accepting rule.
    pub(super) fn rule(
        &mut self,
        chain: &str,
        comment: String,
        mut matches: Vec<Statement<'static>>,
    ) {
        matches.push(Statement::Accept(None));
        self.push(chain, Some(comment), matches);
    }

    /// What no rule let through. The policy says so too, but the kernel puts a new chain's policy in
    /// force only after it has taken the chains away that this transaction replaces; rules are in
    /// force from the transaction's very moment (nf_tables_commit, linux/net/netfilter/nf_tables_api.c).
    pub(super) fn drop_the_rest(&mut self, chain: &str) {
        self.push(chain, None, vec![Statement::Drop(None)]);
    }

    pub(super) fn push(
        &mut self,
        chain: &str,
        comment: Option<String>,
        statements: Vec<Statement<'static>>,
    ) {
        self.batch.add(NfListObject::Rule(Rule {
            family: self.family,
            table: self.table.into(),
            chain: chain.to_owned().into(),
            expr: statements.into(),
            comment: comment.map(Into::into),
            ..Rule::default()
        }));
    }
}
