//! `cordon-agent judge`: one story a line in, one verdict a line out.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use cordon_behavior::story::Story;
use cordon_judge::{Judge, Options};
use cordon_model::Model;
use cordon_proto::verdict::Verdict;
use serde_json::json;

use super::BAD_LINES;
use super::lines::{self, Line, Lines};
use crate::config::Config;

pub(super) fn run(file: &Path, model: Option<PathBuf>, config: Option<&Path>) -> Result<ExitCode> {
    let mut judge = open(model, config)?;
    let out = BufWriter::new(io::stdout().lock());
    let bad = if file == Path::new("-") {
        judge_lines(&mut judge, BufReader::new(io::stdin().lock()), out)
    } else {
        let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        judge_lines(&mut judge, BufReader::new(opened), out)
    };
    let bad = bad.context("cannot go on judging")?;
    Ok(ExitCode::from(if bad == 0 { 0 } else { BAD_LINES }))
}

/// Judges every line of `input`, in order; returns how many could not be judged. What was answered is
/// flushed before more input is waited for.
pub fn judge_lines(
    judge: &mut Judge,
    input: BufReader<impl io::Read>,
    mut out: impl Write,
) -> io::Result<u64> {
    let mut bad = 0;
    let mut lines = Lines::new(input);
    while let Some(line) = lines.next(|| out.flush())? {
        if let Err(why) = answer(judge, &line, &mut out)? {
            bad += 1;
            let number = line.number;
            serde_json::to_writer(&mut out, &json!({ "error": why, "line": number }))?;
        }
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(bad)
}

fn answer(
    judge: &mut Judge,
    line: &Line<'_>,
    out: &mut impl Write,
) -> io::Result<Result<(), String>> {
    let Some(text) = line.text else {
        return Ok(Err(lines::too_long()));
    };
    let story = match Story::from_json(text) {
        Ok(story) => story,
        Err(error) => return Ok(Err(error.to_string())),
    };
    serde_json::to_writer(out, &verdict(judge, &story))?;
    Ok(Ok(()))
}

/// Judges one story, and says how long that took.
pub(super) fn verdict(judge: &mut Judge, story: &Story) -> Verdict {
    let began = Instant::now();
    let mut verdict = judge.judge(story, None);
    verdict.micros = began.elapsed().as_micros() as u64;
    verdict
}

/// A judge with the model in `dir`, or with the configured one.
pub(super) fn open(dir: Option<PathBuf>, config: Option<&Path>) -> Result<Judge> {
    let dir = match dir {
        Some(dir) => dir,
        None => Config::load(config)?.model_dir,
    };
    let model = Model::load(&dir)?;
    Ok(Judge::new(Arc::new(model), Options::default()))
}
