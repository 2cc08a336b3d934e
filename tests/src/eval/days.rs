//! What a host-day of honest work costs its people: alerts in a day.
//!
//! A day has as many pieces of work as a busy server has: one each quarter of an hour. A piece is one recorded run of a
//! harmless scenario, with its own process tree; its stories come in the order in which they were recorded, within that quarter. As
//! on a host, a tree alerts once when it is first suspicious and once when it is first malicious.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;
use std::path::Path;

use anyhow::{Result, ensure};
use cordon_model::train::reported_as;

use super::{Arguments, Said, judged_as_recorded};
use crate::bench::report::{Goal, Report};
use crate::record::{Line, read_recordings};

/// Pieces of work in a day.
const A_DAY: usize = 96;

/// A run of a scenario.
struct Work<'a> {
    is_left_out: bool,
    said: Vec<&'a Said>,
}

/// What came of some days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Alerts {
    runs: usize,
    suspicious: usize,
    malicious: usize,
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
    }
}

/// Of runs that nothing was fitted on, and of all.
fn measure(arguments: &Arguments) -> Result<[Alerts; 2]> {
    let lines = honest(&arguments.recordings)?;
    ensure!(
        !lines.is_empty(),
        "no recording of honest work in {}",
        arguments.recordings.display()
    );
    let said = judged_as_recorded(arguments, "both", &lines)?;
    let work = pieces(&lines, &said);
    Ok([true, false].map(|only_left_out| {
        let mine = work.iter().filter(|one| one.is_left_out || !only_left_out);
        alerts(mine)
    }))
}

/// Harmless scenarios, with what was seen around them.
fn honest(recordings: &Path) -> Result<Vec<Line>> {
    let mut lines = read_recordings(recordings)?;
    let honest = lines.iter().filter(|line| line.label == "benign");
    let honest: BTreeSet<String> = honest.map(|line| line.scenario.clone()).collect();
    lines.retain(|line| honest.contains(&line.scenario));
    Ok(lines)
}

/// Runs in an order that mixes the scenarios: a day is not one kind of work.
fn pieces<'a>(lines: &'a [Line], said: &'a [Said]) -> Vec<Work<'a>> {
    let mut runs: BTreeMap<(u64, &str, u32), Work> = BTreeMap::new();
    let all = lines.iter().zip(said);
    for (line, said) in all.filter(|(line, _)| line.label == "benign") {
        let key = (&line.scenario, line.variant);
        let run = runs.entry((mixed(&key), &line.scenario, line.variant));
        let run = run.or_insert_with(|| Work {
            is_left_out: reported_as(&line.family, line.variant).is_some(),
            said: Vec::new(),
        });
        run.said.push(said);
    }
    runs.into_values().collect()
}

fn alerts<'a>(work: impl Iterator<Item = &'a Work<'a>>) -> Alerts {
    let mut alerts = Alerts::default();
    for run in work {
        let is_called = |name: &str| run.said.iter().any(|said| said.verdict == name);
        alerts.runs += 1;
        alerts.malicious += usize::from(is_called("malicious"));
        alerts.suspicious += usize::from(is_called("suspicious"));
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

    fn line(scenario: &str, variant: u32) -> Line {
        Line {
            label: "benign".to_owned(),
            family: "playbook-runs".to_owned(),
            technique: Vec::new(),
            scenario: scenario.to_owned(),
            variant,
            story: serde_json::json!({}),
        }
    }

    fn said(score: f32) -> Said {
        let verdict = match score {
            0.95.. => "malicious",
            0.8.. => "suspicious",
            _ => "benign",
        };
        Said {
            score,
            verdict: verdict.to_owned(),
        }
    }

    #[test]
    fn a_tree_alerts_once_a_step() {
        let mut lines: Vec<Line> = [
            line("one", 0),
            line("one", 0),
            line("one", 0),
            line("one", 0),
        ]
        .into();
        lines.push(line("two", 0));
        lines.push(line("two", 1));
        let scores = [0.9, 0.9, 0.9, 0.1, 0.99, 0.1];
        let said: Vec<Said> = scores.map(said).into();
        let work = pieces(&lines, &said);
        assert_eq!(work.len(), 3);
        assert!(work.iter().all(|one| one.is_left_out));
        let found = alerts(work.iter());
        let wanted = Alerts {
            runs: 3,
            suspicious: 1,
            malicious: 1,
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
        assert_eq!(alerts(work.iter()).suspicious, 0);
    }
}
