//! A site's labelled stories: read line by line, bounded, each story counted once for each host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cordon_behavior::story::Story;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::input::MOST_LINE;
use super::reading::{Print, Reading};
use crate::model::Model;

/// Hosts whose labels count, and labelled stories of one host that do: the work is bounded, and nobody floods out others.
pub const MOST_HOSTS: usize = 32;
/// See [`MOST_HOSTS`].
pub const MOST_OF_HOST: usize = 100;
/// Longest name of a host or an analyst, bytes.
const NAME: usize = 128;

/// One line of the file: what tuning reads, and what a controller writes of its analysts' verdicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelledStory {
    /// As it was judged.
    pub story: Story,
    /// What somebody calls it.
    pub label: Word,
    /// Where it was.
    pub host: String,
    /// Who says so.
    pub analyst: String,
}

/// What a story is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Part of an attack.
    Malicious,
    /// Honest work.
    Benign,
}

impl LabelledStory {
    /// Reads one line.
    pub fn from_json(text: &[u8]) -> Result<Self, LabelError> {
        let line: Self =
            serde_json::from_slice(text).map_err(|error| LabelError::Json(error.to_string()))?;
        line.check()?;
        Ok(line)
    }

    /// As one line, without its end; refused where tuning would not read it.
    pub fn to_json(&self) -> Result<Vec<u8>, LabelError> {
        self.check()?;
        let line = serde_json::to_vec(self).map_err(|error| LabelError::Json(error.to_string()))?;
        if line.len() as u64 >= MOST_LINE {
            return Err(LabelError::Long);
        }
        Ok(line)
    }

    fn check(&self) -> Result<(), LabelError> {
        let Story {
            process,
            command,
            session,
            ..
        } = &self.story;
        if process.is_none() && command.is_none() && session.is_empty() {
            return Err(LabelError::Empty);
        }
        for (field, name) in [("host", &self.host), ("analyst", &self.analyst)] {
            if !is_name(name) {
                return Err(LabelError::Name { field });
            }
        }
        Ok(())
    }
}

/// Why a line does not count.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// Not the JSON that it should be.
    #[error("not a label: {0}; wanted are story, label (malicious or benign), host and analyst")]
    Json(String),
    /// Nothing is known of the story.
    #[error("the story has neither process, command nor session")]
    Empty,
    /// A name that could be anything.
    #[error("{field} is not a name: wanted are 1 to {NAME} letters, digits, or any of . _ - : @")]
    Name {
        /// `host` or `analyst`.
        field: &'static str,
    },
    /// More than a line may have.
    #[error("the line has more than {MOST_LINE} bytes")]
    Long,
    /// There are too many hosts already.
    #[error("{MOST_HOSTS} hosts have labels already: this one's do not count")]
    Hosts,
    /// There are too many labels of this host already.
    #[error("{MOST_OF_HOST} stories of this host have labels already")]
    Host,
}

/// How many labels there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Lines that count.
    pub lines: usize,
    /// Of them, those that say again what their host had said.
    pub repeated: usize,
    /// Labels dropped because somebody said the contrary of the same story.
    pub contradicted: usize,
    /// Labels of stories that the gate answers: the last layer has no say in them.
    pub by_gate: usize,
    /// Labels that were learned from, malicious and benign.
    pub malicious: usize,
    /// See `malicious`.
    pub benign: usize,
    /// Analysts who gave them.
    pub analysts: usize,
}

/// One label that is learned from.
pub(super) struct Label {
    pub host: String,
    pub malicious: bool,
    pub reading: Arc<Reading>,
}

/// What was said of one story.
struct Told {
    reading: Arc<Reading>,
    /// Host to whether it is malicious.
    by: BTreeMap<String, bool>,
    is_disputed: bool,
}

/// All that was read.
#[derive(Default)]
pub(super) struct Labels {
    told: BTreeMap<Print, Told>,
    hosts: BTreeMap<String, usize>,
    analysts: BTreeSet<String>,
    lines: usize,
    repeated: usize,
    digest: Sha256,
}

impl Labels {
    /// Takes one line.
    pub fn add(&mut self, model: &Model, text: &[u8]) -> Result<(), LabelError> {
        let line = LabelledStory::from_json(text)?;
        let stories = self.hosts.get(&line.host).copied();
        if stories.is_none() && self.hosts.len() >= MOST_HOSTS {
            return Err(LabelError::Hosts);
        }
        let malicious = line.label == Word::Malicious;
        let reading = Reading::of(model, &model.read(&line.story));
        let print = reading.print();
        let told = self.told.get(&print);
        let is_known = told.is_some_and(|told| told.by.contains_key(&line.host));
        if stories >= Some(MOST_OF_HOST) && !is_known {
            return Err(LabelError::Host);
        }
        let told = self.told.entry(print).or_insert_with(|| Told {
            reading: Arc::new(reading),
            by: BTreeMap::new(),
            is_disputed: false,
        });
        told.is_disputed |= told.by.values().any(|said| *said != malicious);
        if is_known {
            self.repeated += 1;
        } else {
            told.by.insert(line.host.clone(), malicious);
            *self.hosts.entry(line.host).or_default() += 1;
        }
        self.analysts.insert(line.analyst);
        self.lines += 1;
        self.digest.update(text);
        self.digest.update(b"\n");
        Ok(())
    }

    /// SHA-256 of the lines that count, in their order, hex.
    pub fn sha256(&self) -> String {
        hex::encode(self.digest.clone().finalize())
    }

    /// Those to learn from, in an order that the file's does not change, and how many there are of which kind.
    pub fn usable(&self) -> (Vec<Label>, Counts) {
        let mut counts = Counts {
            lines: self.lines,
            repeated: self.repeated,
            analysts: self.analysts.len(),
            ..Counts::default()
        };
        let mut labels = Vec::new();
        for told in self.told.values() {
            if told.is_disputed {
                counts.contradicted += told.by.len();
                continue;
            }
            if told.reading.by_gate {
                counts.by_gate += told.by.len();
                continue;
            }
            for (host, malicious) in &told.by {
                let count = if *malicious {
                    &mut counts.malicious
                } else {
                    &mut counts.benign
                };
                *count += 1;
                labels.push(Label {
                    host: host.clone(),
                    malicious: *malicious,
                    reading: Arc::clone(&told.reading),
                });
            }
        }
        (labels, counts)
    }
}

/// It stands in the card as it is.
fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte);
    (1..=NAME).contains(&name.len()) && name.bytes().all(known)
}
