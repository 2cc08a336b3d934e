//! What a host-day of honest work costs its people: alerts in a day, the risk of process trees counted.
//!
//! A day has as many pieces of work as a busy server has: one each quarter of an hour. A piece is one recorded run of a
//! harmless scenario, with its own process tree; its stories come in the order in which they were recorded, within that quarter. As
//! on a host, a tree alerts once when it is first suspicious and once when it is first malicious.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use cordon_judge::Risks;
use cordon_model::Model;
use cordon_model::train::reported_as;
use cordon_proto::policy::Thresholds;

use super::{Arguments, Said, judged};
use crate::bench::report::{Goal, Report};
use crate::record::{Line, read_recordings};

/// Pieces of work in a day, and nanoseconds from one to the next.
const A_DAY: usize = 96;
const QUARTER_NS: u64 = 15 * 60 * 1_000_000_000;
/// Trees that are remembered, as on a host.
const TREES: usize = 1024;

/// A run of a scenario.
struct Work<'a> {
    is_left_out: bool,
    stories: Vec<(&'a Line, &'a Said)>,
}

/// What came of some days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Alerts {
    runs: usize,
    suspicious: usize,
    malicious: usize,
    /// Trees whose suspicious steps added up.
    over_the_line: usize,
}

impl Alerts {
    fn a_day(self, count: usize) -> f64 {
        (count * A_DAY) as f64 / self.runs.max(1) as f64
    }
}

/// Adds the rows.
pub(super) fn rows(arguments: &Arguments, report: &mut Report) {
    let days = measure(arguments);
    for (name, is_wanted) in [("left_out", true), ("all", false)] {
        let of = |count: fn(Alerts) -> f64| match &days {
            Ok(days) => {
                let [left_out, all] = *days;
                Ok(count(if is_wanted { left_out } else { all }))
            }
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        let goal = |most| {
            if is_wanted {
                Goal::AtMost(most)
            } else {
                Goal::None
            }
        };
        let mut add = |what: &str, unit: &str, goal, count: fn(Alerts) -> f64| {
            let metric = format!("host_days_{name}_{what}");
            report.add(&metric, unit, goal, of(count));
        };
        add("measured", "host-days", Goal::None, |of| {
            of.runs as f64 / A_DAY as f64
        });
        add("malicious", "alerts a host-day", goal(0.0), |of| {
            of.a_day(of.malicious)
        });
        add("suspicious", "alerts a host-day", goal(1.0), |of| {
            of.a_day(of.suspicious)
        });
        add(
            "trees_over_the_line",
            "trees a host-day",
            Goal::None,
            |of| of.a_day(of.over_the_line),
        );
    }
}

/// Of runs that nothing was fitted on, and of all.
fn measure(arguments: &Arguments) -> Result<[Alerts; 2]> {
    let model = arguments.model.as_deref();
    let model = model.context("the model's thresholds are not known: name it with --model")?;
    let thresholds = Model::load(model)?.thresholds();
    let thresholds = Thresholds {
        suspicious: thresholds.suspicious,
        malicious: thresholds.malicious,
    };
    let lines = honest(&arguments.recordings)?;
    ensure!(
        !lines.is_empty(),
        "no recording of honest work in {}",
        arguments.recordings.display()
    );
    let stories = lines.iter().map(|line| line.story.to_string()).collect();
    let said = judged(arguments, "both", stories)?;
    let work = pieces(&lines, &said);
    Ok([true, false].map(|only_left_out| {
        let mine = work.iter().filter(|one| one.is_left_out || !only_left_out);
        alerts(mine, thresholds)
    }))
}

fn honest(recordings: &Path) -> Result<Vec<Line>> {
    let mut lines = read_recordings(recordings)?;
    lines.retain(|line| line.label == "benign");
    Ok(lines)
}

/// Runs in an order that mixes the scenarios: a day is not one kind of work.
fn pieces<'a>(lines: &'a [Line], said: &'a [Said]) -> Vec<Work<'a>> {
    let mut runs: BTreeMap<(u64, &str, u32), Work> = BTreeMap::new();
    for (line, said) in lines.iter().zip(said) {
        let key = (&line.scenario, line.variant);
        let run = runs.entry((mixed(&key), &line.scenario, line.variant));
        let run = run.or_insert_with(|| Work {
            is_left_out: reported_as(&line.family, line.variant).is_some(),
            stories: Vec::new(),
        });
        run.stories.push((line, said));
    }
    runs.into_values().collect()
}

fn alerts<'a>(work: impl Iterator<Item = &'a Work<'a>>, thresholds: Thresholds) -> Alerts {
    let mut risks = Risks::new(TREES);
    let mut alerts = Alerts::default();
    for (tree, run) in work.enumerate() {
        let now_ns = tree as u64 * QUARTER_NS;
        let (mut suspicious, mut malicious, mut over) = (false, false, false);
        for (line, said) in &run.stories {
            let print = mixed(&line.story["process"].to_string());
            let risk = risks.add(tree, print, said.score, thresholds, now_ns);
            malicious |= said.verdict == "malicious";
            suspicious |= said.verdict == "suspicious";
            over |= risk.is_over;
        }
        alerts.runs += 1;
        alerts.malicious += usize::from(malicious);
        alerts.suspicious += usize::from(suspicious);
        alerts.over_the_line += usize::from(over);
    }
    alerts
}

fn mixed(key: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        suspicious: 0.8,
        malicious: 0.95,
    };

    fn line(scenario: &str, variant: u32, program: &str) -> Line {
        Line {
            label: "benign".to_owned(),
            family: "playbook-runs".to_owned(),
            technique: Vec::new(),
            scenario: scenario.to_owned(),
            variant,
            story: serde_json::json!({"process": {"exe": program}}),
        }
    }

    fn said(score: f32) -> Said {
        let verdict = match score {
            score if score >= THRESHOLDS.malicious => "malicious",
            score if score >= THRESHOLDS.suspicious => "suspicious",
            _ => "benign",
        };
        Said {
            score,
            verdict: verdict.to_owned(),
        }
    }

    #[test]
    fn a_tree_alerts_once_a_step_and_different_steps_add_up() {
        let programs = ["a", "b", "c", "d"];
        let mut lines: Vec<Line> = programs.map(|program| line("one", 0, program)).into();
        lines.push(line("two", 0, "e"));
        lines.push(line("two", 1, "f"));
        let scores = [0.9, 0.9, 0.9, 0.1, 0.99, 0.1];
        let said: Vec<Said> = scores.map(said).into();
        let work = pieces(&lines, &said);
        assert_eq!(work.len(), 3);
        assert!(work.iter().all(|one| one.is_left_out));
        let found = alerts(work.iter(), THRESHOLDS);
        let wanted = Alerts {
            runs: 3,
            suspicious: 1,
            malicious: 1,
            over_the_line: 1,
        };
        assert_eq!(found, wanted);
        assert!((found.a_day(1) - 32.0).abs() < 1e-9);
    }

    #[test]
    fn the_committed_recordings_are_more_than_a_day_of_work_that_nothing_was_fitted_on() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
        let lines = honest(&dir).unwrap();
        let said = vec![said(0.0); lines.len()];
        let work = pieces(&lines, &said);
        let left_out = work.iter().filter(|one| one.is_left_out).count();
        assert!(
            left_out > A_DAY && work.len() > 10 * A_DAY,
            "{left_out} of {}",
            work.len()
        );
        assert_eq!(alerts(work.iter(), THRESHOLDS).suspicious, 0);
    }
}
