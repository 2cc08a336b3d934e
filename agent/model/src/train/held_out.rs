//! Stories that no model of ours was fitted on, for whoever measures a judge or tunes one: written down with their
//! labels.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde::Serialize;

use super::data::{Body, Data, Side};
use super::draw::Draw;
use super::{Arguments, TrainError};
use crate::tune::{Held, Part};
use cordon_behavior::story::Story;

/// One of them.
#[derive(Debug, Serialize)]
struct Line<'a> {
    /// `attack` or `benign`.
    label: &'a str,
    /// Where it is from.
    source: &'a str,
    /// The text or the recording that it was made of: its forms are not independent of each other.
    origin: usize,
    /// What a judge reads.
    story: Story,
}

/// In how many forms a text is seen: alone, as processes, under one service or another.
const FORMS: usize = 3;

/// Writes the stories of the test side that this repository holds: packs, lines and recorded families left out.
pub fn write(path: &Path, arguments: &Arguments) -> Result<(), TrainError> {
    let fail = |source| TrainError::Write {
        path: path.to_owned(),
        source,
    };
    let mut draw = Draw::new(arguments.seed);
    let data = Data::own(&arguments.recordings, &mut draw)?;
    let mut out = BufWriter::new(File::create(path).map_err(fail)?);
    let mut id = 0u64;
    for (origin, item) in data.items.iter().enumerate() {
        if item.side != Side::Test {
            continue;
        }
        let forms = match item.body {
            Body::Story(_) => 1,
            _ => FORMS,
        };
        for _ in 0..forms {
            let Some(mut story) = item.story(&mut draw) else {
                continue;
            };
            id += 1;
            story.id = id.to_string();
            let line = Line {
                label: if item.malicious { "attack" } else { "benign" },
                source: &item.source,
                origin,
                story,
            };
            let json = serde_json::to_vec(&line).map_err(|error| fail(error.into()))?;
            out.write_all(&json).map_err(fail)?;
            out.write_all(b"\n").map_err(fail)?;
        }
    }
    out.flush().map_err(fail)
}

/// Stories of one source and label that a tuned model is held against, at most; of other runs of what was fitted fewer.
const PER_SOURCE: usize = 60;
const PER_RUNS: usize = 8;

/// Writes the few stories that a model must not unlearn on a site, compressed: of the side that is reported to
/// check, of the side that calibrates to keep. They are in this repository, and so in the agent.
pub fn write_regression(path: &Path, arguments: &Arguments) -> Result<(), TrainError> {
    let fail = |source| TrainError::Write {
        path: path.to_owned(),
        source,
    };
    let mut draw = Draw::new(arguments.seed);
    let data = Data::own(&arguments.recordings, &mut draw)?;
    let mut taken: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    let mut text = Vec::new();
    for item in &data.items {
        let part = match item.side {
            Side::Train => continue,
            Side::Calibrate => Part::Keep,
            Side::Test => Part::Check,
        };
        let most = if item.source.starts_with("runs:") {
            PER_RUNS
        } else {
            PER_SOURCE
        };
        let taken = taken.entry((&item.source, item.malicious)).or_default();
        if *taken >= most {
            continue;
        }
        let Some(mut story) = item.story(&mut draw) else {
            continue;
        };
        *taken += 1;
        story.id = format!("{}-{taken}", item.source);
        let held = Held {
            part,
            malicious: item.malicious,
            story,
        };
        serde_json::to_writer(&mut text, &held).map_err(|error| fail(error.into()))?;
        text.push(b'\n');
    }
    let packed = zstd::encode_all(text.as_slice(), 19).map_err(fail)?;
    std::fs::write(path, packed).map_err(fail)
}
