//! What of ours is in the kernel, whatever the disk says: for whoever takes the agent off a host.

use crate::error::ContainError;
use crate::{chains, rules, tree};

/// Tables of nftables and the cgroup of the cut-off, by the names that people see; none on a host that the agent left.
pub fn leftovers() -> Result<Vec<String>, ContainError> {
    let mut found = Vec::new();
    for name in [rules::TABLE, rules::blocks::TABLE, tree::CUT_NAME] {
        let families = chains::tables(name)?.into_iter();
        found.extend(families.map(|family| {
            let family = serde_json::to_value(family).unwrap_or_default();
            let family = family.as_str().unwrap_or("unknown");
            format!("nftables table {family} {name}")
        }));
    }
    if let Some(cgroup) = tree::cut_cgroup() {
        found.push(format!("cgroup {}", cgroup.display()));
    }
    Ok(found)
}

/// Whether rules of an isolation are in the kernel, whatever the disk says.
pub fn is_isolated_in_kernel() -> Result<bool, ContainError> {
    Ok(!chains::tables(rules::TABLE)?.is_empty())
}
