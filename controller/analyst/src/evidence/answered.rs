//! What was proposed, and how that ended.

use cordon_proto::record::{ApprovalOutcome, Proposal, Steps};

use super::{NAME_CHARS, REASON_CHARS};
use crate::clean::plain;
use crate::{ApprovalFact, DetectionFact};

/// How a proposal ended.
pub(crate) struct Answered {
    pub outcome: ApprovalOutcome,
    pub steps: Steps,
    pub by: Option<String>,
    pub reason: String,
    pub policy_version: u64,
}

impl Answered {
    pub(super) fn read(fact: &ApprovalFact) -> Self {
        let report = &fact.report;
        Self {
            outcome: report.outcome,
            steps: report.steps,
            by: report.by.as_ref().map(|by| plain(by, NAME_CHARS)),
            reason: plain(&report.reason, REASON_CHARS),
            policy_version: report.policy_version,
        }
    }
}

pub(super) fn asked(detections: &[&DetectionFact], answers: &[ApprovalFact]) -> Option<Proposal> {
    let proposed = detections
        .iter()
        .filter_map(|fact| fact.detection.proposal.as_ref());
    let has_ended = |id| answers.iter().any(|fact| fact.report.proposal == id);
    let waiting = proposed.filter(|proposal| !has_ended(proposal.id));
    waiting.min_by_key(|proposal| proposal.expires_at).cloned()
}
