//! Every source says what it is for, is safe unless it may be otherwise, and is not left open.

use std::path::Path;

use super::{Breaches, UNSAFE, files, members, read, shown};
use crate::shell::Failure;

const MAX_MAIN_LINES: usize = 150;
const MAX_LINES: usize = 400;
const IGNORED: &str = concat!("#[", "ignore");
/// What may be ignored is the other half of a test, which starts it in a process of its own.
const HALF: &str = "run by the test";
/// A longer file starts a comment line with this, and says why.
const REASON: &str = "\n// Long because";

pub(super) fn check(root: &Path, breaches: &mut Breaches) -> Result<(), Failure> {
    let mut sources = Vec::new();
    for folder in members(root)? {
        sources.extend(files(&root.join(folder), "rs")?);
    }
    // Members lie within each other.
    sources.sort();
    sources.dedup();
    for source in sources {
        one(&shown(root, &source), &read(&source)?, breaches);
    }
    Ok(())
}

fn one(name: &str, text: &str, breaches: &mut Breaches) {
    let is_crate_root = name.ends_with("/src/lib.rs")
        || name.ends_with("/src/main.rs")
        || name.contains("/src/bin/");
    let may_be_unsafe = UNSAFE.iter().any(|folder| name.starts_with(folder));
    let is_safe = text.contains("#![forbid(unsafe_code)]");
    breaches.unless(!is_crate_root || may_be_unsafe || is_safe, || {
        format!("{name} does not forbid unsafe code")
    });
    let is_generated = name.contains("/generated/");
    breaches.unless(is_generated || text.starts_with("//!"), || {
        format!("{name} does not say what it is for (no //! at its top)")
    });
    let lines = text.lines().count();
    let is_main = name.ends_with("/main.rs");
    breaches.unless(!is_main || lines <= MAX_MAIN_LINES, || {
        format!("{name} has {lines} lines, more than the {MAX_MAIN_LINES} of a main.rs")
    });
    let may_be_long = is_generated || lines <= MAX_LINES || text.contains(REASON);
    breaches.unless(may_be_long, || {
        format!(
            "{name} has {lines} lines: split it, or say why not in a line `// Long because ...`"
        )
    });
    let ignored = text.lines().filter(|line| line.contains(IGNORED));
    for line in ignored.filter(|line| !line.contains(HALF)) {
        let line = line.trim();
        breaches.unless(false, || format!("{name} skips a test: {line}"));
    }
    // In two halves, or this file would break its own rule.
    for left_open in [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ] {
        breaches.unless(!text.contains(left_open), || {
            format!("{name} leaves work open: {left_open}")
        });
    }
}
