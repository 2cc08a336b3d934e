//! What is wanted, and until when.

use cordon_proto::id::IsolationId;
use cordon_proto::policy::WithoutProof;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::proposal::Clocks;

/// When an isolation opens by itself; `None` is never.
pub type Lease = Option<Timestamp>;

/// What is wanted: one isolation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Names it.
    pub id: IsolationId,
    /// Why.
    pub reason: String,
    /// Tree of the detection that caused it, if one did.
    pub tree: Option<String>,
    /// When it was decided.
    pub started_at: Timestamp,
    /// When it opens by itself.
    pub lease_expires_at: Lease,
    /// Policy version that allowed it; 0 for a person at the console of the host.
    pub policy_version: u64,
    /// What to do when the proof fails.
    pub without_proof: WithoutProof,
    /// Kernel's stamp of the judged event, nanoseconds of CLOCK_MONOTONIC.
    pub event_mono_ns: Option<u64>,
}

/// What a restart finds on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persisted {
    /// The isolation.
    pub intent: Intent,
    /// A release had begun.
    pub releasing: bool,
    /// [`super::Machine::anchor`] as it was then, if that was in this boot.
    pub anchor: Option<Clocks>,
}

impl Intent {
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.lease_expires_at.is_some_and(|at| at <= now)
    }
}

pub(super) fn longest(a: Lease, b: Lease) -> Lease {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        _ => None,
    }
}

pub(super) fn is_past(lease: Lease, now: Timestamp) -> bool {
    lease.is_some_and(|at| at <= now)
}
