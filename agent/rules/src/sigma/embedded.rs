//! The rules that come with Cordon.

/// Name and content of each file.
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "command-and-control.yml",
        include_str!("../../rules/command-and-control.yml"),
    ),
    (
        "credentials.yml",
        include_str!("../../rules/credentials.yml"),
    ),
    ("discovery.yml", include_str!("../../rules/discovery.yml")),
    ("evasion.yml", include_str!("../../rules/evasion.yml")),
    ("execution.yml", include_str!("../../rules/execution.yml")),
    (
        "exfiltration.yml",
        include_str!("../../rules/exfiltration.yml"),
    ),
    ("impact.yml", include_str!("../../rules/impact.yml")),
    ("lateral.yml", include_str!("../../rules/lateral.yml")),
    (
        "persistence.yml",
        include_str!("../../rules/persistence.yml"),
    ),
    ("privilege.yml", include_str!("../../rules/privilege.yml")),
];
