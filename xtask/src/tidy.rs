//! The house rules that a program can check.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::Failure;

/// Crates that do no I/O and take the time as an argument.
const PURE: &[&str] = &[
    "agent/behavior",
    "agent/judge",
    "agent/respond",
    "controller/analyst",
];
/// Crates that may be `unsafe`.
const UNSAFE: &[&str] = &["agent/sensor", "agent/contain"];
const NOT_PURE: &[&str] = &[
    "tokio", "sqlx", "reqwest", "nix", "libc", "redb", "tonic", "axum",
];
const MAX_MAIN_LINES: usize = 150;

/// Checks them all and lists every breach.
pub fn check(root: &Path) -> Result<(), Failure> {
    let mut breaches = Vec::new();
    for crate_folder in crates(root)? {
        check_manifest(root, &crate_folder, &mut breaches)?;
    }
    for source in sources(root)? {
        check_source(root, &source, &mut breaches)?;
    }
    if breaches.is_empty() {
        return Ok(());
    }
    for breach in &breaches {
        eprintln!("tidy: {breach}");
    }
    Err(Failure::new(format!(
        "{} house rules broken",
        breaches.len()
    )))
}

fn check_manifest(root: &Path, folder: &str, breaches: &mut Vec<String>) -> Result<(), Failure> {
    let manifest = read(&root.join(folder).join("Cargo.toml"))?;
    if !manifest.contains("[lints]\nworkspace = true") {
        breaches.push(format!(
            "{folder}/Cargo.toml does not inherit the workspace's lints"
        ));
    }
    if !manifest.contains("license.workspace = true") {
        breaches.push(format!("{folder}/Cargo.toml does not inherit the licence"));
    }
    let depends_on = |name: &str| {
        section(&manifest, "[dependencies]").lines().any(|line| {
            line.starts_with(&format!("{name}.")) || line.starts_with(&format!("{name} "))
        })
    };
    if PURE.contains(&folder) {
        for name in NOT_PURE.iter().filter(|name| depends_on(name)) {
            breaches.push(format!("{folder} is pure and must not depend on {name}"));
        }
    }
    if depends_on("sqlx") && folder != "controller/store" {
        breaches.push(format!(
            "{folder} depends on sqlx: only controller/store knows SQL"
        ));
    }
    Ok(())
}

fn section<'a>(manifest: &'a str, header: &str) -> &'a str {
    let Some(start) = manifest.find(header) else {
        return "";
    };
    let body = &manifest[start + header.len()..];
    body.find("\n[").map_or(body, |end| &body[..end])
}

fn check_source(root: &Path, path: &Path, breaches: &mut Vec<String>) -> Result<(), Failure> {
    let text = read(path)?;
    let shown = path
        .strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string();
    let is_crate_root = shown.ends_with("/src/lib.rs")
        || shown.ends_with("/src/main.rs")
        || shown.contains("/src/bin/");
    let may_be_unsafe = UNSAFE.iter().any(|folder| shown.starts_with(folder));
    if is_crate_root && !may_be_unsafe && !text.contains("#![forbid(unsafe_code)]") {
        breaches.push(format!("{shown} does not forbid unsafe code"));
    }
    if !shown.contains("generated/") && !text.starts_with("//!") {
        breaches.push(format!(
            "{shown} does not say what it is for (no //! at its top)"
        ));
    }
    if shown.ends_with("main.rs") && text.lines().count() > MAX_MAIN_LINES {
        breaches.push(format!("{shown} has more than {MAX_MAIN_LINES} lines"));
    }
    // In two halves, or this file would break its own rule.
    for left_open in [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ] {
        if text.contains(left_open) {
            breaches.push(format!("{shown} leaves work open: {left_open}"));
        }
    }
    Ok(())
}

fn crates(root: &Path) -> Result<Vec<String>, Failure> {
    let manifest = read(&root.join("Cargo.toml"))?;
    Ok(section(&manifest, "members = [")
        .lines()
        .take_while(|line| !line.starts_with(']'))
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","))
        .map(str::to_owned)
        .collect())
}

fn sources(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for folder in ["proto", "agent", "controller", "tests", "xtask"] {
        walk(&root.join(folder), &mut found)?;
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let entries = fs::read_dir(folder)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", folder.display())))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "node_modules" && name != "target" {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
}
