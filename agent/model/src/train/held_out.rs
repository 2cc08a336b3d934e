//! Stories that no model of ours was fitted on, for whoever measures a judge: written down with their labels.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde::Serialize;

use super::data::{Body, Data, Side};
use super::draw::Draw;
use super::{Arguments, TrainError};
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
