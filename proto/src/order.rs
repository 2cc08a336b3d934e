//! Orders: a closed list of typed verbs, signed by the controller's online key within the caps that
//! the policy gives it; and receipts, signed by the host, which alone move an order past `delivered`.

mod steps;

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::envelope::Signed;
use crate::id::{HostId, IsolationId, OrderId, ProposalId};
use crate::process::ProcessName;
pub use steps::{Form, STEPS, UNDOS, held_of};

/// What an order asks for. There is no shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Verb {
    /// Cut the host off.
    Isolate {
        /// The host opens by itself after this many seconds. 0: only a release opens it.
        lease_seconds: u64,
    },
    /// Open the host again. Releasing an open host is a success.
    Release,
    /// Let nothing pass from and to an isolated host of the same group, in case its own rules do not hold.
    BlockHost {
        /// The isolated host.
        peer: HostId,
        /// Its addresses, in place of what was blocked of it before; at most [`MOST_HOST_ADDRESSES`].
        addresses: Vec<IpAddr>,
        /// For how long, by the clock of whoever blocks; at most what the policy says.
        seconds: u64,
    },
    /// End that. Unblocking a host that is not blocked is a success.
    UnblockHost {
        /// The host that was isolated.
        peer: HostId,
    },
    /// Carry out what the host proposed. Refused when that waits no more.
    Approve {
        /// As the host reported it.
        proposal: ProposalId,
    },
    /// Do not, and propose nothing more about that process tree. Refused when it waits no more.
    Refuse {
        /// As the host reported it.
        proposal: ProposalId,
    },
    /// End a process and everything that descends from it.
    KillTree {
        /// The uppermost of them.
        process: ProcessName,
    },
    /// Stop them where they stand.
    FreezeTree {
        /// The uppermost of them.
        process: ProcessName,
    },
    /// Let them go on. Thawing those who are not frozen is a success.
    ThawTree {
        /// The uppermost of them.
        process: ProcessName,
    },
    /// Cut them off the network; they run on.
    CutOff {
        /// The uppermost of them.
        process: ProcessName,
    },
    /// Let them back. Rejoining those who are not cut off is a success.
    Rejoin {
        /// The uppermost of them.
        process: ProcessName,
    },
    /// Let nothing pass from and to a remote end.
    BlockRemote {
        /// Its address.
        address: IpAddr,
        /// For how long; at most [`crate::policy::MAX_BLOCK_SECONDS`].
        seconds: u64,
    },
    /// End that. Unblocking one that is not blocked is a success.
    UnblockRemote {
        /// Its address.
        address: IpAddr,
    },
    /// Take a file out of reach, and keep what it held.
    QuarantineFile {
        /// Absolute, with no symbolic link in it.
        path: String,
        /// Its content, hex: one that has changed is left where it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
    /// Put a file back as it was.
    RestoreFile {
        /// As the host's report names what it holds; [`held_of`] the order that had it taken.
        held: String,
    },
}

/// Most addresses of one host that an order names.
pub const MOST_HOST_ADDRESSES: usize = 16;

impl Verb {
    /// The name that policies list.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Isolate { .. } => "isolate",
            Self::Release => "release",
            Self::BlockHost { .. } => "block_host",
            Self::UnblockHost { .. } => "unblock_host",
            Self::Approve { .. } => "approve",
            Self::Refuse { .. } => "refuse",
            Self::KillTree { .. } => "kill_tree",
            Self::FreezeTree { .. } => "freeze_tree",
            Self::ThawTree { .. } => "thaw_tree",
            Self::CutOff { .. } => "cut_off",
            Self::Rejoin { .. } => "rejoin",
            Self::BlockRemote { .. } => "block_remote",
            Self::UnblockRemote { .. } => "unblock_remote",
            Self::QuarantineFile { .. } => "quarantine_file",
            Self::RestoreFile { .. } => "restore_file",
        }
    }
}

/// One order to one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Idempotency key: the same id is never carried out twice.
    pub id: OrderId,
    /// The only host that obeys it.
    pub host: HostId,
    /// What to do.
    #[serde(flatten)]
    pub verb: Verb,
    /// Why, in the words of whoever asked.
    pub reason: String,
    /// Account that asked.
    pub requested_by: String,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// The agent refuses it from then on.
    pub expires_at: Timestamp,
    /// The order that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<OrderId>,
}

impl Signed for Order {
    const PAYLOAD_TYPE: &'static str = "application/vnd.cordon.order.v1+json";
}

/// Where an order stands.
///
/// ```text
/// queued -> delivered -> started -> done
///    |          |           `-----> failed
///    |          `-> refused
///    `-> expired
/// ```
/// `queued`, `delivered` and `expired` are the controller's word; the rest are the agent's, by receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Signed and stored.
    Queued,
    /// Written to the host's stream.
    Delivered,
    /// The agent accepted it and began.
    Started,
    /// Done, with proof.
    Done,
    /// Tried; the effect is not there.
    Failed,
    /// The agent would not: signature, audience, expiry or caps.
    Refused,
    /// Nobody took it in time.
    Expired,
}

impl OrderState {
    /// No state follows.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Done | Self::Failed | Self::Refused | Self::Expired
        )
    }

    /// Whether a receipt that says `next` may follow. Receipts arrive at least once and in order of
    /// sequence, so a repeated or late one is simply not a step.
    pub fn may_become(self, next: Self) -> bool {
        use OrderState::{Delivered, Done, Expired, Failed, Queued, Refused, Started};
        matches!(
            (self, next),
            (Queued, Delivered | Expired | Started | Refused)
                | (Delivered, Started | Refused | Expired)
                | (Started, Done | Failed)
        )
    }
}

/// The host's signed word about one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The order.
    pub order: OrderId,
    /// The host that says so.
    pub host: HostId,
    /// `started`, `done`, `failed` or `refused`.
    pub state: OrderState,
    /// Host's wall clock.
    pub at: Timestamp,
    /// What was proved, or why it failed or was refused.
    pub detail: String,
    /// The isolation that it made or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<IsolationId>,
}

impl Signed for Receipt {
    const PAYLOAD_TYPE: &'static str = "application/vnd.cordon.receipt.v1+json";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_order_v1() {
        let order = Order {
            id: "01890000-0000-7000-8000-000000000001".parse().unwrap(),
            host: "01890000-0000-7000-8000-000000000002".parse().unwrap(),
            verb: Verb::Isolate {
                lease_seconds: 3600,
            },
            reason: "reverse shell".into(),
            requested_by: "admin".into(),
            issued_at: "2026-11-01T00:00:00Z".parse().unwrap(),
            expires_at: "2026-11-01T00:10:00Z".parse().unwrap(),
            undoes: None,
        };
        insta::assert_json_snapshot!(order);
        let read: Order = serde_json::from_value(serde_json::to_value(&order).unwrap()).unwrap();
        assert_eq!(read, order);
    }

    #[test]
    fn an_order_about_another_host_names_both() {
        let json = serde_json::json!({
            "id": "01890000-0000-7000-8000-000000000001",
            "host": "01890000-0000-7000-8000-000000000002",
            "verb": "block_host",
            "peer": "01890000-0000-7000-8000-000000000003",
            "addresses": ["10.0.0.7", "fd00::7"],
            "seconds": 600,
            "reason": "isolated",
            "requested_by": "controller",
            "issued_at": "2026-11-01T00:00:00Z",
            "expires_at": "2026-11-01T00:10:00Z",
        });
        let order: Order = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(order.verb.name(), "block_host");
        assert_eq!(serde_json::to_value(&order).unwrap(), json);
        for missing in ["peer", "addresses", "seconds"] {
            let mut json = json.clone();
            json.as_object_mut().unwrap().remove(missing);
            assert!(serde_json::from_value::<Order>(json).is_err(), "{missing}");
        }
    }

    #[test]
    fn an_answer_names_its_proposal_and_nothing_else() {
        for verb in ["approve", "refuse"] {
            let json = serde_json::json!({
                "verb": verb, "proposal": "01890000-0000-7000-8000-000000000004",
            });
            let read: Verb = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(read.name(), verb);
            assert_eq!(serde_json::to_value(&read).unwrap(), json);
            let mut widened = json;
            widened["stop"] = "kill".into();
            assert!(serde_json::from_value::<Verb>(widened).is_err());
            assert!(serde_json::from_value::<Verb>(serde_json::json!({ "verb": verb })).is_err());
        }
    }

    #[test]
    fn an_unknown_verb_is_an_error() {
        assert!(serde_json::from_str::<Verb>(r#"{"verb":"shell"}"#).is_err());
    }

    #[test]
    fn no_state_follows_a_final_one() {
        use OrderState::{Delivered, Done, Expired, Failed, Queued, Refused, Started};
        let all = [Queued, Delivered, Started, Done, Failed, Refused, Expired];
        for from in all.into_iter().filter(|s| s.is_final()) {
            assert!(all.iter().all(|to| !from.may_become(*to)));
        }
    }
}
