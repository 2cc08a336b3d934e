//! Fuzzing of every decoder: `tests/fuzz`, in cargo-fuzz's layout, driven through plain cargo.
//!
//! What cargo-fuzz would add is a dozen flags: counters in every crate but build scripts and macros. They work on the
//! stable toolchain. The address sanitizer does not, and these decoders are safe code.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use crate::setup;
use crate::shell::{Failure, Step, root};

const FOLDER: &str = "tests/fuzz";
/// Seconds of one target when nobody says how long.
const SECONDS: u32 = 60;
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks";

/// `cargo xtask fuzz [TARGET ...] [--seconds N]`.
pub fn command(arguments: &[String]) -> Result<(), Failure> {
    let wanted = parse(arguments, &targets()?)?;
    setup::install(setup::Purpose::Test)?;
    run(&wanted)
}

/// Every target for as long, as CI does.
pub fn every(seconds: u32) -> Result<(), Failure> {
    let targets = targets()?;
    run(&Wanted { targets, seconds })
}

#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    targets: Vec<String>,
    seconds: u32,
}

/// Says at once what there is not.
pub fn check(arguments: &[String]) -> Result<(), Failure> {
    parse(arguments, &targets()?).map(drop)
}

fn parse(arguments: &[String], known: &[String]) -> Result<Wanted, Failure> {
    let (mut targets, mut seconds) = (Vec::new(), SECONDS);
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        if word == "--seconds" {
            let number = rest.next().and_then(|number| number.parse().ok());
            let number = number.filter(|number| *number > 0);
            seconds = number.ok_or_else(|| Failure::new("--seconds takes a number from 1"))?;
        } else if known.contains(word) {
            targets.push(word.clone());
        } else {
            let known = known.join(" ");
            return Err(Failure::new(format!(
                "does not know {word:?}, only {known} --seconds N"
            )));
        }
    }
    if targets.is_empty() {
        targets = known.to_vec();
    }
    Ok(Wanted { targets, seconds })
}

/// The files in `fuzz_targets`.
fn targets() -> Result<Vec<String>, Failure> {
    let folder = root().join(FOLDER).join("fuzz_targets");
    let entries = fs::read_dir(&folder)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", folder.display())))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort_unstable();
    Ok(names)
}

fn run(wanted: &Wanted) -> Result<(), Failure> {
    let out = root().join("target/fuzz");
    let triple = host()?;
    eprintln!("fuzz: building {}", wanted.targets.join(" "));
    build(&triple, &out)?;
    let programs = out.join(&triple).join("debug");
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let work = || {
        while let Some(target) = wanted.targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(failure) = one(target, &programs.join(target), &out, wanted.seconds) {
                let mut first = failed.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(failure);
            }
        }
    };
    // One for each core: a target is one thread.
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(Ok(()), Err)
}

/// With `--target`, so that what runs only while compiling is not instrumented.
fn build(triple: &str, out: &Path) -> Result<(), Failure> {
    Step::new("cargo")
        .args(["build", "--quiet", "--locked", "--bins", "--target", triple])
        .env("CARGO_TARGET_DIR", &out.to_string_lossy())
        .env("RUSTFLAGS", INSTRUMENTED)
        .within(FOLDER)
        .quiet()
        .run()
}

/// New inputs stay in the target's corpus, so that the next run begins where this one ends.
fn one(target: &str, program: &Path, out: &Path, seconds: u32) -> Result<(), Failure> {
    let corpus = folder(out.join("corpus").join(target))?;
    let found = folder(out.join("artifacts").join(target))?;
    let seeds = root().join(FOLDER).join("seeds").join(target);
    eprintln!("fuzz: {target} for {seconds} s");
    let step = Step::new(program)
        .args([corpus.as_os_str(), seeds.as_os_str()])
        .args([format!("-artifact_prefix={}/", found.display())])
        .args([format!("-max_total_time={seconds}")])
        // A decoder that takes seconds or a gigabyte for one input is broken too.
        .args([
            "-timeout=5",
            "-rss_limit_mb=1024",
            "-max_len=65536",
            "-verbosity=0",
        ])
        .quiet();
    step.run().map_err(|failure| {
        Failure::new(format!(
            "{target}: {failure}; the input is in {}, run it alone: {} FILE",
            found.display(),
            program.display()
        ))
    })
}

fn folder(path: PathBuf) -> Result<PathBuf, Failure> {
    let made = fs::create_dir_all(&path);
    made.map_err(|error| Failure::new(format!("cannot make {}: {error}", path.display())))?;
    Ok(path)
}

/// This machine, as rustc names it.
fn host() -> Result<String, Failure> {
    let said = Step::new("rustc").args(["-vV"]).read()?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| Failure::new("rustc -vV does not name its host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn without_a_name_every_target_runs() {
        let known = words("audit ring");
        let all = parse(&words("--seconds 5"), &known).unwrap();
        assert_eq!((all.targets, all.seconds), (known.clone(), 5));
        let one = parse(&words("ring"), &known).unwrap();
        assert_eq!((one.targets, one.seconds), (words("ring"), SECONDS));
        for (wrong, said) in [
            (
                "rings",
                "does not know \"rings\", only audit ring --seconds N",
            ),
            ("--seconds", "takes a number"),
            ("--seconds 0", "takes a number"),
        ] {
            let refusal = parse(&words(wrong), &known).unwrap_err();
            assert!(refusal.to_string().contains(said), "{refusal}");
        }
    }

    /// A target that cargo does not know would be told of as built and could not be run.
    #[test]
    fn every_target_is_in_the_manifest_and_has_seeds() {
        let manifest = fs::read_to_string(root().join(FOLDER).join("Cargo.toml")).unwrap();
        for target in targets().unwrap() {
            let path = format!("path = \"fuzz_targets/{target}.rs\"");
            assert!(manifest.contains(&path), "{target}");
            let seeds = root().join(FOLDER).join("seeds").join(&target);
            assert!(
                fs::read_dir(&seeds).is_ok_and(|found| found.count() > 0),
                "{target}"
            );
        }
    }
}
