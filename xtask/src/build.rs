//! Building the product: the console first, because the controller carries it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::shell::{Failure, Step, root};

const CONSOLE: &str = "controller/console";

/// Builds console, agent, controller and lab in the one profile that everything uses.
pub fn product() -> Result<(), Failure> {
    console()?;
    eprintln!("build: agent, controller, lab");
    Step::new("cargo")
        .args(["build", "--bins"])
        .args([
            "-p",
            "cordon-agent",
            "-p",
            "cordon-controller",
            "-p",
            "cordon-tests",
        ])
        .quiet()
        .run()
}

/// A binary that [`product`] built.
pub fn binary(name: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("debug").join(name)
}

/// Builds the console when a source is newer than what was built.
pub fn console() -> Result<(), Failure> {
    let folder = root().join(CONSOLE);
    let built = modified(&folder.join("dist/index.html"));
    let newest = newest_source(&folder)?;
    if built.is_some_and(|built| built > newest) && folder.join("node_modules").exists() {
        return Ok(());
    }
    eprintln!("build: console");
    let npm = |arguments: &[&str]| {
        Step::new("npm")
            .args(arguments)
            .within(CONSOLE)
            .quiet()
            .run()
    };
    npm(&["ci", "--no-audit", "--no-fund", "--loglevel=error"])?;
    npm(&["run", "build"])
}

fn newest_source(folder: &Path) -> Result<SystemTime, Failure> {
    let entries = fs::read_dir(folder)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", folder.display())))?;
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if name == "dist" || name == "node_modules" || name == "test-results" {
            continue;
        }
        let time = if path.is_dir() {
            newest_source(&path)?
        } else {
            modified(&path).unwrap_or(SystemTime::UNIX_EPOCH)
        };
        newest = newest.max(time);
    }
    Ok(newest)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}
