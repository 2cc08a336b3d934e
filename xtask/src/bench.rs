//! Measuring Cordon beside other tools: installs them, builds what is measured, and becomes the bench.

use std::path::{Path, PathBuf};

use crate::build;
use crate::setup::{self, Purpose};
use crate::shell::{Failure, Step};

const BENCHES: [&str; 3] = ["contain", "judge", "sensor"];
/// Options of the bench itself that have a value.
const VALUED: [&str; 4] = ["--json", "--only", "--profile", "--seed"];

/// What was asked for.
struct Plan<'a> {
    name: &'a str,
    /// As delivered, rather than as built for daily work.
    release: bool,
    /// For the bench.
    options: Vec<&'a str>,
}

/// Refuses a typing mistake before anything is installed or built.
pub fn check(rest: &[String]) -> Result<(), Failure> {
    plan(rest).map(drop)
}

/// Builds what is measured and measures it. What is delivered is measured unless told otherwise.
pub fn run(rest: &[String]) -> Result<(), Failure> {
    let plan = plan(rest)?;
    // What is compared with is installed only where something is compared.
    setup::install(match plan.name {
        "sensor" => Purpose::Bench,
        _ => Purpose::Run,
    })?;
    let program = if plan.release {
        build::release()?;
        build::release_binary("cordon-bench")
    } else {
        build::product()?;
        build::binary("cordon-bench")
    };
    let profile = if plan.release { "release" } else { "dev" };
    let mut step = Step::new(&program)
        .args([plan.name, "--profile", profile])
        .args(plan.options);
    if plan.name == "judge" {
        let stories = held_out(&program)?;
        step = step.args(["--stories".as_ref(), stories.as_os_str()]);
    }
    Err(step.replace())
}

/// The stories that nothing was fitted on, written down anew beside the programs.
pub fn held_out(beside: &Path) -> Result<PathBuf, Failure> {
    let stories = beside.with_file_name("held-out.jsonl");
    Step::new(beside.with_file_name("cordon-train"))
        .args(["--held-out".as_ref(), stories.as_os_str()])
        .run()?;
    Ok(stories)
}

fn plan(rest: &[String]) -> Result<Plan<'_>, Failure> {
    let known = BENCHES.join(", ");
    let Some((name, rest)) = rest.split_first() else {
        return Err(Failure::new(format!("needs a name: {known}")));
    };
    if !BENCHES.contains(&name.as_str()) {
        return Err(Failure::new(format!("knows no {name:?}, only {known}")));
    }
    let mut plan = Plan {
        name,
        release: true,
        options: Vec::new(),
    };
    let mut words = rest.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let value = match VALUED.contains(&word) {
            true => Some(
                words
                    .next()
                    .ok_or_else(|| Failure::new(format!("{word} needs a value")))?,
            ),
            false if word == "--quick" => None,
            false => {
                let options = VALUED.join(" ");
                return Err(Failure::new(format!(
                    "does not know {word:?}, only {options} --quick"
                )));
            }
        };
        match (word, value) {
            ("--profile", Some("release")) => plan.release = true,
            ("--profile", Some("dev")) => plan.release = false,
            ("--profile", Some(other)) => {
                return Err(Failure::new(format!(
                    "--profile is release or dev, not {other:?}"
                )));
            }
            _ => {
                plan.options.push(word);
                plan.options.extend(value);
            }
        }
    }
    Ok(plan)
}
