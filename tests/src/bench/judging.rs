//! The judge's bench: what an answer costs from the cache, at the gate and by the network, on one core.

use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cordon_behavior::story::Story;
use cordon_judge::{Judge, Options};
use cordon_model::Model;
use serde::Deserialize;

use super::process::memory;
use super::report::{Goal, Report, Run, percentile};

/// How it is run.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Stories with labels, as `cordon-train --held-out` writes them.
    #[arg(long, value_name = "FILE")]
    stories: PathBuf,
    /// The model.
    #[arg(long, value_name = "DIR", default_value = "agent/model/artifact")]
    model: PathBuf,
    #[command(flatten)]
    run: Run,
}

#[derive(Deserialize)]
struct Line {
    story: Story,
}

const BYTES_OF_ARTIFACT: f64 = 4.0 * 1024.0 * 1024.0;
/// Times of one question are taken together: a clock is not finer than a cache.
const CACHED_AT_ONCE: u32 = 100;

/// Runs it. Success: what was to hold, holds.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let text = std::fs::read_to_string(&arguments.stories)
        .with_context(|| format!("cannot read {}", arguments.stories.display()))?;
    let stories: Vec<Story> = text
        .lines()
        .map(|line| serde_json::from_str::<Line>(line).map(|line| line.story))
        .collect::<Result<_, _>>()?;
    ensure!(
        !stories.is_empty(),
        "{} has no story",
        arguments.stories.display()
    );
    let most = if arguments.run.quick { 200 } else { 4000 };
    let stories = &stories[..stories.len().min(most)];
    let mut report = Report::new("judge", &arguments.run.profile, arguments.run.quick);
    let before = resident()?;
    let model = Arc::new(Model::load(&arguments.model)?);
    let loaded = resident()? - before;
    let timed = |goal: Goal| {
        if arguments.run.quick {
            Goal::None
        } else {
            goal
        }
    };
    let mut add = |name: &str, values: Vec<f64>, goals: [Goal; 2]| {
        for (point, (share, goal)) in [("p50", (0.5, goals[0])), ("p99", (0.99, goals[1]))] {
            report.add(
                &format!("{name}_{point}"),
                "us",
                timed(goal),
                percentile(&values, share),
            );
        }
    };
    add(
        "cache",
        cached(&model, stories),
        [Goal::Below(2.0), Goal::None],
    );
    add(
        "gate",
        gated(&model, stories),
        [Goal::Below(20.0), Goal::None],
    );
    add(
        "network",
        network(&model, stories),
        [Goal::None, Goal::Below(10_000.0)],
    );
    let rounds = if arguments.run.quick { 20 } else { 400 };
    let longest = longest(&model, stories)?;
    let took = network(&model, &vec![longest; rounds]);
    add(
        "network_longest_story",
        took,
        [Goal::None, Goal::Below(10_000.0)],
    );
    add(
        "new_story",
        answered(&model, stories),
        [Goal::None, Goal::None],
    );
    let bytes = artifact_bytes(arguments)?;
    report.add(
        "artifact",
        "bytes",
        Goal::AtMost(BYTES_OF_ARTIFACT),
        Ok(bytes),
    );
    report.add("rss_of_model", "MB", Goal::None, Ok(loaded));
    report.conclude(arguments.run.json.as_deref())
}

/// The same question again, word for word.
fn cached(model: &Arc<Model>, stories: &[Story]) -> Vec<f64> {
    let mut judge = Judge::new(Arc::clone(model), Options::default());
    let each = |story| {
        judge.judge_without_reasons(story, None);
        let began = Instant::now();
        for _ in 0..CACHED_AT_ONCE {
            black_box(judge.judge_without_reasons(black_box(story), None));
        }
        micros(began.elapsed()) / f64::from(CACHED_AT_ONCE)
    };
    stories.iter().map(each).collect()
}

/// Reading a story, and the gate.
fn gated(model: &Model, stories: &[Story]) -> Vec<f64> {
    let each = |story| time(|| black_box(model.gate(black_box(story))));
    stories.iter().map(each).collect()
}

/// Reading a story, and the network, whatever the gate says.
fn network(model: &Model, stories: &[Story]) -> Vec<f64> {
    let each = |story| time(|| black_box(model.logits(&model.read(black_box(story)))));
    stories.iter().map(each).collect()
}

/// As the agent judges a story that it has not seen.
fn answered(model: &Arc<Model>, stories: &[Story]) -> Vec<f64> {
    let mut judge = Judge::new(
        Arc::clone(model),
        Options {
            cache_bytes: 0,
            ..Options::default()
        },
    );
    let each = |story| time(|| black_box(judge.judge_without_reasons(black_box(story), None)));
    stories.iter().map(each).collect()
}

/// A story that fills all the tokens there are.
fn longest(model: &Model, stories: &[Story]) -> Result<Story> {
    let session: Vec<String> = stories
        .iter()
        .flat_map(|story| story.session.iter().chain(&story.command).cloned())
        .take(400)
        .collect();
    let story = Story {
        id: "longest".to_owned(),
        session,
        ..Story::default()
    };
    let tokens = model.read(&story).tokens.len();
    ensure!(
        tokens == model.shape().tokens,
        "the longest story has only {tokens} tokens"
    );
    Ok(story)
}

fn time<T>(act: impl FnOnce() -> T) -> f64 {
    let began = Instant::now();
    black_box(act());
    micros(began.elapsed())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn artifact_bytes(arguments: &Arguments) -> Result<f64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(&arguments.model)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes as f64)
}

/// Resident memory of this process, megabytes.
fn resident() -> Result<f64> {
    let own = memory(std::process::id().cast_signed())?;
    Ok(own.resident as f64 / 1e6)
}
