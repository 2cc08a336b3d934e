//! The stories that people labelled, as `model tune` reads them.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use cordon_analyst::clean::plain;
use cordon_model::tune::{LabelledStory, MOST_HOSTS, MOST_OF_HOST, Word};
use cordon_store::Label;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::args::LabelsCommand;
use super::client::Client;
use super::history::{Bounds, walk};
use super::{Answer, CtlError};

/// Longest complaint that is printed, characters.
const MOST_WHY: usize = 300;
/// Complaints that are printed.
const MOST_TOLD: usize = 20;

pub(super) async fn run(client: &Client<'_>, command: &LabelsCommand) -> Result<Answer, CtlError> {
    let LabelsCommand::Export { since, out } = command;
    match out {
        Some(path) => to_file(client, *since, path).await,
        None => to_stdout(client, *since).await,
    }
}

/// What was written, for people and programs.
#[derive(Default)]
struct Tally {
    malicious: u64,
    benign: u64,
    hosts: BTreeSet<String>,
    /// Stories some of whose arguments were not kept when they were judged.
    shortened: u64,
    /// Those that cannot be written, and why.
    left_out: Vec<String>,
}

/// All of it or no file.
async fn to_file(
    client: &Client<'_>,
    since: Option<Timestamp>,
    path: &Path,
) -> Result<Answer, CtlError> {
    let failed = |source: std::io::Error| CtlError::Write {
        path: path.to_owned(),
        source,
    };
    // Beside its place, and readable by its owner only: stories hold what was typed on hosts.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    let mut file = BufWriter::new(file);
    let written = export(client, since, |line| {
        let put = file.write_all(line).and_then(|()| file.write_all(b"\n"));
        put.map_err(failed)
    });
    let tally = written.await?;
    let file = file
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path)
        .map_err(|error| failed(error.error))?;
    let json = json!({
        "file": path, "malicious": tally.malicious, "benign": tally.benign, "hosts": tally.hosts.len(),
        "shortened": tally.shortened, "left_out": tally.left_out,
    });
    let text = format!("{}written to {}\n", tally.in_words(), path.display());
    Ok(Answer { json, text })
}

/// The lines themselves; with `--json` as one list.
async fn to_stdout(client: &Client<'_>, since: Option<Timestamp>) -> Result<Answer, CtlError> {
    let mut text = String::new();
    let tally = export(client, since, |line| {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
        Ok(())
    });
    let tally = tally.await?;
    for why in tally.left_out.iter().take(MOST_TOLD) {
        eprintln!("cordonctl: left out: {why}");
    }
    let lines = text.lines().map(serde_json::from_str::<Value>);
    let lines = lines.collect::<Result<Vec<_>, _>>();
    let lines = lines.map_err(|source| CtlError::Answer {
        path: "/detections".to_owned(),
        source,
    })?;
    let json = json!({ "labels": lines, "left_out": tally.left_out });
    Ok(Answer { json, text })
}

async fn export(
    client: &Client<'_>,
    since: Option<Timestamp>,
    mut write: impl FnMut(&[u8]) -> Result<(), CtlError>,
) -> Result<Tally, CtlError> {
    let mut tally = Tally::default();
    let labelled = Bounds {
        labelled: true,
        ..Bounds::default()
    };
    walk(client, &labelled, |row| {
        let Some(said) = &row.seen.analyst_verdict else {
            return Ok(());
        };
        if since.is_some_and(|since| said.at < since) {
            return Ok(());
        }
        let word = match said.label {
            Label::Malicious => Word::Malicious,
            Label::Benign => Word::Benign,
        };
        let analyst = said.analyst.clone();
        let (key, host) = (row.seen.key, row.host.id.to_string());
        let label = LabelledStory {
            label: word,
            analyst,
            host,
            story: row.seen.detection.story,
        };
        match label.to_json() {
            Ok(line) => {
                tally.count(&label);
                write(&line)
            }
            Err(why) => {
                let why = format!("detection {key}: {why}");
                tally.left_out.push(plain(&why, MOST_WHY));
                Ok(())
            }
        }
    })
    .await?;
    Ok(tally)
}

impl Tally {
    fn count(&mut self, label: &LabelledStory) {
        match label.label {
            Word::Malicious => self.malicious += 1,
            Word::Benign => self.benign += 1,
        }
        let process = label.story.process.as_ref();
        self.shortened += u64::from(process.is_some_and(|process| process.argv_truncated));
        self.hosts.insert(label.host.clone());
    }

    fn in_words(&self) -> String {
        let mut lines = vec![format!(
            "{} malicious and {} benign stories of {} hosts",
            self.malicious,
            self.benign,
            self.hosts.len()
        )];
        if self.shortened > 0 {
            let shortened = self.shortened;
            lines.push(format!(
                "{shortened} of them lack arguments, as they did when they were judged"
            ));
        }
        if self.hosts.len() > MOST_HOSTS {
            lines.push(format!(
                "a model learns from {MOST_HOSTS} hosts, {MOST_OF_HOST} stories of each: the rest will be named and not count"
            ));
        }
        let told = self.left_out.iter().take(MOST_TOLD);
        lines.extend(told.map(|why| format!("left out: {why}")));
        let more = self.left_out.len().saturating_sub(MOST_TOLD);
        if more > 0 {
            lines.push(format!("left out: {more} more"));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}
