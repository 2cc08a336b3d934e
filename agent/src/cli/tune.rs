//! `cordon-agent tune`: the model's last layer and calibration, fitted again on a site's own labelled stories.

use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use cordon_model::tune::{Report, Tuner};
use serde_json::json;

use super::BAD_LINES;
use super::output::{Output, plain};
use crate::config::Config;

pub(super) const FORM: &str = "\
A label is one JSON object a line:
  {\"story\": {...}, \"label\": \"malicious\" or \"benign\", \"host\": \"web-1\", \"analyst\": \"kim@example.net\"}
with the story as `judge` reads it. A line that is damaged, too long or beyond what counts is named, and the rest counts.
The new folder is a model like the old one: name it with `model.dir`, or with `judge --model` to try it.";

/// What to learn from, and where the new model goes.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Labelled stories; `-` is standard input.
    #[arg(default_value = "-")]
    labels: PathBuf,
    /// Folder of the new model; made, and must not be there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The model artifact, in place of the configured one.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

pub(super) fn run(options: &Options, config: &Config, out: &Output) -> Result<ExitCode> {
    let dir = options.model.as_ref().unwrap_or(&config.model_dir);
    let mut tuner = Tuner::open(dir)?;
    let skipped = if options.labels.as_os_str() == "-" {
        read(&mut tuner, io::stdin().lock())
    } else {
        let file = File::open(&options.labels);
        read(&mut tuner, file.with_context(|| cannot_read(options))?)
    };
    let skipped = skipped.with_context(|| cannot_read(options))?;
    let report = tuner.finish(&options.out)?;
    let object = json!({ "tuned": report, "skipped": skipped, "model": options.out });
    out.say(&object, || in_words(&report, skipped, options))?;
    Ok(ExitCode::from(if skipped == 0 { 0 } else { BAD_LINES }))
}

fn cannot_read(options: &Options) -> String {
    format!("cannot read the labels in {}", options.labels.display())
}

/// How many lines do not count; each is told on stderr.
fn read(tuner: &mut Tuner, input: impl io::Read) -> io::Result<u64> {
    tuner.labels(BufReader::new(input), |number, why| {
        writeln!(io::stderr(), "line {number}: {}", plain(&why))
    })
}

fn in_words(report: &Report, skipped: u64, options: &Options) -> String {
    let Report {
        counts,
        before,
        after,
        labels_before,
        labels_after,
        ..
    } = report;
    let lines = [
        format!(
            "{} is {}, made from {}",
            options.out.display(),
            report.to,
            report.from
        ),
        format!(
            "learned from {} malicious and {} benign labels of {} hosts; {skipped} lines skipped, {} said again, {} disputed, {} answered by the gate",
            counts.malicious,
            counts.benign,
            report.hosts.len(),
            counts.repeated,
            counts.contradicted,
            counts.by_gate
        ),
        format!(
            "labelled stories: {} of {} attacks are found, before {}; {} of {} benign ones are mistaken, before {}",
            labels_after.found,
            labels_after.attacks,
            labels_before.found,
            labels_after.mistaken,
            labels_after.benign,
            labels_before.mistaken
        ),
        format!(
            "our own stories: {} of {} attacks are found, before {}; {} of {} benign ones are mistaken, before {}",
            after.found, after.attacks, before.found, after.mistaken, after.benign, before.mistaken
        ),
        format!(
            "no story moved by more than {:.2} log-odds; {:.0} % of what was learned counts",
            report.furthest,
            100.0 * report.share
        ),
    ];
    lines.join("\n")
}
