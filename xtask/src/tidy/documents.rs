//! Links lead to files that are there, and the map of ARCHITECTURE.md is the workspace.

use std::path::Path;

use super::{Breaches, files, members, read, shown};
use crate::shell::Failure;

const MAP: &str = "ARCHITECTURE.md";

pub(super) fn check(root: &Path, breaches: &mut Breaches) -> Result<(), Failure> {
    for document in files(root, "md")? {
        let text = read(&document)?;
        let folder = document.parent().unwrap_or(root);
        for target in links(&text) {
            breaches.unless(folder.join(target).exists(), || {
                let name = shown(root, &document);
                format!("{name} links to {target}, which is not there")
            });
        }
    }
    map(&members(root)?, &read(&root.join(MAP))?, breaches);
    Ok(())
}

fn map(members: &[String], text: &str, breaches: &mut Breaches) {
    for member in members {
        breaches.unless(text.contains(&format!("| `{member}/` |")), || {
            format!("{MAP} does not have {member}/ on its map")
        });
    }
    let rows = text.lines().filter_map(row);
    for (folder, name) in rows.filter(|(_, name)| !name.is_empty()) {
        breaches.unless(members.iter().any(|member| member == folder), || {
            format!("{MAP} maps {name} to {folder}/, which is no member of the workspace")
        });
    }
}

/// Folder and crate of a line like "| `agent/spool/` | cordon-spool | ...".
fn row(line: &str) -> Option<(&str, &str)> {
    let (folder, rest) = line.strip_prefix("| `")?.split_once("/` |")?;
    Some((folder, rest.split('|').next()?.trim()))
}

/// Targets of Markdown links to files of this repository, without their anchors.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', ' ']).next()?;
        let file = target.split('#').next()?;
        (!file.is_empty() && !file.contains(':')).then_some(file)
    })
}
