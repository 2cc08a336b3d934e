//! Recorded attacks found, and recorded honest work mistaken, by whole runs.
//!
//! A story of an attack may be harmless by itself (`id`, `tar`): nobody wants an alarm for it, and it carries the attack's label. What
//! a responder wants to know is whether the visit was noticed at all, and which visits of honest people were. A run counts with its
//! gravest story, so an honest run of a hundred stories has a hundred chances to be mistaken.

use std::collections::BTreeMap;

use anyhow::Result;
use cordon_model::train::reported_as;

use super::{Arguments, Case, JUDGES, Kind, Said, judged, rows as add_rows};
use crate::bench::report::Report;
use crate::record::{Line, read_recordings};

const RUNS: [Kind; 2] = [
    ("families_by_run", "recorded:", true),
    ("runs_by_run", "runs:", false),
];

/// Adds the rows of each judge.
pub(super) fn rows(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let lines: Vec<(String, Line)> = read_recordings(&arguments.recordings)?
        .into_iter()
        .filter(|line| line.label != "context")
        .filter_map(|line| Some((reported_as(&line.family, line.variant)?, line)))
        .collect();
    for judge in JUDGES {
        let stories = lines.iter().map(|(_, line)| line.story.to_string());
        let said = judged(arguments, judge, stories.collect())?;
        add_rows(judge, &RUNS, &cases(&lines, &said), report);
    }
    Ok(())
}

/// A case for each run, with what was said of its gravest story.
fn cases<'a>(lines: &'a [(String, Line)], said: &'a [Said]) -> Vec<Case<'a>> {
    let mut runs: BTreeMap<(&str, u32, &str), Case> = BTreeMap::new();
    for ((source, line), said) in lines.iter().zip(said) {
        let key = (line.scenario.as_str(), line.variant, line.label.as_str());
        let run = runs.entry(key).or_insert_with(|| Case {
            source,
            is_attack: line.label == "attack",
            said: vec![said],
        });
        if run.said.iter().all(|gravest| said.is_graver(gravest)) {
            run.said = vec![said];
        }
    }
    runs.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, variant: u32) -> (String, Line) {
        let line = Line {
            label: label.to_owned(),
            family: "evasion".to_owned(),
            technique: Vec::new(),
            scenario: "one".to_owned(),
            variant,
            story: serde_json::json!({}),
        };
        ("recorded:evasion".to_owned(), line)
    }

    fn said(score: f32, verdict: &str) -> Said {
        Said {
            score,
            verdict: verdict.to_owned(),
        }
    }

    #[test]
    fn a_run_counts_once_with_its_gravest_story() {
        let lines = [
            line("attack", 0),
            line("attack", 0),
            line("attack", 1),
            line("benign", 0),
        ];
        let said = [
            said(0.7, "malicious"),
            said(0.9, "benign"),
            said(0.2, "benign"),
            said(0.8, "suspicious"),
        ];
        let cases = cases(&lines, &said);
        let told: Vec<(bool, f32, bool)> = cases
            .iter()
            .map(|case| {
                let called = case.is_called(&["malicious"]);
                (case.is_attack, case.score(), called)
            })
            .collect();
        assert_eq!(
            told,
            [(true, 0.7, true), (false, 0.8, false), (true, 0.2, false)]
        );
    }
}
