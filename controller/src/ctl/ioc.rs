//! Lists of indicators: checked with the agents' own reader, and looked up in what hosts reported.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cordon_analyst::clean::plain;
use serde_json::{Value, json};

use super::args::{IocCommand, TryArgs};
use super::client::Client;
use super::files::{self, problems_json};
use super::history::{Bounds, walk};
use super::rules::{checked, told};
use super::show::{Table, section};
use super::tried::{Example, Found, digest, history_in_words};
use super::{Answer, CtlError};

/// Indicators that are told, the busiest first; a list may have hundreds of thousands.
const MOST_TOLD: usize = 1_000;
const MOST_NAME: usize = 300;

pub(super) async fn run(client: &Client<'_>, command: &IocCommand) -> Result<Answer, CtlError> {
    match command {
        IocCommand::Check(wanted) => check(&wanted.paths),
        IocCommand::Try(wanted) => try_on_history(client, wanted).await,
    }
}

fn check(paths: &[PathBuf]) -> Result<Answer, CtlError> {
    let lists = files::indicators(paths)?;
    let count = lists.len();
    let json = json!({
        "indicators": count, "problems": problems_json(lists.problems()), "unlisted": lists.unlisted_problems(),
    });
    let text = format!(
        "{}{count} indicators count\n",
        told(lists.problems(), lists.unlisted_problems())
    );
    checked(Answer { json, text }, lists.problems(), "indicators")
}

/// By the indicator, with the list that it is from.
type Hits = BTreeMap<String, (String, Found)>;

async fn try_on_history(client: &Client<'_>, wanted: &TryArgs) -> Result<Answer, CtlError> {
    let lists = files::indicators(&wanted.files.paths)?;
    let mut found = Hits::new();
    let walked = walk(client, &Bounds::of(&wanted.history), |row| {
        let digest = digest(&row);
        let hits = lists.hits(&row.seen.detection.story, digest.as_ref());
        // One that was not valid yet, or no longer, would have said nothing.
        for hit in hits.into_iter().filter(|hit| hit.counts(row.received_at)) {
            let (source, shown) = (hit.source, hit.found);
            let of = found
                .entry(hit.indicator)
                .or_insert_with(|| (source, Found::default()));
            of.1.add(&row, &shown);
        }
        Ok(())
    })
    .await?;
    let busiest = busiest(&found);
    let quiet = lists.len().saturating_sub(found.len());
    let matched: Value = busiest
        .iter()
        .map(|(indicator, source, found)| {
            let mut one = json!(found);
            one["indicator"] = json!(indicator);
            one["source"] = json!(source);
            one
        })
        .collect();
    let json = json!({
        "indicators": lists.len(), "problems": problems_json(lists.problems()),
        "unlisted": lists.unlisted_problems(), "history": walked, "matched": matched, "quiet": quiet,
    });
    let text = [
        told(lists.problems(), lists.unlisted_problems()),
        history_in_words(&walked),
        table(&busiest),
        format!("{quiet} indicators would have matched nothing\n"),
    ];
    let text = text.concat();
    Ok(Answer { json, text })
}

type Told<'a> = (&'a str, &'a str, &'a Found);

fn busiest(found: &Hits) -> Vec<Told<'_>> {
    let all = found.iter();
    let mut all: Vec<Told<'_>> = all
        .map(|(indicator, (source, found))| (indicator.as_str(), source.as_str(), found))
        .collect();
    all.sort_by_key(|(_, _, found)| std::cmp::Reverse(found.stories));
    all.truncate(MOST_TOLD);
    all
}

fn table(busiest: &[Told<'_>]) -> String {
    let mut table = Table::new(
        &[
            "STORIES",
            "HOSTS",
            "MALICIOUS",
            "BENIGN",
            "INDICATOR",
            "FROM",
        ],
        "no story has any of them",
    );
    for (indicator, source, found) in busiest {
        table.row(&[
            &found.stories.to_string(),
            &found.hosts.to_string(),
            &found.malicious.to_string(),
            &found.benign.to_string(),
            indicator,
            source,
        ]);
    }
    let mut text = table.render();
    for (indicator, _, found) in busiest {
        let examples: Vec<String> = found.examples.iter().map(Example::in_words).collect();
        text.push_str(&section(&plain(indicator, MOST_NAME), &examples));
    }
    text
}
