//! The lab's agents.

use anyhow::Result;

use super::GRPC_PORT;
use crate::lab::{Guest, Node};

const CONFIG: &str = "/etc/cordon/agent.toml";
const LOG: &str = "/var/log/cordon-agent.log";
const LOG_TAIL_LINES: usize = 30;

/// One kernel serves all endpoints of the lab, so each agent watches its own PID namespace only.
const SETTINGS: &str = "\
[sensor]
scope = \"pidns\"

[model]
dir = \"/usr/share/cordon/model\"
";

/// Writes the agent's configuration.
pub(super) fn configure(node: &Node) -> Result<()> {
    node.write(CONFIG, SETTINGS)
}

/// Trades a join token for an identity.
pub(super) fn enrol(node: &Node, ca_fingerprint: &str, token: &str) -> Result<()> {
    let controller = format!("controller:{GRPC_PORT}");
    node.succeed(&[
        "cordon-agent",
        "enroll",
        "--config",
        CONFIG,
        "--controller",
        &controller,
        "--ca-fingerprint",
        ca_fingerprint,
        "--token",
        token,
    ])
    .map(drop)
}

pub(super) fn start(node: &Node) -> Result<Guest> {
    node.spawn(&["cordon-agent", "run", "--config", CONFIG], LOG)
}

/// `CAP_SYS_ADMIN` stands in for the other two on kernels that know them not.
pub(super) fn start_without_bpf(node: &Node) -> Result<Guest> {
    let bounds = "--bounding-set=-sys_admin,-bpf,-perfmon";
    let command = ["setpriv", bounds, "cordon-agent", "run", "--config", CONFIG];
    node.spawn(&command, LOG)
}

/// The end of what it logged.
pub(super) fn log_tail(node: &Node) -> Result<String> {
    let log = node.read(LOG)?;
    let lines: Vec<&str> = log.lines().collect();
    let start = lines.len().saturating_sub(LOG_TAIL_LINES);
    Ok(format!(
        "agent log of {}:\n{}",
        node.name(),
        lines[start..].join("\n")
    ))
}
