//! The release challenge of the isolation in force, on disk, and what is typed or brought to answer it.
//!
//! The file is written after the drop, which must not wait for it. An isolation without one gets its challenge at the
//! next look: of the daemon, which looks twice a second, or of `status` and `release` while no daemon runs.

use std::path::{Path, PathBuf};

use cordon_proto::envelope::{Envelope, EnvelopeError};
use cordon_proto::id::{HostId, IsolationId};
use cordon_proto::policy::Policy;
use cordon_proto::record::ReleaseChallenge;
use cordon_proto::release::{Challenge, Code, ReleaseFile, ReleaseKey, TypedError};
use ed25519_dalek::VerifyingKey;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::durable::{self, DiskError};

const VERSION: u32 = 1;
const FILE: &str = "release.json";
const MAX_BYTES: u64 = 64 << 10;
/// How long a challenge can be answered, by this host's wall clock. Long enough for a key that lies in another
/// town's safe; a code that was made and not used is worth nothing afterwards. Then another challenge is shown.
pub const VALID: SignedDuration = SignedDuration::from_hours(7 * 24);
/// From so many wrong codes on the next one has to wait. Fewer cost nothing but a record: people mistype.
const SLOW_FROM: u32 = 5;
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(30);
/// No wrong code keeps the owner waiting for longer.
pub const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(15);

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
    /// Not a code at all; it does not count as a guess.
    #[error("not a release code")]
    Typed(#[source] TypedError),
    /// Wrong before, too often.
    #[error(
        "{wrong} wrong codes were typed: the next one is looked at in {} s", wait.as_secs().max(1)
    )]
    TooSoon {
        /// So far.
        wrong: u32,
        /// From now on.
        wait: SignedDuration,
    },
    /// A guess, or a code for a challenge of before.
    #[error(
        "wrong release code (the host stays shut; {wrong} so far): have the challenge that \
         `cordon-agent status` shows now answered with the key of {holders}"
    )]
    Wrong {
        /// So far, this one counted.
        wrong: u32,
        /// Who could have made the right one.
        holders: String,
    },
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
        let Self::Wrong { wrong, .. } = self else {
            return None;
        };
        Some(format!(
            "a wrong release code was typed at the machine ({wrong} for this isolation so far)"
        ))
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
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    isolation: IsolationId,
    challenge: Challenge,
    expires_at: Timestamp,
    answers: Vec<Answer>,
    /// Wrong codes since the host was isolated, over all its challenges.
    wrong: u32,
    last_wrong_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    by: ReleaseKey,
    /// [`Code::digest`].
    digest: String,
}

impl ReleaseCodes {
    /// Takes up what is on disk. What cannot be read is as good as gone: another challenge is drawn.
    pub fn load(state_dir: &Path, host: HostId) -> Self {
        let path = state_dir.join(FILE);
        let kept = read(&path).unwrap_or_else(|why| {
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
        let Some(keys) = keys.map_or_else(|| before.map(Kept::keys), |keys| Some(keys.to_vec()))
        else {
            return Ok(());
        };
        let is_good = |kept: &Kept| {
            kept.expires_at > now && kept.keys() == keys && kept.challenge.is_for(self.host)
        };
        if before.is_some_and(is_good) || (keys.is_empty() && self.kept.is_none()) {
            return Ok(());
        }
        if keys.is_empty() {
            return self.forget();
        }
        let mut fresh = draw(self.host, isolation, keys, now);
        if let Some(before) = before {
            fresh.wrong = before.wrong;
            fresh.last_wrong_at = before.last_wrong_at;
        }
        self.kept = Some(fresh);
        self.save()
    }

    /// What this isolation shows.
    pub fn challenge(&self, isolation: IsolationId) -> Option<ReleaseChallenge> {
        let kept = self.of(isolation)?;
        Some(ReleaseChallenge {
            challenge: kept.challenge.to_string(),
            expires_at: kept.expires_at,
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
        let kept = self.kept.as_mut();
        let kept = kept.filter(|kept| kept.isolation == isolation);
        let kept = kept.ok_or(Refusal::NoChallenge)?;
        let code: Code = typed.parse().map_err(Refusal::Typed)?;
        if let Some(wait) = kept.wait(now) {
            let wrong = kept.wrong;
            // A clock that was set back must not make the wait longer than it would have been.
            if kept.last_wrong_at > Some(now) {
                kept.last_wrong_at = Some(now);
                self.save_tries();
            }
            return Err(Refusal::TooSoon { wrong, wait });
        }
        let digest = code.digest(&kept.challenge);
        if let Some(answer) = kept.answers.iter().find(|answer| answer.digest == digest) {
            return Ok(answer.by.name.clone());
        }
        kept.wrong = kept.wrong.saturating_add(1);
        kept.last_wrong_at = Some(now);
        let (wrong, holders) = (kept.wrong, kept.holders());
        self.save_tries();
        Err(Refusal::Wrong { wrong, holders })
    }

    /// Who signed it, and why.
    fn try_file(
        &self,
        isolation: IsolationId,
        envelope: &Envelope,
    ) -> Result<(String, String), Refusal> {
        let kept = self.of(isolation).ok_or(Refusal::NoChallenge)?;
        let trusted: Vec<VerifyingKey> = kept.answers.iter().filter_map(|a| a.by.key()).collect();
        let file: ReleaseFile = envelope.open(&trusted).map_err(Refusal::File)?;
        if file.challenge != kept.challenge {
            return Err(Refusal::OtherChallenge);
        }
        let signed = |answer: &&Answer| {
            let key = answer.by.key();
            key.is_some_and(|key| envelope.open::<ReleaseFile>(&[key]).is_ok())
        };
        let holder = kept.answers.iter().find(signed);
        let holder = holder.map_or_else(String::new, |answer| answer.by.name.clone());
        Ok((holder, file.reason))
    }

    /// A count that is not on disk holds until a restart; a full disk must not keep the owner out.
    fn save_tries(&self) {
        if let Err(error) = self.save() {
            tracing::error!(error = %crate::chain(&error), "wrong release codes are not counted on disk");
        }
    }

    fn save(&self) -> Result<(), DiskError> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        let json = serde_json::to_vec_pretty(kept).expect("challenges have string keys only");
        durable::replace(&self.path, &json)
    }
}

impl Kept {
    fn keys(&self) -> Vec<ReleaseKey> {
        self.answers.iter().map(|a| a.by.clone()).collect()
    }

    fn holders(&self) -> String {
        let names = self.answers.iter().map(|a| format!("{:?}", a.by.name));
        names.collect::<Vec<_>>().join(" or ")
    }

    /// How long no code is looked at from now on, if so.
    fn wait(&self, now: Timestamp) -> Option<SignedDuration> {
        let last = self.last_wrong_at?.min(now);
        let until = last.checked_add(pause(self.wrong)).unwrap_or(now);
        (until > now).then(|| now.duration_until(until))
    }
}

/// After so many wrong codes.
fn pause(wrong: u32) -> SignedDuration {
    let Some(doublings) = wrong.checked_sub(SLOW_FROM) else {
        return SignedDuration::ZERO;
    };
    FIRST_WAIT
        .saturating_mul(1 << doublings.min(10))
        .min(LONGEST_WAIT)
}

fn draw(host: HostId, isolation: IsolationId, keys: Vec<ReleaseKey>, now: Timestamp) -> Kept {
    // Policies with a key that is none are refused, so none is left out.
    let (by, public): (Vec<ReleaseKey>, Vec<VerifyingKey>) = keys
        .into_iter()
        .filter_map(|by| by.key().map(|key| (by, key)))
        .unzip();
    let (challenge, codes) = Challenge::draw(rand::random(), host, &public);
    let digests = codes.iter().map(|code| code.digest(&challenge));
    let answers = by.into_iter().zip(digests);
    let answers = answers.map(|(by, digest)| Answer { by, digest }).collect();
    Kept {
        version: VERSION,
        isolation,
        expires_at: now.checked_add(VALID).unwrap_or(Timestamp::MAX),
        challenge,
        answers,
        wrong: 0,
        last_wrong_at: None,
    }
}

fn read(path: &Path) -> Result<Option<Kept>, String> {
    let Some(json) = durable::read(path, MAX_BYTES).map_err(|error| crate::chain(&error))? else {
        return Ok(None);
    };
    let kept: Kept = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    if kept.version != VERSION {
        return Err(format!("version {} is not {VERSION}", kept.version));
    }
    Ok(Some(kept))
}
