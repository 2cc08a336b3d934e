//! Recorded attacks found, and recorded honest work mistaken, by whole runs.
//!
//! A story of an attack may be harmless by itself (`id`, `tar`): nobody wants an alarm for it, and it carries the attack's label. What
//! a responder wants to know is whether the visit was noticed at all, and which visits of honest people were. A run counts with its
//! gravest story, so an honest run of a hundred stories has a hundred chances to be mistaken. Each story is judged as one of the run's
//! process tree, harmless ones around the attack included.

use std::collections::BTreeMap;

use anyhow::Result;
use cordon_model::train::reported_as;

use super::{Arguments, Case, JUDGES, Kind, Said, judged_as_recorded, rows as add_rows};
use crate::bench::report::Report;
use crate::record::{Line, read_recordings};

const RUNS: [Kind; 2] = [
    ("families_by_run", "recorded:", true),
    ("runs_by_run", "runs:", false),
];

/// Adds the rows of each judge.
pub(super) fn rows(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let (sources, lines): (Vec<String>, Vec<Line>) = read_recordings(&arguments.recordings)?
        .into_iter()
        .filter_map(|line| Some((reported_as(&line.family, line.variant)?, line)))
        .unzip();
    for judge in JUDGES {
        let said = judged_as_recorded(arguments, judge, &lines)?;
        add_rows(judge, &RUNS, &cases(&sources, &lines, &said), report);
    }
    Ok(())
}

/// A case for each run, with what was said of its gravest story.
fn cases<'a>(sources: &'a [String], lines: &'a [Line], said: &'a [Said]) -> Vec<Case<'a>> {
    let mut runs: BTreeMap<(&str, u32, &str), Case> = BTreeMap::new();
    let all = sources.iter().zip(lines).zip(said);
    for ((source, line), said) in all.filter(|((_, line), _)| line.label != "context") {
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

    fn line(label: &str, variant: u32) -> Line {
        Line {
            label: label.to_owned(),
            family: "evasion".to_owned(),
            technique: Vec::new(),
            scenario: "one".to_owned(),
            variant,
            story: serde_json::json!({}),
        }
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
            line("context", 1),
            line("benign", 0),
        ];
        let said = [
            said(0.7, "malicious"),
            said(0.9, "benign"),
            said(0.2, "benign"),
            said(0.3, "benign"),
            said(0.8, "suspicious"),
        ];
        let sources = vec!["recorded:evasion".to_owned(); lines.len()];
        let cases = cases(&sources, &lines, &said);
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
