//! Sigma rules: checked with the agents' own reader, and tried on what hosts reported.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cordon_analyst::clean::plain;
use cordon_rules::{Level, Problem, Rule, RuleSet};
use serde_json::{Value, json};

use super::args::{RulesCommand, TryArgs};
use super::client::Client;
use super::files::{self, broken, problems_json};
use super::history::{Bounds, walk};
use super::show::{Table, section};
use super::tried::{Example, Found, history_in_words};
use super::{Answer, CtlError};

/// Problems that are printed, and characters of each.
const MOST_TOLD: usize = 50;
const MOST_WHY: usize = 400;

pub(super) async fn run(client: &Client<'_>, command: &RulesCommand) -> Result<Answer, CtlError> {
    match command {
        RulesCommand::Check(wanted) => check(&wanted.paths),
        RulesCommand::Try(wanted) => try_on_history(client, wanted).await,
    }
}

fn check(paths: &[PathBuf]) -> Result<Answer, CtlError> {
    let rules = files::rules(paths, false)?;
    let count = rules.rules().len();
    let json = json!({
        "rules": count, "problems": problems_json(rules.problems()), "unlisted": rules.unlisted_problems(),
    });
    let text = format!(
        "{}{count} rules count\n",
        told(rules.problems(), rules.unlisted_problems())
    );
    checked(Answer { json, text }, rules.problems(), "rules")
}

/// The answer, which is no success where something of the files is a mistake.
pub(super) fn checked(
    answer: Answer,
    problems: &[Problem],
    what: &'static str,
) -> Result<Answer, CtlError> {
    match broken(problems) {
        0 => Ok(answer),
        count => Err(CtlError::Faulty {
            count,
            what,
            answer: Box::new(answer),
        }),
    }
}

/// What does not count, a line each.
pub(super) fn told(problems: &[Problem], unlisted: usize) -> String {
    let told = problems.iter().take(MOST_TOLD);
    let mut lines: Vec<String> = told.map(|one| plain(&one.to_string(), MOST_WHY)).collect();
    let more = problems.len().saturating_sub(MOST_TOLD) + unlisted;
    if more > 0 {
        lines.push(format!("{more} more do not count"));
    }
    // Each line with its end, and nothing where there is none.
    lines.push(String::new());
    lines.join("\n")
}

async fn try_on_history(client: &Client<'_>, wanted: &TryArgs) -> Result<Answer, CtlError> {
    let rules = files::rules(&wanted.files.paths, false)?;
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let mut cut = 0_u64;
    let walked = walk(client, &Bounds::of(&wanted.history), |row| {
        let matches = rules.matches(&row.seen.detection.story);
        cut += u64::from(matches.is_cut);
        for one in &matches.found {
            let of = found.entry(one.rule.id.clone()).or_default();
            of.add(&row, &one.evidence);
        }
        Ok(())
    })
    .await?;
    let quiet = rules.rules().len() - found.len();
    let json = json!({
        "rules": rules.rules().len(), "problems": problems_json(rules.problems()),
        "unlisted": rules.unlisted_problems(), "history": walked, "matched": matched(&rules, &found),
        "quiet": quiet, "cut": cut,
    });
    let mut text = [
        told(rules.problems(), rules.unlisted_problems()),
        history_in_words(&walked),
        table(&rules, &found),
        format!("{quiet} rules would have matched nothing\n"),
    ]
    .concat();
    if cut > 0 {
        let note = format!("{cut} stories are too large to be read whole\n");
        text.push_str(&note);
    }
    Ok(Answer { json, text })
}

/// Those that matched, the busiest first.
fn busiest<'a>(
    rules: &'a RuleSet,
    found: &'a BTreeMap<String, Found>,
) -> Vec<(&'a Rule, &'a Found)> {
    let all = rules.rules().iter();
    let mut all: Vec<_> = all
        .filter_map(|rule| Some((rule, found.get(&rule.id)?)))
        .collect();
    all.sort_by_key(|(_, found)| std::cmp::Reverse(found.stories));
    all
}

fn matched(rules: &RuleSet, found: &BTreeMap<String, Found>) -> Value {
    let all = busiest(rules, found).into_iter().map(|(rule, found)| {
        let mut one = json!(found);
        one["id"] = json!(rule.id);
        one["title"] = json!(rule.title);
        one["level"] = json!(rule.level.name());
        one["effect"] = json!(effect(rule.level));
        one["file"] = json!(&*rule.file);
        one["line"] = json!(rule.line);
        one
    });
    all.collect()
}

fn table(rules: &RuleSet, found: &BTreeMap<String, Found>) -> String {
    let mut table = Table::new(
        &[
            "STORIES",
            "HOSTS",
            "MALICIOUS",
            "BENIGN",
            "WOULD SAY",
            "RULE",
            "ID",
        ],
        "no rule would have matched",
    );
    let busiest = busiest(rules, found);
    for (rule, found) in &busiest {
        table.row(&[
            &found.stories.to_string(),
            &found.hosts.to_string(),
            &found.malicious.to_string(),
            &found.benign.to_string(),
            effect(rule.level),
            &rule.title,
            &rule.id,
        ]);
    }
    let mut text = table.render();
    for (rule, found) in busiest {
        let examples: Vec<String> = found.examples.iter().map(Example::in_words).collect();
        text.push_str(&section(&plain(&rule.title, MOST_WHY), &examples));
    }
    text
}

/// What a match makes of a verdict.
fn effect(level: Level) -> &'static str {
    match level {
        Level::Critical => "malicious",
        Level::High => "suspicious",
        Level::Medium | Level::Low | Level::Informational => "noted",
    }
}
