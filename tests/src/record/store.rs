//! The committed form: one compressed file of JSON lines a family, scrubbed and without doubles.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

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
    Ok(())
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
    use super::*;

    #[test]
    fn committed_recordings_are_stories_and_name_no_host_path() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
        let mut seen = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "zst") {
                continue;
            }
            for line in read(&path).unwrap() {
                let text = line.story.to_string();
                cordon_behavior::Story::from_json(text.as_bytes()).unwrap();
                for mark in ["/work/", "/run/.p", "cordon", ".rustup", "scenario"] {
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
