//! Recordings of our own sensor: `*.jsonl.zst`, one labelled story a line.

use std::path::{Path, PathBuf};

use cordon_behavior::story::Story;
use serde::Deserialize;

use super::TrainError;

/// One labelled story.
#[derive(Clone, Debug, Deserialize)]
pub struct Recording {
    /// `attack`, `benign`, or `context`: seen during an attack and no part of it.
    pub label: String,
    /// What is left out as a whole when a model is measured.
    pub family: String,
    /// ATT&CK ids.
    #[serde(default)]
    pub technique: Vec<String>,
    /// The scenario within the family.
    #[serde(default)]
    pub scenario: String,
    /// Which run of the scenario.
    #[serde(default)]
    pub variant: u32,
    /// What was seen.
    pub story: Story,
}

/// Every file of a directory, in the order of names; none when the directory does not exist.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>, TrainError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let list = std::fs::read_dir(dir).map_err(|source| TrainError::Read {
        path: dir.to_owned(),
        source,
    })?;
    let mut paths: Vec<PathBuf> = list
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".jsonl.zst"))
        .collect();
    paths.sort();
    Ok(paths)
}

/// Unpacks and parses the bytes of one file.
pub fn parse(path: &Path, packed: &[u8]) -> Result<Vec<Recording>, TrainError> {
    let text = zstd::decode_all(packed).map_err(|source| TrainError::Read {
        path: path.to_owned(),
        source,
    })?;
    let lines = text
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_slice(line).map_err(|source| TrainError::Line {
                path: path.to_owned(),
                line: index + 1,
                source,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_and_a_bad_line_is_named() {
        let good = br#"{"label":"benign","family":"tar","scenario":"a","variant":3,"story":{"id":"1","command":"tar cf a b"}}"#;
        let mut text = good.to_vec();
        text.extend_from_slice(b"\n{}\n");
        let packed = zstd::encode_all(text.as_slice(), 1).unwrap();
        let error = parse(Path::new("a"), &packed).unwrap_err();
        assert!(matches!(error, TrainError::Line { line: 2, .. }), "{error}");
        let packed = zstd::encode_all(good.as_slice(), 1).unwrap();
        assert_eq!(parse(Path::new("a"), &packed).unwrap()[0].family, "tar");
    }
}
