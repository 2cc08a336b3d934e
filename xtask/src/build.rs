//! Building the product: the console first, because the controller carries it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::shell::{Failure, Step, root};

/// The web console's folder.
pub const CONSOLE: &str = "controller/console";
/// `npm ci` writes it last, so it says for which lock file the packages in `node_modules` are.
const INSTALLED: &str = "node_modules/.package-lock.json";

/// Builds the console and every program, in the one profile that everything uses.
///
/// Always the whole workspace, and one test, which costs nothing: cargo then chooses the features of
/// what the packages share as it does for tests, which compile none of it again. With fewer packages,
/// or no test, it would choose others, and the agent, the model and the controller would be built twice.
pub fn product() -> Result<(), Failure> {
    console()?;
    eprintln!("build: agent, controller, lab");
    Step::new("cargo")
        .args(["build", "--workspace", "--bins", "--test", "xtask"])
        .quiet()
        .run()
}

/// Builds every program as it is delivered. Takes a quarter of an hour and a folder of its own, so only for
/// who measures.
pub fn release() -> Result<(), Failure> {
    console()?;
    eprintln!("build: agent, controller, lab, as they are delivered");
    Step::new("cargo")
        .args(["build", "--workspace", "--bins", "--release"])
        .quiet()
        .run()
}

/// A program that [`release`] built.
pub fn release_binary(name: &str) -> PathBuf {
    binary(name)
        .with_file_name("")
        .join("../release")
        .join(name)
}

/// A program that [`product`] built.
pub fn binary(name: &str) -> PathBuf {
    // A relative one is relative to where cargo runs, which is the root.
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target).join("debug").join(name)
}

/// The test programs of a package that has no other programs, built with the features that it wants for itself.
pub fn tests_of(package: &str) -> Result<Vec<PathBuf>, Failure> {
    let said = Step::new("cargo")
        .args(["test", "--no-run", "--lib", "--tests", "--package", package])
        .args(["--message-format=json"])
        .read()?;
    let path = |line: &str| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        let (path, _) = rest.split_once('"')?;
        Some(PathBuf::from(path))
    };
    Ok(said.lines().filter_map(path).collect())
}

/// Builds the console when a source is newer than what was built.
pub fn console() -> Result<(), Failure> {
    let folder = root().join(CONSOLE);
    let built = modified(&folder.join("dist/index.html"));
    if built > Some(newest_source(&folder)?) && has_packages(&folder) {
        return Ok(());
    }
    eprintln!("build: console");
    if !has_packages(&folder) {
        npm(&["ci", "--no-audit", "--no-fund", "--loglevel=error"])?;
    }
    npm(&["run", "build"])
}

/// Runs npm in the console's folder.
pub fn npm(arguments: &[&str]) -> Result<(), Failure> {
    Step::new("npm")
        .args(arguments)
        .within(CONSOLE)
        .quiet()
        .run()
}

fn has_packages(folder: &Path) -> bool {
    let installed = modified(&folder.join(INSTALLED));
    installed.is_some() && installed >= modified(&folder.join("package-lock.json"))
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
