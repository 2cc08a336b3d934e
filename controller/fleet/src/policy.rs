//! Policies: signed elsewhere, checked here, handed on as they came.

use cordon_proto::envelope::{Envelope, EnvelopeError};
use cordon_proto::policy::{Audience, Policy, PolicyError};
use cordon_store::{PolicyRow, StoreError};
use jiff::Timestamp;

use crate::Fleet;

/// Why a policy was not taken. What was in force stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Not an envelope, or not signed by the site's policy key.
    #[error("policy envelope refused")]
    Envelope(#[from] EnvelopeError),
    /// Signed, and yet not for this site or not sensible.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Not newer than the group's newest, or the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fleet {
    /// Checks a signed policy, keeps it as its group's newest and wakes the sessions.
    pub async fn push_policy(&self, envelope: &[u8], who: &str) -> Result<PolicyRow, PushError> {
        let envelope = Envelope::from_json(envelope)?;
        let policy = self.open_policy(&envelope)?;
        let now = Timestamp::now();
        let kept = self.store().add_policy(&policy, &envelope, who, now);
        let row = kept.await?;
        self.0.live.wake_all();
        let target = format!(
            "version {} for group {}, envelope {}",
            row.policy.version, row.policy.group, row.sha256
        );
        self.audit(who, "policy.push", &target).await;
        Ok(row)
    }

    /// The same check that the agents make, for whatever group the policy names.
    fn open_policy(&self, envelope: &Envelope) -> Result<Policy, PushError> {
        let site = &self.0.site;
        let key = &site.policy_key;
        let named: Policy = envelope.open(std::slice::from_ref(key))?;
        let audience = Audience {
            site: site.name.clone(),
            group: named.group,
        };
        Ok(Policy::accept(envelope, key, &audience, None)?)
    }
}
