//! Why a host is opened, and how a change is told.

use cordon_proto::record::{IsolationReport, IsolationState};

use super::{Effect, Intent};

/// Between the reason of a release that the disk was not told of, and why it was not.
pub const UNTIL_RESTART: &str = "; a restart shuts the host again, because the disk was not told: ";

/// Why the host is being opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked.
    Release(String),
    /// The lease is over.
    Lease,
    /// The proof failed and policy says roll back.
    RollBack(String),
    /// The rules did not go in; what is left on disk goes.
    ApplyFailed(String),
}

impl Cause {
    /// `still_on_disk`: why the disk was not told.
    pub(super) fn report(self, intent: &Intent, still_on_disk: Option<&str>) -> Effect {
        let (state, reason) = match self {
            Self::Release(reason) => (IsolationState::Released, reason),
            Self::Lease => (IsolationState::Released, "lease is over".to_owned()),
            Self::RollBack(why) => (IsolationState::Released, format!("rolled back: {why}")),
            Self::ApplyFailed(why) => (IsolationState::Failed, why),
        };
        let until_restart =
            still_on_disk.map_or_else(String::new, |why| format!("{UNTIL_RESTART}{why}"));
        report(intent, state, reason + &until_restart)
    }
}

pub(super) fn report(intent: &Intent, state: IsolationState, reason: String) -> Effect {
    Effect::Report(bare_report(intent, state, reason))
}

pub(super) fn bare_report(
    intent: &Intent,
    state: IsolationState,
    reason: String,
) -> IsolationReport {
    IsolationReport {
        id: intent.id,
        state,
        reason,
        tree: intent.tree.clone(),
        lease_expires_at: intent.lease_expires_at,
        rules_sha256: None,
        probes: Vec::new(),
        event_to_drop_micros: None,
        policy_version: intent.policy_version,
        release: None,
    }
}
