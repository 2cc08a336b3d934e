//! How well the judge judges: what it finds of attacks, and what it mistakes, among stories that nothing was fitted on.
//!
//! The stories are written by `cordon-train --held-out`, judged by `cordon-agent judge` as it is installed, and
//! compared here: rules alone, model alone, both. Shares are of texts, not of the forms that each is seen in: one
//! counts as found when most of its forms are. Recorded stories count one by one, though many are of one run; the runs
//! themselves are counted beside them ([`runs`]), and recorded honest work makes whole days ([`days`]).

mod days;
mod runs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, anyhow, ensure};
use cordon_model::train::measure::{Share, recall_at};
use serde::Deserialize;

use crate::bench::report::{Goal, Report};
use crate::record::Line;

/// How it is run.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Stories with labels, as `cordon-train --held-out` writes them.
    #[arg(long, value_name = "FILE")]
    stories: PathBuf,
    /// The model; the configured one unless given.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Recordings of honest work, of which whole days are made.
    #[arg(long, value_name = "DIR", default_value = "tests/recordings")]
    recordings: PathBuf,
    /// Judge each recorded story by itself. The difference is what process trees say of their steps.
    #[arg(long)]
    without_trees: bool,
    /// Write the result to this file, as one JSON object.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How the programs beside this one were built; it is written into the result.
    #[arg(long, default_value = "dev")]
    profile: String,
}

/// Who judges.
const JUDGES: [&str; 3] = ["rules", "model", "both"];

#[derive(Clone, Debug, Deserialize)]
struct Labelled {
    label: String,
    source: String,
    origin: usize,
    story: serde_json::Value,
}

#[derive(Clone, Debug, Deserialize)]
struct Said {
    score: f32,
    verdict: String,
}

impl Said {
    /// Whether this is the graver of two: by the verdict first, for an indicator decides whatever the score is.
    fn is_graver(&self, than: &Self) -> bool {
        let rank = |said: &Self| match said.verdict.as_str() {
            "malicious" => 2,
            "suspicious" => 1,
            _ => 0,
        };
        let own = (rank(self), self.score);
        own > (rank(than), than.score)
    }
}

/// A text, a recorded story or a recorded run, with what was said of each of its forms.
struct Case<'a> {
    source: &'a str,
    is_attack: bool,
    said: Vec<&'a Said>,
}

impl Case<'_> {
    /// Whether most of its forms were called one of these.
    fn is_called(&self, names: &[&str]) -> bool {
        let called = self
            .said
            .iter()
            .filter(|said| names.contains(&said.verdict.as_str()));
        2 * called.count() > self.said.len()
    }

    /// The score of the middle form.
    fn score(&self) -> f32 {
        let mut scores: Vec<f32> = self.said.iter().map(|said| said.score).collect();
        scores.sort_by(f32::total_cmp);
        scores.get(scores.len() / 2).copied().unwrap_or(0.0)
    }
}

/// Runs it. Success: what was to hold, holds.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let text = fs::read_to_string(&arguments.stories)
        .with_context(|| format!("cannot read {}", arguments.stories.display()))?;
    let stories: Vec<Labelled> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} has a damaged line", arguments.stories.display()))?;
    let mut report = Report::new("eval", &arguments.profile, false);
    for judge in JUDGES {
        let lines = stories.iter().map(|one| one.story.to_string()).collect();
        let said = judged(arguments, judge, lines)?;
        let cases = cases(&stories, &said);
        rows(judge, &STORIES, &cases, &mut report);
        each_source(judge, &cases, &mut report);
    }
    runs::rows(arguments, &mut report)?;
    days::rows(arguments, &mut report);
    report.conclude(arguments.json.as_deref())
}

/// What the agent's own command says of each story.
fn judged(arguments: &Arguments, with: &str, stories: Vec<String>) -> Result<Vec<Said>> {
    let count = stories.len();
    let own = std::env::current_exe()?;
    let agent = own.with_file_name("cordon-agent");
    let mut command = Command::new(&agent);
    // What it would say in words is most of the work, and is not counted here.
    command.args(["judge", "--with", with, "--reasons", "0", "-"]);
    if let Some(model) = &arguments.model {
        command.arg("--model").arg(model);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", agent.display()))?;
    let mut input = child.stdin.take().context("the agent has no input")?;
    let writer = std::thread::spawn(move || {
        stories
            .iter()
            .try_for_each(|line| writeln!(input, "{line}"))
    });
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "judging with {with} failed: {}",
        output.status
    );
    writer
        .join()
        .ok()
        .context("the stories were not written")??;
    let said: Vec<Said> = String::from_utf8(output.stdout)?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(
        said.len() == count,
        "{} of {count} stories were judged",
        said.len()
    );
    Ok(said)
}

/// What it says of recorded stories: in the order in which they were recorded, each run a process tree.
fn judged_as_recorded(arguments: &Arguments, with: &str, lines: &[Line]) -> Result<Vec<Said>> {
    let stories = lines.iter().map(|line| {
        let mut story = line.story.clone();
        if !arguments.without_trees {
            story["tree"] = format!("{} {}", line.scenario, line.variant).into();
        }
        story.to_string()
    });
    judged(arguments, with, stories.collect())
}

fn cases<'a>(stories: &'a [Labelled], said: &'a [Said]) -> Vec<Case<'a>> {
    let mut cases: BTreeMap<usize, Case> = BTreeMap::new();
    for (story, said) in stories.iter().zip(said) {
        let case = cases.entry(story.origin).or_insert(Case {
            source: &story.source,
            is_attack: story.label == "attack",
            said: Vec::new(),
        });
        case.said.push(said);
    }
    cases.into_values().collect()
}

/// Sources that are told apart: what they are called in the rows, how their names begin, and whether goals are set for them.
type Kind = (&'static str, &'static str, bool);
const STORIES: [Kind; 3] = [
    ("sources", "pack:", true),
    ("families", "recorded:", true),
    ("runs", "runs:", false),
];
/// Wanted of sources and families that were left out: percent found where 1 and 0.1 % are mistaken.
const WANTED: (f64, f64) = (90.0, 75.0);

fn rows(judge: &str, kinds: &[Kind], cases: &[Case], report: &mut Report) {
    for (kind, prefix, is_goal) in kinds {
        let mine = |attack: bool| -> Vec<&Case> {
            let all = cases.iter().filter(|case| case.source.starts_with(*prefix));
            all.filter(|case| case.is_attack == attack).collect()
        };
        let (attacks, benign) = (mine(true), mine(false));
        let goals = if judge == "both" && *is_goal {
            (
                Goal::AtLeast(WANTED.0),
                Goal::AtLeast(WANTED.1),
                Goal::AtMost(1.0),
            )
        } else {
            (Goal::None, Goal::None, Goal::None)
        };
        let name = |what: &str| format!("{judge}_{kind}_{what}");
        let mut share = |what: &str, of: &[&Case], names: &[&str], goal: Goal| {
            let called = Share::of(of, |case| case.is_called(names));
            interval(report, &name(what), called, goal);
        };
        share("found_malicious", &attacks, &["malicious"], Goal::None);
        share(
            "found_suspicious",
            &attacks,
            &["malicious", "suspicious"],
            Goal::None,
        );
        share("mistaken_malicious", &benign, &["malicious"], goals.2);
        share(
            "mistaken_suspicious",
            &benign,
            &["malicious", "suspicious"],
            Goal::None,
        );
        let all = attacks.iter().chain(&benign);
        let scores: Vec<(f32, bool)> = all.map(|case| (case.score(), case.is_attack)).collect();
        for (what, budget, goal) in [
            ("recall_at_1", 0.01, goals.0),
            ("recall_at_0.1", 0.001, goals.1),
        ] {
            let none = Share { hits: 0, of: 0 };
            let found = recall_at(&scores, budget).unwrap_or(none);
            interval(report, &name(what), found, goal);
        }
        for (what, cases) in [("attacks", &attacks), ("benign", &benign)] {
            report.add(&name(what), "count", Goal::None, Ok(cases.len() as f64));
        }
    }
}

/// Every source by itself: a mean hides the worst.
fn each_source(judge: &str, cases: &[Case], report: &mut Report) {
    let sources: BTreeSet<(&str, bool)> = cases
        .iter()
        .map(|case| (case.source, case.is_attack))
        .collect();
    for (source, is_attack) in sources {
        let mine: Vec<&Case> = cases
            .iter()
            .filter(|case| case.source == source && case.is_attack == is_attack)
            .collect();
        let called = Share::of(&mine, |case| case.is_called(&["malicious"]));
        let what = if is_attack { "found" } else { "mistaken" };
        let name = format!("{judge}_{source}_{what}");
        interval(report, &name, called, Goal::None);
    }
}

/// A share in percent, with the ends of its 95 % interval.
fn interval(report: &mut Report, name: &str, share: Share, goal: Goal) {
    if share.of == 0 {
        return report.add(name, "%", goal, Err(anyhow!("no such stories")));
    }
    let (low, high) = share.interval();
    let value = share.hits as f64 / share.of as f64;
    report.add(name, "%", goal, Ok(100.0 * value));
    for (end, value) in [("low", low), ("high", high)] {
        report.add(&format!("{name}_{end}"), "%", Goal::None, Ok(100.0 * value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(score: f32) -> Said {
        let verdict = if score > 0.9 { "malicious" } else { "benign" };
        Said {
            score,
            verdict: verdict.to_owned(),
        }
    }

    fn case(said: &[Said], is_attack: bool) -> Case<'_> {
        Case {
            source: "pack:x",
            is_attack,
            said: said.iter().collect(),
        }
    }

    #[test]
    fn a_text_is_found_when_most_of_its_forms_are() {
        let (most, few) = ([0.95, 0.99, 0.2].map(said), [0.95, 0.1, 0.2].map(said));
        assert!(case(&most, true).is_called(&["malicious"]));
        assert!(!case(&few, true).is_called(&["malicious"]));
        assert!((case(&most, true).score() - 0.95).abs() < 1e-6);
    }
}
