//! A tree that keeps the rules, and one breach of each.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A small repository in a folder of its own, removed when dropped.
struct Tree(PathBuf);

const MANIFEST: &str = "[package]\nlicense.workspace = true\n[lints]\nworkspace = true\n\n[dependencies]\nserde.workspace = true\n";
const SOURCE: &str = "//! What it is for.\n#![forbid(unsafe_code)]\n";

impl Tree {
    fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("cordon-tidy-{}-{number}", std::process::id());
        let tree = Self(std::env::temp_dir().join(name));
        tree.write(
            "Cargo.toml",
            "[workspace]\nmembers = [\n    \"agent/judge\",\n]\n",
        );
        tree.write(
            "ARCHITECTURE.md",
            "| `agent/judge/` | cordon-judge | judges | |\n",
        );
        tree.write(
            "README.md",
            "[map](ARCHITECTURE.md#map) [web](https://example.net) [here](#here)\n",
        );
        tree.write("agent/judge/Cargo.toml", MANIFEST);
        tree.write("agent/judge/src/lib.rs", SOURCE);
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn breaches(&self) -> Vec<String> {
        let mut breaches = Breaches::default();
        manifests::check(&self.0, &mut breaches).unwrap();
        sources::check(&self.0, &mut breaches).unwrap();
        documents::check(&self.0, &mut breaches).unwrap();
        breaches.0
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_tidy_tree_breaks_nothing() {
    let tree = Tree::new();
    assert_eq!(tree.breaches(), Vec::<String>::new());
    check(&tree.0).unwrap();
}

#[test]
fn each_rule_is_checked() {
    let long = "//! Long.\n#![forbid(unsafe_code)]\n".to_owned() + &"\n".repeat(400);
    let depends = |name: &str| format!("{MANIFEST}{name}.workspace = true\n");
    for (path, text, said) in [
        (
            "agent/judge/Cargo.toml",
            "[package]\nlicense.workspace = true\n",
            "lints",
        ),
        (
            "agent/judge/Cargo.toml",
            "[lints]\nworkspace = true\n",
            "licence",
        ),
        ("agent/judge/Cargo.toml", &depends("tokio"), "pure"),
        ("agent/judge/Cargo.toml", &depends("sqlx"), "knows SQL"),
        ("agent/judge/src/lib.rs", "//! Judges.\n", "unsafe"),
        ("agent/judge/src/facts.rs", "fn f() {}\n", "what it is for"),
        ("agent/judge/src/main.rs", &long[..200], "main.rs"),
        ("agent/judge/src/facts.rs", &long, "split it"),
        (
            "agent/judge/src/facts.rs",
            "//! Facts.\n// TO\u{44}O\n",
            "work open",
        ),
        (
            "agent/judge/src/facts.rs",
            "//! Facts.\n#[ign\u{6f}re = \"slow\"]\n",
            "skips a test",
        ),
        (
            "README.md",
            "[gone](docs/gone.md)",
            "docs/gone.md, which is not there",
        ),
        ("ARCHITECTURE.md", "", "does not have agent/judge/"),
        (
            "ARCHITECTURE.md",
            "| `agent/judge/` | cordon-judge | | |\n| `agent/x/` | cordon-x | | |\n",
            "no member",
        ),
    ] {
        let tree = Tree::new();
        tree.write(path, text);
        let breaches = tree.breaches().join("\n");
        assert!(breaches.contains(said), "{path}: {said}: {breaches}");
        assert!(check(&tree.0).is_err());
    }
}

#[test]
fn a_long_file_with_a_reason_may_stay() {
    let tree = Tree::new();
    let reason = "//! A table.\n\n// Long because it is one table.\n";
    tree.write(
        "agent/judge/src/table.rs",
        &(reason.to_owned() + &"\n".repeat(400)),
    );
    assert_eq!(tree.breaches(), Vec::<String>::new());
}
