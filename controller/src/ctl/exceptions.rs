//! Exceptions: proposed from what was detected, tried on history, listed and checked.

mod file;
mod proposal;

use std::path::{Path, PathBuf};

use cordon_analyst::clean::plain;
use cordon_rules::{Exception, Problem, ProblemKind};
use cordon_store::Label;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::args::{ExceptionCommand, ProposeArgs};
use super::client::{Client, read};
use super::files::{self, problems_json};
use super::history::{Bounds, Walked, walk};
use super::rules::{checked, told};
use super::show::{Table, section, time};
use super::tried::{Example, Found, history_in_words, label, subject};
use super::{Answer, CtlError};
use crate::http::dto::{Me, StoredDetection};
use proposal::{Finder, Proposal, ProposalError, Wish};

/// Malicious stories that are named, and characters of an exception that are shown.
const MOST_NAMED: usize = 20;
const MOST_CHARS: usize = 3_000;

pub(super) async fn run(
    client: &Client<'_>,
    command: &ExceptionCommand,
) -> Result<Answer, CtlError> {
    match command {
        ExceptionCommand::Propose(wanted) => propose(client, wanted).await,
        ExceptionCommand::List { file } => list(file),
        ExceptionCommand::Check { files } => check(files),
    }
}

/// What an exception would have done.
#[derive(Default)]
struct Trial {
    held: Found,
    /// What it would have hidden of what people called malicious: the first, and how many.
    hidden: Vec<Example>,
    hides: u64,
}

impl Trial {
    fn add(&mut self, row: &StoredDetection) {
        let what = subject(row);
        self.held.add(row, &what);
        if label(row) == Some(Label::Malicious) {
            self.hides += 1;
            if self.hidden.len() < MOST_NAMED {
                self.hidden.push(Example::of(row, &what));
            }
        }
    }
}

async fn propose(client: &Client<'_>, wanted: &ProposeArgs) -> Result<Answer, CtlError> {
    let rules = files::rules(&wanted.rules, true)?;
    let mut problems = rules.problems().iter();
    if let Some(problem) = problems.find(|one| one.kind == ProblemKind::Broken) {
        return Err(CtlError::Document {
            path: PathBuf::from(&problem.file),
            source: problem.why.clone().into(),
        });
    }
    let of = detection(client, &wanted.of).await?;
    let author = match &wanted.author {
        Some(author) => author.clone(),
        None => read::<Me>("/me", &client.get("/me").await?)?.username,
    };
    let wish = Wish {
        on: wanted.on,
        without: &wanted.without,
        reason: &wanted.reason,
        author: &author,
        created: whole_seconds(Timestamp::now()),
        expires: whole_seconds(wanted.expires),
    };
    let refused = |error: ProposalError| CtlError::Usage(plain(&error.to_string(), MOST_CHARS));
    let finder = Finder::new(&wanted.scope, rules).map_err(refused)?;
    let proposal = Proposal::of(&of, &finder, &wish).map_err(refused)?;

    let mut trial = Trial::default();
    let mut is_tried = false;
    let walked = walk(client, &Bounds::of(&wanted.history), |row| {
        is_tried |= row.seen.key == of.seen.key;
        if finder
            .about(&row)
            .is_some_and(|about| proposal.holds_for(&row, about))
        {
            trial.add(&row);
        }
        Ok(())
    })
    .await?;
    // However old it is, its own story is one that it hides.
    if !is_tried {
        trial.add(&of);
    }
    if trial.hides > 0 && !wanted.force {
        return Err(CtlError::Hides {
            count: trial.hides,
            named: lines(&trial.hidden).join("\n  "),
        });
    }
    if let Some(path) = &wanted.out {
        file::add(path, &proposal.json)?;
    }
    let json = json!({
        "exception": proposal.json, "unknown": proposal.unknown, "history": walked, "holds": trial.held,
        "hides": { "stories": trial.hides, "examples": trial.hidden }, "file": wanted.out,
    });
    let text = proposed_in_words(&proposal, &trial, &walked, wanted.out.as_deref());
    Ok(Answer { json, text })
}

fn proposed_in_words(
    proposal: &Proposal,
    trial: &Trial,
    walked: &Walked,
    out: Option<&Path>,
) -> String {
    let mut text = format!("{}\n", plain(&proposal.json.to_string(), MOST_CHARS));
    if !proposal.unknown.is_empty() {
        text.push_str("not known of this story, so no condition: ");
        text.push_str(&proposal.unknown.join(", "));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&history_in_words(walked));
    let held = &trial.held;
    let heading = format!(
        "It would have held for {} stories of {} hosts, {} of them called malicious, {} benign; the newest",
        held.stories, held.hosts, held.malicious, held.benign
    );
    text.push_str(&section(&heading, &lines(&held.examples)));
    if trial.hides > 0 {
        let heading = "It would have hidden these, which people called malicious";
        text.push_str(&section(heading, &lines(&trial.hidden)));
    }
    let end = match out {
        Some(path) => format!(
            "\nwritten to {}; it holds once that is /etc/cordon/rules/exceptions.json on the hosts and their agents are started anew\n",
            path.display()
        ),
        None => "\nnothing was written: give --out FILE\n".to_owned(),
    };
    text.push_str(&end);
    text
}

fn lines(examples: &[Example]) -> Vec<String> {
    examples.iter().map(Example::in_words).collect()
}

/// The detection that is meant: by its number, or the only one of an incident.
async fn detection(client: &Client<'_>, of: &str) -> Result<StoredDetection, CtlError> {
    if let Ok(number) = of.parse::<i64>() {
        let path = format!("/detections?limit=1&before={}", number.saturating_add(1));
        let found: Vec<StoredDetection> = read("/detections", &client.get(&path).await?)?;
        let found = found.into_iter().find(|row| row.seen.key == number);
        return found.ok_or_else(|| {
            CtlError::Host(format!(
                "there is no detection {number}; `cordonctl incidents ID` numbers those of an incident"
            ))
        });
    }
    let incident: cordon_proto::id::IncidentId = of.parse().map_err(|_| {
        CtlError::Usage(format!(
            "{of:?} is neither an incident's id nor a detection's number"
        ))
    })?;
    let path = format!("/detections?limit=50&incident={incident}");
    let mut found: Vec<StoredDetection> = read("/detections", &client.get(&path).await?)?;
    match found.len() {
        0 => Err(CtlError::Host(format!(
            "nothing was detected in incident {incident}"
        ))),
        1 => Ok(found.remove(0)),
        _ => {
            let all: Vec<Example> = found
                .iter()
                .map(|row| Example::of(row, &subject(row)))
                .collect();
            Err(CtlError::Host(format!(
                "incident {incident} has several detections, and an exception is for one of them: give its number\n  {}",
                lines(&all).join("\n  ")
            )))
        }
    }
}

/// A file is easier to read without microseconds.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn list(path: &Path) -> Result<Answer, CtlError> {
    let read = file::read(path)?;
    let now = Timestamp::now();
    let mut table = Table::new(
        &[
            "ID", "STATE", "EXPIRES", "SCOPE", "WHEN", "AUTHOR", "REASON",
        ],
        "the file has no exception",
    );
    let mut all = Vec::new();
    for one in read.list() {
        let form = one.form();
        let written = json!(form);
        let state = state(one, now);
        table.row(&[
            &form.id,
            state,
            &time(form.expires),
            &compact(&written["scope"]),
            &compact(&written["when"]),
            &form.author,
            &form.reason,
        ]);
        let mut told = written;
        told["state"] = json!(state);
        all.push(told);
    }
    let json = json!({
        "exceptions": all, "problems": problems_json(read.problems()), "unlisted": read.unlisted_problems(),
    });
    let text = format!(
        "{}{}",
        told(read.problems(), read.unlisted_problems()),
        table.render()
    );
    checked(Answer { json, text }, read.problems(), "exceptions")
}

fn state(one: &Exception, now: Timestamp) -> &'static str {
    if one.is_in_force(now) {
        "in force"
    } else if now < one.form().created {
        "not yet"
    } else {
        "over"
    }
}

fn compact(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn check(paths: &[PathBuf]) -> Result<Answer, CtlError> {
    let now = Timestamp::now();
    let (mut count, mut over, mut unlisted) = (0, 0, 0);
    let mut problems: Vec<Problem> = Vec::new();
    for path in paths {
        let read = file::read(path)?;
        count += read.list().len();
        over += read
            .list()
            .iter()
            .filter(|one| one.form().expires <= now)
            .count();
        unlisted += read.unlisted_problems();
        problems.extend_from_slice(read.problems());
    }
    let json = json!({
        "exceptions": count, "over": over, "problems": problems_json(&problems), "unlisted": unlisted,
    });
    let text = format!(
        "{}{count} exceptions count, {over} of them are over\n",
        told(&problems, unlisted)
    );
    checked(Answer { json, text }, &problems, "exceptions")
}
