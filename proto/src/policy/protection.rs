//! What it takes to stop the agent.

use serde::{Deserialize, Serialize};

use super::Policy;

/// Whose word stops the agent or takes it off the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MayStop {
    /// Root's.
    #[default]
    Root,
    /// That of somebody who holds a release key, brought as a stop code. Root can still end the process by SIGKILL:
    /// this is about what counts as a stop, and what as an attempt.
    Code,
}

/// What the agent does for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    /// Whose word stops it.
    pub stop: MayStop,
}

impl Protection {
    /// As before there was any.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Policy {
    pub(super) fn check_protection(&self) -> Result<(), String> {
        if self.protection.stop == MayStop::Code && self.release_keys.is_empty() {
            return Err(
                "protection: without release_keys nobody could stop or remove an agent that takes a code for it"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
