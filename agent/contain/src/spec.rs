//! What an isolation is: all that must be known to put it in force without asking anybody.

use std::net::{IpAddr, SocketAddr};

use cordon_proto::id::IsolationId;
use cordon_proto::policy::{AllowRule, Transport};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// One isolation of this host. Addresses are numbers: nothing is resolved after the drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationSpec {
    /// Names it.
    pub id: IsolationId,
    /// Why, as reported; a sanitised start of it is in the kernel's table too.
    pub reason: String,
    /// Tree of the detection that caused it, if one did.
    #[serde(default)]
    pub tree: Option<String>,
    /// When it was decided.
    pub started_at: Timestamp,
    /// When it opens by itself, if ever.
    #[serde(default)]
    pub lease_expires_at: Option<Timestamp>,
    /// The controller's pinned addresses.
    pub controllers: Vec<SocketAddr>,
    /// Remote ends that stay reachable by policy.
    #[serde(default)]
    pub allow: Vec<AllowRule>,
    /// Policy version that allowed it; 0 for a person at the console of the host.
    #[serde(default)]
    pub policy_version: u64,
    /// By which its times go on, whatever happens to the wall clock. Isolations of older agents, and those that only the
    /// kernel remembers, are without.
    #[serde(default)]
    pub moment: Option<Moment>,
}

impl IsolationSpec {
    /// Pinned addresses in canonical form: a v4-mapped address travels as IPv4.
    pub(crate) fn controller_ends(&self) -> impl Iterator<Item = (IpAddr, u16)> {
        self.controllers
            .iter()
            .map(|end| (end.ip().to_canonical(), end.port()))
    }
}

/// `nft` refuses comments longer than 128 bytes.
const MAX_COMMENT_BYTES: usize = 120;

/// The table's comments, by which a host whose state file is gone can still be understood, and opened.
///
/// They sit on rules, because nft 1.0.6 does not list table comments in JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Comment {
    /// `isolation ID since TIME until TIME|release`
    Header {
        id: IsolationId,
        started_at: Timestamp,
        lease_expires_at: Option<Timestamp>,
    },
    /// `reason: TEXT`
    Reason(String),
    /// `policy N`
    Policy(u64),
    /// `controller ADDRESS:PORT`
    Controller(SocketAddr),
    /// `allow tcp|udp ADDRESS:PORT`
    Allow(AllowRule),
}

impl Comment {
    pub(crate) fn header(spec: &IsolationSpec) -> String {
        let until = spec
            .lease_expires_at
            .map_or_else(|| "release".to_owned(), |at| whole_seconds(at).to_string());
        let since = whole_seconds(spec.started_at);
        format!("isolation {} since {since} until {until}", spec.id)
    }

    pub(crate) fn reason(spec: &IsolationSpec) -> String {
        let mut text = String::from("reason: ");
        for c in spec.reason.chars() {
            // No quotes, controls or bidirectional marks: an administrator will read this on a
            // terminal, and `nft list` prints comments without escaping.
            let safe = c.is_alphanumeric() || " .,:;/_-()@=+".contains(c);
            let c = if safe { c } else { '?' };
            if text.len() + c.len_utf8() > MAX_COMMENT_BYTES {
                break;
            }
            text.push(c);
        }
        text
    }

    pub(crate) fn policy(spec: &IsolationSpec) -> String {
        format!("policy {}", spec.policy_version)
    }

    pub(crate) fn controller(end: (IpAddr, u16)) -> String {
        format!("controller {}", SocketAddr::from(end))
    }

    pub(crate) fn allow(rule: &AllowRule) -> String {
        let transport = transport_name(rule.transport);
        let end = SocketAddr::new(rule.address, rule.port);
        format!("allow {transport} {end}")
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        Some(match kind {
            "isolation" => {
                let mut words = rest.split(' ');
                let id = words.next()?.parse().ok()?;
                let started_at = after(&mut words, "since")?.parse().ok()?;
                let lease_expires_at = match after(&mut words, "until")? {
                    "release" => None,
                    at => Some(at.parse().ok()?),
                };
                Self::Header {
                    id,
                    started_at,
                    lease_expires_at,
                }
            }
            "reason:" => Self::Reason(rest.to_owned()),
            "policy" => Self::Policy(rest.parse().ok()?),
            "controller" => Self::Controller(rest.parse().ok()?),
            "allow" => {
                let (transport, end) = rest.split_once(' ')?;
                let end: SocketAddr = end.parse().ok()?;
                Self::Allow(AllowRule {
                    address: end.ip(),
                    transport: match transport {
                        "tcp" => Transport::Tcp,
                        "udp" => Transport::Udp,
                        _ => return None,
                    },
                    port: end.port(),
                })
            }
            _ => return None,
        })
    }
}

pub(crate) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

fn after<'a>(words: &mut impl Iterator<Item = &'a str>, label: &str) -> Option<&'a str> {
    (words.next()? == label).then(|| words.next())?
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
