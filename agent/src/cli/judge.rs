//! `cordon-agent judge`: one story a line in, one verdict a line out.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use cordon_behavior::story::Story;
use cordon_judge::{Judge, Options};
use cordon_model::Model;
use serde_json::json;

use super::BAD_LINES;
use crate::config::Config;

/// A line longer than this is not read as a story.
pub const MAX_LINE_BYTES: usize = 4 << 20;

pub(super) fn run(file: &Path, model: Option<PathBuf>, config: Option<&Path>) -> Result<ExitCode> {
    let dir = match model {
        Some(dir) => dir,
        None => Config::load(config)?.model_dir,
    };
    let model = Model::load(&dir)?;
    let mut judge = Judge::new(Arc::new(model), Options::default());
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
    mut input: BufReader<impl io::Read>,
    mut out: impl Write,
) -> io::Result<u64> {
    let (mut number, mut bad) = (0, 0);
    let mut line = Vec::new();
    loop {
        let read = read_line(&mut input, &mut line, &mut out)?;
        if read == Read::End {
            out.flush()?;
            return Ok(bad);
        }
        number += 1;
        if let Err(why) = answer(judge, &line, read, &mut out)? {
            bad += 1;
            serde_json::to_writer(&mut out, &json!({ "error": why, "line": number }))?;
        }
        out.write_all(b"\n")?;
    }
}

fn answer(
    judge: &mut Judge,
    line: &[u8],
    read: Read,
    out: &mut impl Write,
) -> io::Result<Result<(), String>> {
    if read == Read::TooLong {
        let why = format!("the line has more than {MAX_LINE_BYTES} bytes");
        return Ok(Err(why));
    }
    let story = match Story::from_json(line) {
        Ok(story) => story,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let began = Instant::now();
    let mut verdict = judge.judge(&story, None);
    verdict.micros = began.elapsed().as_micros() as u64;
    serde_json::to_writer(out, &verdict)?;
    Ok(Ok(()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Line,
    /// Longer than a story may be; it was read to its end and not kept.
    TooLong,
    End,
}

fn read_line(
    input: &mut BufReader<impl io::Read>,
    line: &mut Vec<u8>,
    out: &mut impl Write,
) -> io::Result<Read> {
    line.clear();
    let mut length = 0_usize;
    loop {
        if input.buffer().is_empty() {
            // More may take its time: whoever waits for the answers so far must have them.
            out.flush()?;
        }
        let some = input.fill_buf()?;
        if some.is_empty() {
            return Ok(if length == 0 {
                Read::End
            } else {
                whole(length)
            });
        }
        let end = some.iter().position(|byte| *byte == b'\n');
        let part = &some[..end.unwrap_or(some.len())];
        length = length.saturating_add(part.len());
        if length <= MAX_LINE_BYTES {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(whole(length));
        }
    }
}

fn whole(length: usize) -> Read {
    if length > MAX_LINE_BYTES {
        Read::TooLong
    } else {
        Read::Line
    }
}
