//! Which remote ends of a malicious process, and which addresses of an isolated host, are blocked, and which never are.

use std::borrow::Cow;
use std::net::IpAddr;

use cordon_proto::policy::AddressOrNetwork;
use cordon_proto::record::SparedRemote;

/// Most that are blocked for one verdict: whoever wants an address blocked that others need has to hit it.
pub const MOST_REMOTES: usize = 8;

/// What is never blocked, whoever talked to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Never {
    /// The controller's pinned addresses.
    pub controllers: Vec<IpAddr>,
    /// Addresses of this host.
    pub own: Vec<IpAddr>,
    /// What the policy keeps reachable in an isolation.
    pub allow: Vec<IpAddr>,
    /// What the policy protects.
    pub protected: Vec<AddressOrNetwork>,
    /// Whom this host asks for names.
    pub resolvers: Vec<IpAddr>,
}

impl Never {
    /// Why an address is never blocked, in whatever form it is written; `None` when it may be.
    pub fn why(&self, address: IpAddr) -> Option<Cow<'static, str>> {
        let address = address.to_canonical();
        let is_of = |list: &[IpAddr]| list.iter().any(|of| of.to_canonical() == address);
        let why = if is_not_remote(address) {
            "not the address of one remote end"
        } else if is_of(&self.controllers) {
            "the controller's"
        } else if is_of(&self.own) {
            "this host's own"
        } else if is_of(&self.allow) {
            "on the policy's list of what stays reachable"
        } else if let Some(entry) = self.protected.iter().find(|entry| entry.covers(address)) {
            return Some(protected_by(entry));
        } else if is_of(&self.resolvers) {
            "this host asks it for names"
        } else {
            return None;
        };
        Some(why.into())
    }
}

/// With the network, by which the entry is found in the policy.
fn protected_by(entry: &AddressOrNetwork) -> Cow<'static, str> {
    const LISTED: &str = "on the policy's list of protected addresses";
    match entry {
        AddressOrNetwork::Address(_) => LISTED.into(),
        AddressOrNetwork::Network(network) => format!("in {network}, {LISTED}").into(),
    }
}

/// Who is blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Each once, in canonical form, in the order given.
    pub block: Vec<IpAddr>,
    /// Each once, with why.
    pub spared: Vec<SparedRemote>,
}

/// Sorts out whom to block, at most `most`. Of a process, `remotes` are whom it called itself, the latest first: who
/// called it may be anybody, a load balancer too.
pub fn choose(remotes: impl IntoIterator<Item = IpAddr>, never: &Never, most: usize) -> Choice {
    let mut choice = Choice::default();
    for address in remotes {
        let address = address.to_canonical();
        let is_known = choice.block.contains(&address)
            || choice.spared.iter().any(|spared| spared.address == address);
        if is_known {
            continue;
        }
        let is_full = choice.block.len() == most;
        let why = never.why(address);
        let is_beyond = is_full.then_some(Cow::Borrowed("more than are blocked at one time"));
        match why.or(is_beyond) {
            None => choice.block.push(address),
            // What is told is bounded too.
            Some(why) if choice.spared.len() < most => choice.spared.push(SparedRemote {
                address,
                why: why.into_owned(),
            }),
            Some(_) => {}
        }
    }
    choice
}

/// Link-local ones are no remote end by themselves: each link has its own.
fn is_not_remote(address: IpAddr) -> bool {
    let is_of_link = match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_link_local() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_of_link
}
