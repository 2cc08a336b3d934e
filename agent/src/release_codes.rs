//! The release challenge of the isolation in force, on disk, and what is typed or brought to answer it.
//!
//! The file is written after the drop, which must not wait for it. An isolation without one gets its challenge at the
//! next look: of the daemon, which looks twice a second, or of `status` and `release` while no daemon runs.

use std::path::{Path, PathBuf};

use cordon_proto::envelope::{Envelope, EnvelopeError};
use cordon_proto::id::{HostId, IsolationId};
use cordon_proto::policy::Policy;
use cordon_proto::record::ReleaseChallenge;
use cordon_proto::release::{Purpose, ReleaseFile, ReleaseKey};
use ed25519_dalek::VerifyingKey;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::codes::{Answer, Drawn};
pub use crate::codes::{LONGEST_WAIT, NotTaken};
use crate::durable::{self, DiskError};

const VERSION: u32 = 1;
const FILE: &str = "release.json";
const MAX_BYTES: u64 = 64 << 10;
/// How long a challenge can be answered, by this host's wall clock. Long enough for a key that lies in another
/// town's safe; a code that was made and not used is worth nothing afterwards. Then another challenge is shown.
pub const VALID: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What is shown instead of a release that the policy keeps from root.
pub const NEEDS_PERMIT: &str = "the policy does not let root at the machine open it with a reason alone: `cordon-agent status` \
     shows the challenge, the holder of a release key answers it with `cordonctl release-code`, and \
     `cordon-agent release --code` or `--file` takes the answer";

/// An answer to the challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Permit {
    /// Typed.
    Code {
        /// As it was typed.
        code: String,
        /// Why, in the words of whoever typed it.
        reason: String,
    },
    /// Brought on a stick: a signed [`ReleaseFile`].
    File(Envelope),
}

/// Why an answer does not open the host.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is nothing to answer.
    #[error("this isolation has no release challenge: the policy in force names no release key")]
    NoChallenge,
    /// What was typed is not taken.
    #[error(transparent)]
    Code(#[from] NotTaken),
    /// Not signed by a release key, or not a release file.
    #[error("release file refused")]
    File(#[source] EnvelopeError),
    /// Good, and for something else.
    #[error(
        "the release file answers another challenge (of another host, of an isolation before, or one past its time): \
         sign the one that `cordon-agent status` shows now"
    )]
    OtherChallenge,
}

impl Refusal {
    /// What is reported of it, if it was a guess.
    pub fn report(&self) -> Option<String> {
        match self {
            Self::Code(why) => why.report(),
            _ => None,
        }
    }
}

/// Whether root at the machine may open the host with a reason alone. Without a policy, as before there was one.
pub fn root_may_release(policy: Option<&Policy>) -> bool {
    policy.is_none_or(|policy| policy.isolation.local_release)
}

/// The challenge of the isolation in force.
#[derive(Debug)]
pub struct ReleaseCodes {
    path: PathBuf,
    host: HostId,
    kept: Option<Kept>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    isolation: IsolationId,
    #[serde(flatten)]
    drawn: Drawn,
}

impl ReleaseCodes {
    /// Takes up what is on disk. What cannot be read is as good as gone: another challenge is drawn.
    pub fn load(state_dir: &Path, host: HostId) -> Self {
        let path = state_dir.join(FILE);
        let kept = durable::read_json(&path, MAX_BYTES, VERSION).unwrap_or_else(|why| {
            tracing::error!(%why, path = %path.display(), "the release challenge on disk is damaged, drawing another");
            None
        });
        Self { path, host, kept }
    }

    /// Sees to it that this isolation has a challenge for these keys that is good now. Without a policy (`None`) one
    /// that is there stays: a damaged policy must not take the way back.
    ///
    /// After an error the challenge holds all the same, as long as this process lives.
    pub fn keep(
        &mut self,
        isolation: IsolationId,
        keys: Option<&[ReleaseKey]>,
        now: Timestamp,
    ) -> Result<(), DiskError> {
        let before = self.kept.as_ref();
        let before = before.filter(|kept| kept.isolation == isolation);
        let kept_keys = || before.map(|kept| kept.drawn.keys());
        let Some(keys) = keys.map_or_else(kept_keys, |keys| Some(keys.to_vec())) else {
            return Ok(());
        };
        let is_good = |kept: &Kept| kept.drawn.is_good(self.host, &keys, now);
        if before.is_some_and(is_good) || (keys.is_empty() && self.kept.is_none()) {
            return Ok(());
        }
        if keys.is_empty() {
            return self.forget();
        }
        let mut drawn = Drawn::draw(Purpose::Release, self.host, keys, now, VALID);
        if let Some(before) = before {
            drawn.count_on(&before.drawn);
        }
        self.kept = Some(Kept {
            version: VERSION,
            isolation,
            drawn,
        });
        self.save()
    }

    /// What this isolation shows.
    pub fn challenge(&self, isolation: IsolationId) -> Option<ReleaseChallenge> {
        let kept = self.of(isolation)?;
        Some(ReleaseChallenge {
            challenge: kept.drawn.challenge.to_string(),
            expires_at: kept.drawn.expires_at,
        })
    }

    /// Whether this opens the host: the release's reason as it is recorded, with whose key it was. [`Self::keep`] has
    /// just been called.
    pub fn admit(
        &mut self,
        isolation: IsolationId,
        permit: &Permit,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        match permit {
            Permit::Code { code, reason } => {
                let holder = self.try_code(isolation, code, now)?;
                Ok(format!("by release code of {holder:?}: {reason}"))
            }
            Permit::File(envelope) => {
                let (holder, reason) = self.try_file(isolation, envelope)?;
                Ok(format!("by release file of {holder:?}: {reason}"))
            }
        }
    }

    /// The isolation is over: its codes are used up.
    pub fn forget(&mut self) -> Result<(), DiskError> {
        self.kept = None;
        durable::remove(&self.path)
    }

    fn of(&self, isolation: IsolationId) -> Option<&Kept> {
        let kept = self.kept.as_ref();
        kept.filter(|kept| kept.isolation == isolation)
    }

    /// Whose code it is.
    fn try_code(
        &mut self,
        isolation: IsolationId,
        typed: &str,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let path = &self.path;
        let kept = self.kept.as_mut();
        let kept = kept.filter(|kept| kept.isolation == isolation);
        let kept = kept.ok_or(Refusal::NoChallenge)?;
        let before = kept.drawn.tries();
        let tried = kept.drawn.try_code(typed, now);
        if kept.drawn.tries() != before {
            save_tries(path, kept);
        }
        Ok(tried?)
    }

    /// Who signed it, and why.
    fn try_file(
        &self,
        isolation: IsolationId,
        envelope: &Envelope,
    ) -> Result<(String, String), Refusal> {
        let kept = self.of(isolation).ok_or(Refusal::NoChallenge)?;
        let answers = kept.drawn.answers.iter();
        let trusted: Vec<VerifyingKey> = answers.filter_map(|a| a.by.key()).collect();
        let file: ReleaseFile = envelope.open(&trusted).map_err(Refusal::File)?;
        if file.challenge != kept.drawn.challenge {
            return Err(Refusal::OtherChallenge);
        }
        let signed = |answer: &&Answer| {
            let key = answer.by.key();
            key.is_some_and(|key| envelope.open::<ReleaseFile>(&[key]).is_ok())
        };
        let holder = kept.drawn.answers.iter().find(signed);
        let holder = holder.map_or_else(String::new, |answer| answer.by.name.clone());
        Ok((holder, file.reason))
    }

    fn save(&self) -> Result<(), DiskError> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        save(&self.path, kept)
    }
}

/// A count that is not on disk holds until a restart; a full disk must not keep the owner out.
fn save_tries(path: &Path, kept: &Kept) {
    if let Err(error) = save(path, kept) {
        tracing::error!(error = %crate::chain(&error), "wrong release codes are not counted on disk");
    }
}

fn save(path: &Path, kept: &Kept) -> Result<(), DiskError> {
    let json = serde_json::to_vec_pretty(kept).expect("challenges have string keys only");
    durable::replace(path, &json)
}
