//! What the guest is given, and what its senders send.

use anyhow::Result;

use super::machine::SHARE;
use crate::lab::Node;

/// What the guest needs, beside the agent and its model.
const FILES: [(&str, &str); 8] = [
    ("run", include_str!("guest/run")),
    ("lan.network", include_str!("guest/lan.network")),
    ("noise.pl", include_str!("guest/noise.pl")),
    (
        "noise-early.service",
        include_str!("guest/noise-early.service"),
    ),
    (
        "noise-late.service",
        include_str!("guest/noise-late.service"),
    ),
    (
        "cordon-agent.service",
        include_str!("../../../../packaging/cordon-agent.service"),
    ),
    (
        "cordon-agent-restore.service",
        include_str!("../../../../packaging/cordon-agent-restore.service"),
    ),
    (
        "agent.toml",
        include_str!("../../../../packaging/agent.toml"),
    ),
];
/// Makes the machine a host of the lab; run in it once.
pub const INSTALL: &str = include_str!("guest/install.sh");

/// Lays what the guest needs into the folder that it shares with the node.
pub fn provide(node: &Node) -> Result<()> {
    for (name, content) in FILES {
        node.write(&format!("{SHARE}/{name}"), content)?;
    }
    node.write(&format!("{SHARE}/hosts"), node.read("/etc/hosts")?)?;
    let agent = format!("{SHARE}/cordon-agent");
    for command in [
        ["chmod", "755", &format!("{SHARE}/run")].as_slice(),
        // What only a debugger reads would come through an emulated wire.
        &[
            "strip",
            "--strip-debug",
            "-o",
            &agent,
            "/usr/bin/cordon-agent",
        ],
        &["cp", "-r", "/usr/share/cordon/model", SHARE],
    ] {
        node.succeed(command)?;
    }
    Ok(())
}

/// What the guest's two senders send, as it is named on the wire; see `noise.pl` and its units.
pub fn kinds_of_noise(outside: &Node) -> Vec<String> {
    let [v4, v6] = outside.addresses();
    let kinds = |port: u16, icmp: u8, icmp6: u8, protocol: u8, ethertype: u16| {
        [
            format!("UDP to {v4} port {port}"),
            format!("UDP to {v6} port {port}"),
            format!("TCP to {v4} port {port}"),
            format!("TCP to {v6} port {port}"),
            format!("ICMP type {icmp} to {v4}"),
            format!("ICMP type {icmp6} to {v6}"),
            format!("protocol {protocol} to {v4}"),
            format!("protocol {protocol} to {v6}"),
            format!("UDP to {v4} port {}", port + 1),
            format!("UDP to {v6} port {}", port + 1),
            format!("EtherType {ethertype:#06x}"),
        ]
    };
    let (early, late) = (
        kinds(9700, 8, 128, 253, 0x88b5),
        kinds(9800, 13, 139, 254, 0x88b6),
    );
    early.into_iter().chain(late).collect()
}
