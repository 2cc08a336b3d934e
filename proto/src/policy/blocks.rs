//! Whose addresses are blocked, and for how long.

use serde::{Deserialize, Serialize};

use super::Policy;

/// For how long the remote ends of a malicious process are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockRemote {
    /// At least 1, at most [`MAX_BLOCK_SECONDS`]: a block always ends by itself.
    pub seconds: u64,
}

/// For how long the hosts of a group block one of them that is isolated. The controller tells them again before that
/// is over, for as long as the host is isolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockIsolated {
    /// At least [`MIN_BLOCK_ISOLATED_SECONDS`], at most [`MAX_BLOCK_SECONDS`]. A controller that is gone blocks nobody for longer.
    pub seconds: u64,
    /// Most hosts that one host blocks at once; at least 1.
    pub hosts: u32,
}

/// Half of it is what a host has to renew a block in.
pub const MIN_BLOCK_ISOLATED_SECONDS: u64 = 10;

/// A week.
pub const MAX_BLOCK_SECONDS: u64 = 7 * 24 * 3600;

impl Policy {
    pub(super) fn check_blocks(&self) -> Result<(), String> {
        if let Some(BlockRemote { seconds }) = self.block_remote
            && !(1..=MAX_BLOCK_SECONDS).contains(&seconds)
        {
            return Err(format!(
                "block_remote: {seconds} seconds are not between 1 and {MAX_BLOCK_SECONDS}"
            ));
        }
        let Some(BlockIsolated { seconds, hosts }) = self.block_isolated else {
            return Ok(());
        };
        let why = if !(MIN_BLOCK_ISOLATED_SECONDS..=MAX_BLOCK_SECONDS).contains(&seconds) {
            format!(
                "{seconds} seconds are not between {MIN_BLOCK_ISOLATED_SECONDS} and {MAX_BLOCK_SECONDS}"
            )
        } else if hosts == 0 {
            "0 hosts block nobody: leave block_isolated out".to_owned()
        } else if !self.has_keys_for(&["block_host", "unblock_host"]) {
            "no order key may sign block_host and unblock_host: list both among its verbs"
                .to_owned()
        } else {
            return Ok(());
        };
        Err(format!("block_isolated: {why}"))
    }
}
