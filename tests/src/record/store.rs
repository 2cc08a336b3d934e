//! The committed form: one compressed file of JSON lines a family, scrubbed and without doubles.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::Write as _,
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One recorded story.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// `attack`, `benign`, or `context`: seen in an attack's recording, and no part of the attack.
    pub label: String,
    /// The scenario's family.
    pub family: String,
    /// ATT&CK ids of the scenario.
    pub technique: Vec<String>,
    /// The scenario.
    pub scenario: String,
    /// Which variant of it.
    pub variant: u32,
    /// What the judge reads.
    pub story: serde_json::Value,
}

/// Writes `lines` to `dir`, a file a family. With `keep`, recordings of other scenarios stay.
pub fn write(dir: &Path, lines: Vec<Line>, keep: bool) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let mut families: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for line in lines {
        families.entry(line.family.clone()).or_default().push(line);
    }
    for (family, mut lines) in families {
        let path = dir.join(format!("{family}.jsonl.zst"));
        if keep && path.exists() {
            let new: BTreeSet<String> = lines.iter().map(|line| line.scenario.clone()).collect();
            lines.extend(
                read(&path)?
                    .into_iter()
                    .filter(|line| !new.contains(&line.scenario)),
            );
        }
        lines.sort_by(|a, b| (&a.scenario, a.variant).cmp(&(&b.scenario, b.variant)));
        let mut packed = Vec::new();
        let mut encoder = zstd::Encoder::new(&mut packed, 19).context("start compression")?;
        for line in &lines {
            serde_json::to_writer(&mut encoder, line).context("write a story")?;
            encoder.write_all(b"\n").context("write a story")?;
        }
        encoder.finish().context("finish compression")?;
        std::fs::write(&path, packed).with_context(|| format!("write {}", path.display()))?;
    }
    write_contents(dir)
}

/// What a directory of recordings holds: `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The command that makes such a directory.
    pub command: String,
    /// File name to what is in it.
    pub files: BTreeMap<String, Entry>,
}

/// One file of [`Contents`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// SHA-256 of the compressed file, hex.
    pub sha256: String,
    /// Stories by scenario and label.
    pub stories: BTreeMap<String, BTreeMap<String, usize>>,
}

impl Contents {
    /// Reads every recording of `dir`.
    pub fn of(dir: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for name in Self::names(dir)? {
            let entry = Entry::of(&dir.join(&name))?;
            files.insert(name, entry);
        }
        let command = "cargo xtask record".to_owned();
        Ok(Self { command, files })
    }

    /// The families' files, sorted.
    fn names(dir: &Path) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
            let entry = entry.with_context(|| format!("list {}", dir.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".jsonl.zst") {
                names.insert(name);
            }
        }
        Ok(names)
    }
}

impl Entry {
    fn of(path: &Path) -> Result<Self> {
        let packed = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let mut stories: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for line in read(path)? {
            *stories
                .entry(line.scenario)
                .or_default()
                .entry(line.label)
                .or_default() += 1;
        }
        let mut sha256 = String::new();
        for byte in Sha256::digest(&packed) {
            write!(sha256, "{byte:02x}").context("write a hash")?;
        }
        Ok(Self { sha256, stories })
    }
}

/// The manifest's name.
pub const CONTENTS: &str = "manifest.json";

fn write_contents(dir: &Path) -> Result<()> {
    let mut text =
        serde_json::to_string_pretty(&Contents::of(dir)?).context("write the manifest")?;
    text.push('\n');
    let path = dir.join(CONTENTS);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// Reads every family's file of a directory, in the order of names.
pub(crate) fn read_all(dir: &Path) -> Result<Vec<Line>> {
    let names = Contents::names(dir)?;
    let mut lines = Vec::new();
    for name in names {
        lines.extend(read(&dir.join(name))?);
    }
    Ok(lines)
}

/// Reads one family's file.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let packed = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let text = zstd::decode_all(packed.as_slice())
        .with_context(|| format!("unpack {}", path.display()))?;
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            serde_json::from_slice(line).with_context(|| format!("parse {}", path.display()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::label, *};

    #[test]
    fn the_manifest_tells_what_is_committed() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
        let text = std::fs::read(dir.join(CONTENTS)).unwrap();
        let told: Contents = serde_json::from_slice(&text).unwrap();
        assert_eq!(told, Contents::of(&dir).unwrap());
        let scenarios: BTreeSet<&String> = told
            .files
            .values()
            .flat_map(|entry| entry.stories.keys())
            .collect();
        assert!(
            scenarios.len() >= 70,
            "only {} scenarios are recorded",
            scenarios.len()
        );
    }

    #[test]
    fn committed_recordings_are_stories_and_name_no_host_path() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
        let checkout = env!("CARGO_MANIFEST_DIR").trim_end_matches("tests");
        let mut seen = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "zst") {
                continue;
            }
            for line in read(&path).unwrap() {
                let text = line.story.to_string();
                let story = cordon_behavior::story::Story::from_json(text.as_bytes()).unwrap();
                let image = label::image_of(&story);
                let name = image.rsplit('/').next().unwrap_or_default();
                let is_helper = line.label == "attack" && label::is_compilers(name);
                assert!(
                    !is_helper,
                    "a compiler's helper is called an attack: {text}"
                );
                for mark in [checkout, "/run/.p", "cordon", ".rustup", "scenario"] {
                    assert!(
                        !text.contains(mark),
                        "{} holds {mark}: {text}",
                        path.display()
                    );
                }
                seen += 1;
            }
        }
        assert!(seen > 1000, "only {seen} stories are committed");
    }
}
