//! What a host proposes, and how that ends.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{OrderId, ProposalId};
use crate::policy::{AfterTime, BlockRemote, Stop};

/// What is done about a malicious verdict, at once or when somebody says yes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// The host is isolated.
    pub isolate: bool,
    /// What is done to the judged process and everything that descends from it.
    pub stop: Stop,
    /// Whether they are cut off the network.
    pub cut_off: bool,
    /// Whether its remote ends are blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockRemote>,
}

impl Steps {
    /// Nothing is done.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// What a host would do if somebody said yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Its identity, for orders.
    pub id: ProposalId,
    /// What.
    pub steps: Steps,
    /// When it was made, host's wall clock.
    pub made_at: Timestamp,
    /// Until when it waits, host's wall clock.
    pub expires_at: Timestamp,
    /// What happens then when the controller is there.
    pub unanswered: AfterTime,
    /// What happens then when it is out of reach.
    pub offline: AfterTime,
}

/// How a proposal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalOutcome {
    /// Somebody said yes.
    Approved,
    /// Somebody said no.
    Refused,
    /// Its time was over, with the controller there.
    Unanswered,
    /// Its time was over, with the controller out of reach.
    Offline,
    /// The host was opened meanwhile: whoever did that has decided.
    Withdrawn,
}

/// The end of a proposal. What the steps came to is in records of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalReport {
    /// Which.
    pub proposal: ProposalId,
    /// Tree of the detection that led to it.
    pub tree: String,
    /// How it ended.
    pub outcome: ApprovalOutcome,
    /// What the policy says about a time that is over, where that was the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<AfterTime>,
    /// What is carried out: never more than was proposed, and what the policy in force allows of it.
    pub steps: Steps,
    /// The order that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// Account that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, and what was proposed and is not carried out.
    pub reason: String,
    /// Policy version in force.
    pub policy_version: u64,
}
