//! The house rules that a program can check.

mod documents;
mod manifests;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::Failure;

/// Crates that may be `unsafe`.
const UNSAFE: &[&str] = &["agent/sensor", "agent/contain"];

/// Checks them all and lists every breach.
pub fn check(root: &Path) -> Result<(), Failure> {
    let mut breaches = Breaches::default();
    manifests::check(root, &mut breaches)?;
    sources::check(root, &mut breaches)?;
    documents::check(root, &mut breaches)?;
    if breaches.0.is_empty() {
        return Ok(());
    }
    for breach in &breaches.0 {
        eprintln!("tidy: {breach}");
    }
    let count = breaches.0.len();
    Err(Failure::new(format!("house rules broken: {count}")))
}

/// What is wrong, a line each.
#[derive(Default)]
struct Breaches(Vec<String>);

impl Breaches {
    fn unless(&mut self, holds: bool, breach: impl FnOnce() -> String) {
        if !holds {
            self.0.push(breach());
        }
    }
}

/// Folders of the workspace's members, as the root manifest lists them.
fn members(root: &Path) -> Result<Vec<String>, Failure> {
    let manifest = read(&root.join("Cargo.toml"))?;
    Ok(section(&manifest, "members = [")
        .lines()
        .take_while(|line| !line.starts_with(']'))
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","))
        .map(str::to_owned)
        .collect())
}

/// What stands between `header` and the next section.
fn section<'a>(manifest: &'a str, header: &str) -> &'a str {
    let Some(start) = manifest.find(header) else {
        return "";
    };
    let body = &manifest[start + header.len()..];
    body.find("\n[").map_or(body, |end| &body[..end])
}

/// Files below `folder` that end in `.ending`, built and fetched ones aside.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(folder)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", folder.display())))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = !name.starts_with('.') && name != "node_modules" && name != "target";
        if path.is_dir() && is_ours {
            found.extend(files(&path, ending)?);
        } else if path.extension().is_some_and(|found| found == ending) {
            found.push(path);
        }
    }
    Ok(found)
}

fn shown(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    below.display().to_string()
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests;
