//! What was found in history by something that was tried on it: counts and examples, bounded.

use std::collections::BTreeSet;

use cordon_analyst::clean::plain;
use cordon_proto::id::{HostId, IncidentId};
use cordon_store::Label;
use jiff::Timestamp;
use serde::Serialize;

use super::history::Walked;
use super::show::time;
use crate::http::dto::StoredDetection;

/// Examples of one kind that are kept.
const MOST_EXAMPLES: usize = 3;
/// Longest evidence that is shown, characters.
const MOST_WHAT: usize = 160;

/// Stories in which something was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Found {
    /// How many.
    pub stories: u64,
    /// On how many hosts.
    pub hosts: usize,
    /// Of them, those that a person called malicious.
    pub malicious: u64,
    /// And those called benign.
    pub benign: u64,
    /// The newest.
    pub examples: Vec<Example>,
    #[serde(skip)]
    seen_on: BTreeSet<HostId>,
}

/// One story.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Example {
    /// Its detection.
    pub detection: i64,
    /// The incident.
    pub incident: IncidentId,
    /// The host's name; endpoint text.
    pub host: String,
    /// When it was, by the host's clock.
    pub at: Timestamp,
    /// What was found; endpoint text.
    pub what: String,
}

impl Example {
    pub fn of(row: &StoredDetection, what: &str) -> Self {
        Self {
            detection: row.seen.key,
            incident: row.incident,
            host: row.host.name.clone(),
            at: row.seen.at,
            what: what.to_owned(),
        }
    }

    /// In one line, harmless.
    pub fn in_words(&self) -> String {
        let (at, detection, incident) = (time(self.at), self.detection, self.incident);
        let host = plain(&self.host, MOST_WHAT);
        let what = plain(&self.what, MOST_WHAT);
        format!("{at}  {host}  {what}  (detection {detection}, incident {incident})")
    }
}

impl Found {
    /// One more, newest first.
    pub fn add(&mut self, row: &StoredDetection, what: &str) {
        self.stories += 1;
        self.seen_on.insert(row.host.id);
        self.hosts = self.seen_on.len();
        match label(row) {
            Some(Label::Malicious) => self.malicious += 1,
            Some(Label::Benign) => self.benign += 1,
            None => {}
        }
        if self.examples.len() < MOST_EXAMPLES {
            self.examples.push(Example::of(row, what));
        }
    }
}

/// What a person calls it.
pub(super) fn label(row: &StoredDetection) -> Option<Label> {
    row.seen.analyst_verdict.as_ref().map(|said| said.label)
}

/// The digest of its image, where it is known.
pub(super) fn digest(row: &StoredDetection) -> Option<[u8; 32]> {
    let digest = row.seen.detection.exe_sha256.as_deref()?;
    hex::decode(digest).ok()?.try_into().ok()
}

/// What it is of, in a few words: hostile text.
pub(super) fn subject(row: &StoredDetection) -> String {
    let story = &row.seen.detection.story;
    match (&story.process, &story.command) {
        (Some(process), _) if process.argv.is_empty() => process.exe.clone(),
        (Some(process), _) => format!("{}: {}", process.exe, process.argv.join(" ")),
        (None, Some(command)) => command.clone(),
        (None, None) => story.session.join("; "),
    }
}

/// On what it was tried, and what that is not.
pub(super) fn history_in_words(walked: &Walked) -> String {
    let Some((oldest, newest)) = walked.oldest.zip(walked.newest) else {
        return "no host reported a story in that time: nothing was tried\n".to_owned();
    };
    let mut text = format!(
        "tried on {} stories that hosts reported from {} to {}, all of them suspicious or worse: \
         `cordon-agent replay --judge` tries it on a host's other work\n",
        walked.stories,
        time(oldest),
        time(newest)
    );
    if let Some(why) = &walked.cut {
        text.push_str("not on older ones: ");
        text.push_str(why);
        text.push('\n');
    }
    text
}
