//! Policies that are offered, and what one in force changes for others.

use cordon_proto::record::{PolicyReport, RecordBody};
use jiff::Timestamp;

use super::Engine;
use crate::policy_store::Offer;

impl Engine {
    pub(super) fn offered(&mut self, json: &[u8], now: Timestamp) {
        let report = match self.parts.policy.offer(json) {
            Offer::Same => return,
            Offer::Taken(version) => {
                tracing::info!(version, "policy in force");
                self.policy_changed(now);
                PolicyReport {
                    version,
                    applied: true,
                    detail: String::new(),
                }
            }
            Offer::Refused { version, why } => {
                let detail = crate::chain(&why);
                tracing::warn!(version, %detail, "policy not taken up");
                PolicyReport {
                    version,
                    applied: false,
                    detail,
                }
            }
        };
        self.parts.recorder.record(RecordBody::Policy(report));
        self.publish();
    }

    pub(super) fn policy_changed(&self, now: Timestamp) {
        let policy = self.parts.policy.policy();
        self.parts
            .thresholds
            .send_replace(policy.and_then(|policy| policy.thresholds));
        self.parts.prevention.rule(policy);
        let protected = policy.map(|policy| policy.protected_addresses.as_slice());
        let version = self.parts.policy.version();
        let blocker = &self.parts.blocker;
        blocker.protect(protected.unwrap_or_default(), version);
        if let Some(since) = self.parts.policy.stale_since(now) {
            tracing::warn!(%since, "the policy is past its expiry; it stays in force");
        }
    }
}
