//! What the guest's senders send.

use crate::lab::Node;

/// They and what starts them.
pub const FILES: [(&str, &str); 3] = [
    ("noise.pl", include_str!("noise/noise.pl")),
    (
        "noise-early.service",
        include_str!("noise/noise-early.service"),
    ),
    (
        "noise-late.service",
        include_str!("noise/noise-late.service"),
    ),
];
/// Has them send from the next boot on; run in the guest once.
pub const INSTALL: &str = include_str!("noise/install.sh");

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
