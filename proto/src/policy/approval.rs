//! What waits for a person, and what happens when none answers.

use serde::{Deserialize, Serialize};

/// What becomes of a proposal that nobody answered in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterTime {
    /// It ends.
    #[default]
    Nothing,
    /// It is carried out.
    Act,
}

/// How long a proposal waits for a yes, and what happens without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// From [`MIN_APPROVE_SECONDS`] to [`MAX_APPROVE_SECONDS`].
    pub seconds: u64,
    /// When the time is over and the controller was there: somebody could have answered.
    pub unanswered: AfterTime,
    /// When the time is over and the controller is out of reach: nobody could.
    pub offline: AfterTime,
}

/// Shorter, and nobody could read what he is asked.
pub const MIN_APPROVE_SECONDS: u64 = 10;
/// A day: what was proposed longer ago is no longer what is there.
pub const MAX_APPROVE_SECONDS: u64 = 24 * 3600;

impl Default for Approve {
    /// An hour, and nothing without a yes: what widens what an agent may do is written out.
    fn default() -> Self {
        Self {
            seconds: 3600,
            unanswered: AfterTime::Nothing,
            offline: AfterTime::Nothing,
        }
    }
}

impl Approve {
    pub(super) fn check(self) -> Result<(), String> {
        let Self { seconds, .. } = self;
        if (MIN_APPROVE_SECONDS..=MAX_APPROVE_SECONDS).contains(&seconds) {
            return Ok(());
        }
        Err(format!(
            "approve: {seconds} seconds are not between {MIN_APPROVE_SECONDS} and {MAX_APPROVE_SECONDS}"
        ))
    }
}
