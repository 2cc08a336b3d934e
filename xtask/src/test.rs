//! Every check and every test, in the order in which a failure is cheapest to learn of.

use std::time::{Duration, Instant};

use crate::shell::{Failure, Step, root};
use crate::{build, fuzz, lint, setup, tidy};

/// How long each decoder is fuzzed here: enough to run all seeds and what is near to them.
const FUZZ_SECONDS: u32 = 10;

/// What CI runs.
pub fn all() -> Result<(), Failure> {
    let mut run = Run::start();
    run.step("setup", || setup::install(setup::Purpose::Test))?;
    run.step("tidy", || tidy::check(&root()))?;
    run.step("format", || {
        Step::new("cargo").args(["fmt", "--all", "--check"]).run()
    })?;
    run.step("console", || {
        build::console()?;
        build::npm(&["test"])
    })?;
    run.step("lint", lint::all)?;
    run.step("build", build::product)?;
    run.step("tests", || {
        Step::new("cargo")
            .args(["nextest", "run", "--workspace", "--no-fail-fast"])
            .run()
    })?;
    run.step("fuzz", || fuzz::every(FUZZ_SECONDS))?;
    run.step("demo", demo)?;
    run.close();
    Ok(())
}

/// The product's main job, once, and its object checked.
fn demo() -> Result<(), Failure> {
    let printed = Step::new(build::binary("cordon-lab"))
        .args(["demo", "--once", "--json"])
        .read()?;
    check_outcome(&printed)?;
    eprintln!("demo: {}", printed.trim());
    Ok(())
}

/// One object, in which everything held and the time was measured.
fn check_outcome(printed: &str) -> Result<(), Failure> {
    let object: String = printed.split_whitespace().collect();
    let wrong = |what: &str| Failure::new(format!("the demo's object {what}: {printed}"));
    if printed.trim().lines().count() != 1 || !object.starts_with('{') || !object.ends_with('}') {
        return Err(wrong("is not one line with one JSON object"));
    }
    for field in [
        "detected",
        "isolated",
        "controller_reachable",
        "forbidden_blocked",
        "released",
    ] {
        if !object.contains(&format!("\"{field}\":true")) {
            return Err(wrong(&format!("does not say {field}: true")));
        }
    }
    let time = object.split_once("\"time_to_contain_ms\":");
    match time {
        Some((_, number)) if number.starts_with(|c: char| c.is_ascii_digit()) => Ok(()),
        _ => Err(wrong("has no time_to_contain_ms")),
    }
}

/// What ran, and how long each part took.
struct Run {
    started: Instant,
    done: Vec<String>,
}

impl Run {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            done: Vec::new(),
        }
    }

    fn step(
        &mut self,
        name: &str,
        act: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        eprintln!("test: {name}");
        let started = Instant::now();
        act().map_err(|failure| Failure::new(format!("{name}: {failure}")))?;
        self.done
            .push(format!("{name} {}", words(started.elapsed())));
        Ok(())
    }

    fn close(&self) {
        let (done, all) = (self.done.join(", "), words(self.started.elapsed()));
        eprintln!("test: all passed in {all}: {done}");
    }
}

fn words(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"detected":true,"isolated":true,"time_to_contain_ms":9.5,"controller_reachable":true,"forbidden_blocked":true,"released":true}"#;

    #[test]
    fn an_object_in_which_everything_holds_passes() {
        assert!(check_outcome(GOOD).is_ok());
        assert!(check_outcome(&format!("{GOOD}\n")).is_ok());
    }

    #[test]
    fn anything_less_is_refused_and_named() {
        for (from, to, said) in [
            ("\"released\":true", "\"released\":false", "released"),
            ("\"detected\":true,", "", "detected"),
            ("9.5", "null", "time_to_contain_ms"),
            ("{", "step 1\n{", "one line"),
            ("}", "", "one line"),
        ] {
            let refusal = check_outcome(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(refusal.to_string().contains(said), "{refusal}");
        }
    }
}
