//! Every crate inherits lints and licence; pure crates stay pure; one crate knows SQL.

use std::path::Path;

use super::{Breaches, members, read, section};
use crate::shell::Failure;

/// Crates that do no I/O and take the time as an argument.
const PURE: &[&str] = &[
    "agent/behavior",
    "agent/judge",
    "agent/rules",
    "agent/respond",
    "controller/analyst",
];
const NOT_PURE: &[&str] = &[
    "tokio", "sqlx", "reqwest", "nix", "libc", "redb", "tonic", "axum",
];
const KNOWS_SQL: &str = "controller/store";

pub(super) fn check(root: &Path, breaches: &mut Breaches) -> Result<(), Failure> {
    for folder in members(root)? {
        let manifest = read(&root.join(&folder).join("Cargo.toml"))?;
        one(&folder, &manifest, breaches);
    }
    Ok(())
}

fn one(folder: &str, manifest: &str, breaches: &mut Breaches) {
    breaches.unless(manifest.contains("[lints]\nworkspace = true"), || {
        format!("{folder}/Cargo.toml does not inherit the workspace's lints")
    });
    breaches.unless(manifest.contains("license.workspace = true"), || {
        format!("{folder}/Cargo.toml does not inherit the licence")
    });
    let depends_on = |name: &str| {
        section(manifest, "[dependencies]").lines().any(|line| {
            line.starts_with(&format!("{name}.")) || line.starts_with(&format!("{name} "))
        })
    };
    for name in NOT_PURE {
        let allowed = !PURE.contains(&folder) || !depends_on(name);
        breaches.unless(allowed, || {
            format!("{folder} is pure and must not depend on {name}")
        });
    }
    breaches.unless(folder == KNOWS_SQL || !depends_on("sqlx"), || {
        format!("{folder} depends on sqlx: only {KNOWS_SQL} knows SQL")
    });
}
