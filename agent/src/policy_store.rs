//! The policy in force, on disk as the envelope that was signed.

use std::path::{Path, PathBuf};

use cordon_proto::envelope::{Envelope, EnvelopeError};
use cordon_proto::policy::{Audience, Policy, PolicyError};
use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;

use crate::durable::{self, DiskError};
use crate::identity::Identity;

const FILE: &str = "policy.json";
const MAX_BYTES: u64 = cordon_proto::envelope::MAX_ENVELOPE_BYTES as u64;

/// A policy that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    /// Its content.
    pub policy: Policy,
    /// SHA-256 of its envelope, hex.
    pub sha256: String,
}

/// Holds the last good policy.
#[derive(Debug)]
pub struct PolicyStore {
    path: PathBuf,
    key: VerifyingKey,
    audience: Audience,
    in_force: Option<InForce>,
}

/// Why an offered policy is not taken up.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not good for this host. Carries the version where it could be read.
    #[error("policy refused")]
    Policy(#[source] PolicyError),
    /// Good, and could not be kept: without the disk it is not in force.
    #[error("policy not kept: {0}")]
    Disk(#[source] DiskError),
}

/// What became of an offered policy.
#[derive(Debug)]
pub enum Offer {
    /// In force from now on.
    Taken(u64),
    /// It is the one in force.
    Same,
    /// The one in force stays.
    Refused {
        /// Version offered; 0 when it could not be read.
        version: u64,
        /// Why.
        why: Refused,
    },
}

impl PolicyStore {
    /// Takes up the last good policy. One that does not pass any more is left on disk and not in force.
    pub fn load(state_dir: &Path, identity: &Identity) -> Self {
        let mut store = Self {
            path: state_dir.join(FILE),
            key: identity.policy_key,
            audience: identity.audience.clone(),
            in_force: None,
        };
        match store.read() {
            Ok(found) => store.in_force = found,
            Err(why) => {
                tracing::error!(%why, path = %store.path.display(), "the policy on disk is not in force");
            }
        }
        store
    }

    /// The policy in force.
    pub fn policy(&self) -> Option<&Policy> {
        self.in_force.as_ref().map(|in_force| &in_force.policy)
    }

    /// The policy in force, with its hash.
    pub fn in_force(&self) -> Option<&InForce> {
        self.in_force.as_ref()
    }

    /// 0 when there is none.
    pub fn version(&self) -> u64 {
        self.policy().map_or(0, |policy| policy.version)
    }

    /// When the policy in force is past its expiry: it stays in force.
    pub fn stale_since(&self, now: Timestamp) -> Option<Timestamp> {
        let expires_at = self.policy()?.expires_at;
        (expires_at <= now).then_some(expires_at)
    }

    /// Checks, keeps and takes up an offered policy.
    pub fn offer(&mut self, json: &[u8]) -> Offer {
        let envelope = match Envelope::from_json(json) {
            Ok(envelope) => envelope,
            Err(error) => return refused(0, Refused::Policy(error.into())),
        };
        let sha256 = envelope.sha256();
        if self.in_force().is_some_and(|held| held.sha256 == sha256) {
            return Offer::Same;
        }
        let held = self.policy().map(|policy| policy.version);
        match Policy::accept(&envelope, &self.key, &self.audience, held) {
            Ok(policy) => self.take_up(&envelope, InForce { policy, sha256 }),
            Err(error) => refused(self.claimed_version(&envelope), Refused::Policy(error)),
        }
    }

    fn take_up(&mut self, envelope: &Envelope, offered: InForce) -> Offer {
        let version = offered.policy.version;
        if let Err(error) = durable::replace(&self.path, &envelope.to_json()) {
            return refused(version, Refused::Disk(error));
        }
        self.in_force = Some(offered);
        Offer::Taken(version)
    }

    /// The version in a policy that is signed as it must be and refused for another reason.
    fn claimed_version(&self, envelope: &Envelope) -> u64 {
        let opened: Result<Policy, EnvelopeError> = envelope.open(&[self.key]);
        opened.map_or(0, |policy| policy.version)
    }

    fn read(&self) -> Result<Option<InForce>, String> {
        let read = durable::read(&self.path, MAX_BYTES).map_err(|error| crate::chain(&error))?;
        let Some(json) = read else {
            return Ok(None);
        };
        let envelope = Envelope::from_json(&json).map_err(|error| crate::chain(&error))?;
        let policy = Policy::accept(&envelope, &self.key, &self.audience, None);
        Ok(Some(InForce {
            policy: policy.map_err(|error| crate::chain(&error))?,
            sha256: envelope.sha256(),
        }))
    }
}

fn refused(version: u64, why: Refused) -> Offer {
    Offer::Refused { version, why }
}
