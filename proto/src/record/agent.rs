//! What becomes of the agent itself.

use serde::{Deserialize, Serialize};

/// A process that did something to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Pid as the host's owner sees it; 0 when it is in a namespace out of sight.
    pub pid: u32,
    /// Real uid; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Path of its image, or its name where the path is not known; empty when neither is.
    pub exe: String,
}

/// How the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentAct {
    /// It was stopped. What it did to the host stays in force.
    Stopped,
    /// It is taken off the host, and what it did is undone.
    Removed,
}

/// The agent's last word before it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentReport {
    /// What becomes of it.
    pub act: AgentAct,
    /// Why, and by whose leave.
    pub reason: String,
    /// Policy version that let it; 0 when there was none.
    pub policy_version: u64,
}
