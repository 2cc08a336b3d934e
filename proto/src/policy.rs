//! The policy: what an agent may do by itself, signed by a key that need not be online.

mod addresses;
mod approval;
mod blocks;
mod ordered;
mod programs;
mod protection;
mod quiet;

use std::net::IpAddr;

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::envelope::{Envelope, EnvelopeError, Signed};
use crate::release::{MAX_RELEASE_KEYS, ReleaseKey};
pub use addresses::{AddressOrNetwork, BadEntry, MAX_PROTECTED_ADDRESSES};
pub use approval::{AfterTime, Approve, MAX_APPROVE_SECONDS, MIN_APPROVE_SECONDS};
pub use blocks::{BlockIsolated, BlockRemote, MAX_BLOCK_SECONDS, MIN_BLOCK_ISOLATED_SECONDS};
pub(crate) use programs::is_plain;
pub use programs::{
    BlockedFile, BlockedPrograms, MAX_PROGRAM_FILES, MAX_PROGRAM_PATH_BYTES, MAX_PROGRAM_PATHS,
};
pub use protection::{MayStop, Protection};
pub use quiet::{Day, MOST_QUIET_HOURS, QuietHours, TimeOfDay};

/// How far a verdict may go without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Record and report; never act.
    Observe,
    /// Report and say what would have been done.
    Recommend,
    /// Propose, and act when a person says yes in time.
    Approve,
    /// Act within the caps.
    Autonomous,
}

/// What is done to a malicious process and everything that descends from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Nothing.
    #[default]
    None,
    /// It is stopped where it stands, and can go on.
    Freeze,
    /// It is ended.
    Kill,
}

impl Stop {
    /// Nothing is done.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// What happens when isolation is in place but its proof failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutProof {
    /// Open again and report the failure.
    RollBack,
    /// Stay shut and keep trying.
    StayShut,
}

/// Calibrated score from which a verdict gets its name. `0 <= suspicious <= malicious <= 1`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// At or above: `suspicious`.
    pub suspicious: f32,
    /// At or above: `malicious`.
    pub malicious: f32,
}

/// Transport protocol of an [`AllowRule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A remote end that an isolated host may still reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowRule {
    /// One address; no ranges, no names.
    pub address: IpAddr,
    /// TCP or UDP.
    pub transport: Transport,
    /// Port on the remote end.
    pub port: u16,
}

/// How this group's hosts are isolated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsolationPolicy {
    /// The host opens by itself after this many seconds. 0: only a release opens it.
    pub lease_seconds: u64,
    /// Roll back or stay shut when the proof fails.
    pub without_proof: WithoutProof,
    /// Remote ends that stay reachable, the controller's own address aside.
    #[serde(default)]
    pub allow: Vec<AllowRule>,
    /// Root at the machine may open the host with no more than a reason. If not, it takes a release code
    /// or file. Nothing keeps root from deleting the rules by hand: this is about what counts as a release.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub local_release: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_yes(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_no(value: &bool) -> bool {
    !*value
}

/// Brakes on autonomy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Isolations that one agent starts in any hour without an order to isolate.
    pub isolations_per_hour: u32,
    /// Hosts of the group that may be isolated at one time without a person who says so; at least 1. An agent asks the
    /// controller, which counts, before it isolates its host by itself. Written only when it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts_at_once: Option<u32>,
    /// Orders about processes, remote ends and files that one host carries out in any hour, those that undo one aside.
    /// Needed where a key may sign any of [`crate::order::STEPS`]. Written only when it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_per_hour: Option<u32>,
    /// When mode `autonomous` isolates nobody at once; at most [`MOST_QUIET_HOURS`]. Written only when there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quiet_hours: Vec<QuietHours>,
}

impl Caps {
    fn check(&self) -> Result<(), String> {
        if self.hosts_at_once == Some(0) {
            return Err(
                "caps: hosts_at_once is at least 1: isolations_per_hour 0 keeps agents from isolating by themselves"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// An online key and the orders it may sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderKey {
    /// Ed25519 public key, raw, hex (64 digits).
    pub public_key: String,
    /// Verbs it may sign, by [`crate::order::Verb::name`].
    pub verbs: Vec<String>,
}

/// A signed policy's content. What widens what an agent may do is always written out: it never guesses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Only grows; an agent refuses an older one.
    pub version: u64,
    /// The site that the policy is for.
    pub site: String,
    /// The group that the policy is for.
    pub group: String,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// When the agent starts to warn that it is stale. Protection goes on.
    pub expires_at: Timestamp,
    /// How far a verdict may go.
    pub mode: Mode,
    /// The model's own thresholds when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Thresholds>,
    /// How hosts are isolated.
    pub isolation: IsolationPolicy,
    /// What is done to malicious processes. Written only when it is anything, so that a policy reads as before there was this.
    #[serde(default, skip_serializing_if = "Stop::is_none")]
    pub stop: Stop,
    /// Malicious processes are cut off the network, while the rest of the host is not. Written only when they are.
    #[serde(default, skip_serializing_if = "is_no")]
    pub cut_off: bool,
    /// Whether the remote ends of malicious processes are blocked. Written only when they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_remote: Option<BlockRemote>,
    /// Whether the other hosts of the group block one that is isolated. Written only when they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_isolated: Option<BlockIsolated>,
    /// Programs that must not run. Written only when there are any.
    #[serde(default, skip_serializing_if = "BlockedPrograms::is_empty")]
    pub blocked_programs: BlockedPrograms,
    /// How long a proposal waits for a yes, and what happens without one. Written only when it is said;
    /// [`Approve::default`] holds in mode `approve` when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Approve>,
    /// What the agent does for itself. Written only when it is more than ever.
    #[serde(default, skip_serializing_if = "Protection::is_default")]
    pub protection: Protection,
    /// Brakes.
    pub caps: Caps,
    /// Executables that no automatic action may touch, by absolute path.
    #[serde(default)]
    pub protected_processes: Vec<String>,
    /// Addresses and networks that no agent blocks, whoever has them or says so; at most [`MAX_PROTECTED_ADDRESSES`].
    /// Written only when there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected_addresses: Vec<AddressOrNetwork>,
    /// Who may sign orders.
    pub order_keys: Vec<OrderKey>,
    /// Who may open isolated hosts without the controller, and stop agents where that takes a code; at most
    /// [`MAX_RELEASE_KEYS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub release_keys: Vec<ReleaseKey>,
}

impl Signed for Policy {
    const PAYLOAD_TYPE: &'static str = "application/vnd.cordon.policy.v1+json";
}

/// Why a policy was refused. The one in force stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Signature, type or form.
    #[error("policy envelope refused")]
    Envelope(#[from] EnvelopeError),
    /// Made for another site or group.
    #[error("policy is for {found}, this host is in {wanted}")]
    Audience {
        /// Site and group in the policy.
        found: String,
        /// Site and group of this host.
        wanted: String,
    },
    /// Older than, or different from but numbered as, the one in force.
    #[error("policy version {offered} is not newer than version {in_force} in force")]
    NotNewer {
        /// Version in the refused policy.
        offered: u64,
        /// Version in force.
        in_force: u64,
    },
    /// Signed, yet senseless.
    #[error("policy is invalid: {0}")]
    Invalid(String),
}

/// Who the host is, as far as policies are addressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audience {
    /// Site name from enrolment.
    pub site: String,
    /// Group name from enrolment.
    pub group: String,
}

impl Policy {
    /// Checks signature, audience, version and sense of an offered policy.
    ///
    /// `in_force` is the version that the host holds now, if any. An expired policy is accepted:
    /// it may be the newest there is, and expiry only warns.
    pub fn accept(
        envelope: &Envelope,
        key: &VerifyingKey,
        audience: &Audience,
        in_force: Option<u64>,
    ) -> Result<Self, PolicyError> {
        let policy: Self = envelope.open(std::slice::from_ref(key))?;
        if policy.site != audience.site || policy.group != audience.group {
            return Err(PolicyError::Audience {
                found: format!("{}/{}", policy.site, policy.group),
                wanted: format!("{}/{}", audience.site, audience.group),
            });
        }
        if let Some(in_force) = in_force
            && policy.version <= in_force
        {
            return Err(PolicyError::NotNewer {
                offered: policy.version,
                in_force,
            });
        }
        policy.check()?;
        Ok(policy)
    }

    /// Public keys that may sign an order with `verb`.
    pub fn order_keys_for(&self, verb: &str) -> Vec<VerifyingKey> {
        self.order_keys
            .iter()
            .filter(|key| key.verbs.iter().any(|v| v == verb))
            .filter_map(|key| parse_public_key(&key.public_key))
            .collect()
    }

    fn check(&self) -> Result<(), PolicyError> {
        if self.version == 0 {
            return Err(PolicyError::Invalid("version must be at least 1".into()));
        }
        if let Some(t) = self.thresholds
            && !(0.0 <= t.suspicious && t.suspicious <= t.malicious && t.malicious <= 1.0)
        {
            return Err(PolicyError::Invalid(
                "thresholds must satisfy 0 <= suspicious <= malicious <= 1".into(),
            ));
        }
        for key in &self.order_keys {
            if parse_public_key(&key.public_key).is_none() {
                return Err(PolicyError::Invalid(format!(
                    "order key {:?} is not an Ed25519 public key in hex",
                    key.public_key
                )));
            }
        }
        let programs = self.blocked_programs.check(&self.protected_processes);
        programs.map_err(|why| PolicyError::Invalid(format!("blocked_programs: {why}")))?;
        addresses::check(&self.protected_addresses).map_err(PolicyError::Invalid)?;
        self.check_blocks().map_err(PolicyError::Invalid)?;
        self.check_approve().map_err(PolicyError::Invalid)?;
        self.check_ordered().map_err(PolicyError::Invalid)?;
        self.check_protection().map_err(PolicyError::Invalid)?;
        quiet::check(&self.caps.quiet_hours).map_err(PolicyError::Invalid)?;
        self.caps.check().map_err(PolicyError::Invalid)?;
        self.check_release()
    }

    /// Whether somebody may sign each of these verbs.
    fn has_keys_for(&self, verbs: &[&str]) -> bool {
        let mut verbs = verbs.iter();
        verbs.all(|verb| !self.order_keys_for(verb).is_empty())
    }

    fn check_approve(&self) -> Result<(), String> {
        let Some(approve) = self.approve else {
            return Ok(());
        };
        approve.check()?;
        if !self.has_keys_for(&["approve", "refuse"]) {
            return Err(
                "approve: no order key may sign approve and refuse: list both among its verbs"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn check_release(&self) -> Result<(), PolicyError> {
        if self.release_keys.len() > MAX_RELEASE_KEYS {
            return Err(PolicyError::Invalid(format!(
                "{} release keys are more than {MAX_RELEASE_KEYS}",
                self.release_keys.len()
            )));
        }
        if !self.isolation.local_release && self.release_keys.is_empty() {
            return Err(PolicyError::Invalid(
                "without local_release there must be release_keys, or nobody could open a host that lost the controller".into(),
            ));
        }
        let checked = self.release_keys.iter().try_for_each(ReleaseKey::check);
        checked.map_err(PolicyError::Invalid)
    }
}

pub(crate) fn parse_public_key(text: &str) -> Option<VerifyingKey> {
    let bytes: [u8; 32] = hex::decode(text).ok()?.try_into().ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

#[cfg(test)]
mod tests;
