//! The stop challenge of this host, on disk, and what is typed to answer it: where the policy takes a code for it,
//! nothing else stops the agent by leave.
//!
//! It is drawn when somebody asks what a stop needs, so a host where nobody does shows none. A code ends with its use:
//! the next stop, after a start, takes another one.

use std::path::{Path, PathBuf};

use cordon_proto::id::HostId;
use cordon_proto::policy::{MayStop, Policy};
use cordon_proto::record::ReleaseChallenge;
use cordon_proto::release::{Purpose, ReleaseKey};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::codes::Drawn;
pub use crate::codes::NotTaken;
use crate::durable;

const VERSION: u32 = 1;
const FILE: &str = "stop.json";
const MAX_BYTES: u64 = 64 << 10;
/// How long a challenge can be answered, by this host's wall clock: a stop is work that somebody does now, and a code
/// for it must not lie about. Guesses are forgotten when none was made for as long.
pub const VALID: SignedDuration = SignedDuration::from_hours(24);

/// What is said instead of a stop that the policy keeps from root.
pub const NEEDS_CODE: &str = "the policy lets nobody stop this agent without a stop code: have the holder of a release key answer the \
     challenge with `cordonctl stop-code --challenge TEXT`, and type the answer with --code";

/// Whose codes stop the agent; `None` where root does so with a reason alone. Without a policy root does.
pub fn keys(policy: Option<&Policy>) -> Option<&[ReleaseKey]> {
    let policy = policy?;
    (policy.protection.stop == MayStop::Code).then_some(policy.release_keys.as_slice())
}

/// As it is recorded.
pub fn leave_of(holder: &str, reason: &str) -> String {
    let reason = reason.trim();
    match reason {
        "" => format!("by stop code of {holder:?}"),
        _ => format!("by stop code of {holder:?}: {reason}"),
    }
}

/// The stop challenge.
#[derive(Debug)]
pub struct StopCodes {
    path: PathBuf,
    host: HostId,
    kept: Option<Kept>,
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    #[serde(flatten)]
    drawn: Drawn,
}

impl StopCodes {
    /// Takes up what is on disk. What cannot be read is as good as gone: another challenge is drawn.
    pub fn load(state_dir: &Path, host: HostId) -> Self {
        let path = state_dir.join(FILE);
        let kept = durable::read_json(&path, MAX_BYTES, VERSION).unwrap_or_else(|why| {
            tracing::error!(%why, path = %path.display(), "the stop challenge on disk is damaged, drawing another");
            None
        });
        Self { path, host, kept }
    }

    /// What is shown to whoever wants to stop it: the challenge at hand, or another one when that is not good any more.
    /// It holds although it could not be written down, as long as this process lives.
    pub fn challenge(&mut self, keys: &[ReleaseKey], now: Timestamp) -> ReleaseChallenge {
        let drawn = self.keep(keys, now);
        ReleaseChallenge {
            challenge: drawn.challenge.to_string(),
            expires_at: drawn.expires_at,
        }
    }

    /// Whose leave this is. It is used up by that.
    pub fn admit(
        &mut self,
        typed: &str,
        keys: &[ReleaseKey],
        now: Timestamp,
    ) -> Result<String, NotTaken> {
        let drawn = self.keep(keys, now);
        let before = drawn.tries();
        let tried = drawn.try_code(typed, now);
        if drawn.tries() != before {
            self.save();
        }
        let holder = tried?;
        self.kept = None;
        if let Err(error) = durable::remove(&self.path) {
            tracing::error!(error = %crate::chain(&error), "a stop code that was used stays good");
        }
        Ok(holder)
    }

    fn keep(&mut self, keys: &[ReleaseKey], now: Timestamp) -> &mut Drawn {
        let host = self.host;
        let is_good = |kept: &Kept| kept.drawn.is_good(host, keys, now);
        if !self.kept.as_ref().is_some_and(is_good) {
            let mut drawn = Drawn::draw(Purpose::Stop, host, keys.to_vec(), now, VALID);
            if let Some(before) = &self.kept
                && is_recent(before.drawn.last_wrong_at, now)
            {
                drawn.count_on(&before.drawn);
            }
            let version = VERSION;
            self.kept = Some(Kept { version, drawn });
            self.save();
        }
        &mut self.kept.as_mut().expect("it was put there").drawn
    }

    /// What is not on disk holds until a restart; a full disk must not keep the owner from stopping the agent.
    fn save(&self) {
        let json = serde_json::to_vec_pretty(&self.kept).expect("challenges have string keys only");
        if let Err(error) = durable::replace(&self.path, &json) {
            tracing::error!(error = %crate::chain(&error), "the stop challenge is not on disk");
        }
    }
}

fn is_recent(wrong_at: Option<Timestamp>, now: Timestamp) -> bool {
    wrong_at.is_some_and(|at| now.duration_since(at) < VALID)
}
