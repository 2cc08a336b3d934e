//! A challenge that this host shows, the codes that answer it, and what guessing them costs.
//!
//! What an answer is good for is its owner's matter: [`crate::release_codes`] opens the host,
//! [`crate::stop_codes`] stops the agent.

use cordon_proto::id::HostId;
use cordon_proto::release::{Challenge, Code, Purpose, ReleaseKey, TypedError};
use ed25519_dalek::VerifyingKey;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// From so many wrong codes on the next one has to wait. Fewer cost nothing but a record: people mistype.
const SLOW_FROM: u32 = 5;
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(30);
/// No wrong code keeps the owner waiting for longer.
pub const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(15);

/// A challenge, and what is kept of the codes that answer it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Drawn {
    pub challenge: Challenge,
    pub expires_at: Timestamp,
    pub answers: Vec<Answer>,
    /// Wrong codes so far, over the challenges before too.
    pub wrong: u32,
    pub last_wrong_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    pub by: ReleaseKey,
    /// [`Code::digest`].
    pub digest: String,
}

/// Why a typed code is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Not a code at all; it does not count as a guess.
    #[error("not a {} code", Words::of(*purpose).name)]
    Typed {
        /// What for.
        purpose: Purpose,
        /// What it is not.
        #[source]
        error: TypedError,
    },
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
        "wrong {} code ({}; {wrong} so far): have the challenge that `{}` shows now answered with the key of {holders}",
        Words::of(*purpose).name, Words::of(*purpose).meanwhile, Words::of(*purpose).shown_by
    )]
    Wrong {
        /// What for.
        purpose: Purpose,
        /// So far, this one counted.
        wrong: u32,
        /// Who could have made the right one.
        holders: String,
    },
}

impl NotTaken {
    /// What is reported of it, if it was a guess.
    pub fn report(&self) -> Option<String> {
        let Self::Wrong { purpose, wrong, .. } = self else {
            return None;
        };
        let name = Words::of(*purpose).name;
        Some(format!(
            "a wrong {name} code was typed at the machine ({wrong} so far)"
        ))
    }
}

/// How codes of a purpose are spoken of.
struct Words {
    name: &'static str,
    /// What is so for as long as the right one was not typed.
    meanwhile: &'static str,
    /// The command that shows the challenge.
    shown_by: &'static str,
}

impl Words {
    fn of(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Release => Self {
                name: "release",
                meanwhile: "the host stays shut",
                shown_by: "cordon-agent status",
            },
            Purpose::Stop => Self {
                name: "stop",
                meanwhile: "the agent runs on",
                shown_by: "cordon-agent stop",
            },
        }
    }
}

impl Drawn {
    /// A fresh challenge for these keys, good for so long. Wrong codes of before count on.
    pub fn draw(
        purpose: Purpose,
        host: HostId,
        keys: Vec<ReleaseKey>,
        now: Timestamp,
        valid: SignedDuration,
    ) -> Self {
        // Policies with a key that is none are refused, so none is left out.
        let (by, public): (Vec<ReleaseKey>, Vec<VerifyingKey>) = keys
            .into_iter()
            .filter_map(|by| by.key().map(|key| (by, key)))
            .unzip();
        let (challenge, codes) = Challenge::draw_for(purpose, rand::random(), host, &public);
        let digests = codes.iter().map(|code| code.digest(&challenge));
        let answers = by.into_iter().zip(digests);
        let answers = answers.map(|(by, digest)| Answer { by, digest }).collect();
        Self {
            challenge,
            expires_at: now.checked_add(valid).unwrap_or(Timestamp::MAX),
            answers,
            wrong: 0,
            last_wrong_at: None,
        }
    }

    /// The same guesser at another challenge.
    pub fn count_on(&mut self, before: &Self) {
        self.wrong = before.wrong;
        self.last_wrong_at = before.last_wrong_at;
    }

    /// It is this host's, is for these keys, and can still be answered.
    pub fn is_good(&self, host: HostId, keys: &[ReleaseKey], now: Timestamp) -> bool {
        self.expires_at > now && self.keys() == keys && self.challenge.is_for(host)
    }

    /// How often it was guessed, and when last.
    pub fn tries(&self) -> (u32, Option<Timestamp>) {
        (self.wrong, self.last_wrong_at)
    }

    /// Whose codes it takes.
    pub fn keys(&self) -> Vec<ReleaseKey> {
        self.answers.iter().map(|a| a.by.clone()).collect()
    }

    /// Whose code it is. When [`Self::tries`] are others afterwards, they are to be on disk.
    pub fn try_code(&mut self, typed: &str, now: Timestamp) -> Result<String, NotTaken> {
        let purpose = self.challenge.purpose();
        let code: Code = typed
            .parse()
            .map_err(|error| NotTaken::Typed { purpose, error })?;
        if let Some(wait) = self.wait(now) {
            let wrong = self.wrong;
            // A clock that was set back must not make the wait longer than it would have been.
            self.last_wrong_at = self.last_wrong_at.map(|last| last.min(now));
            return Err(NotTaken::TooSoon { wrong, wait });
        }
        let digest = code.digest(&self.challenge);
        if let Some(answer) = self.answers.iter().find(|answer| answer.digest == digest) {
            return Ok(answer.by.name.clone());
        }
        self.wrong = self.wrong.saturating_add(1);
        self.last_wrong_at = Some(now);
        Err(NotTaken::Wrong {
            purpose,
            wrong: self.wrong,
            holders: self.holders(),
        })
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
