//! How often this agent isolated its host by itself, over restarts.

use std::path::{Path, PathBuf};

use cordon_proto::id::IsolationId;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::durable;

const FILE: &str = "isolations.json";
const MAX_BYTES: u64 = 1 << 20;
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Started {
    id: IsolationId,
    at: Timestamp,
}

/// The isolations that this agent started in the last hour.
#[derive(Debug)]
pub struct Caps {
    path: PathBuf,
    started: Vec<Started>,
}

impl Caps {
    /// Reads what was started before a restart. A damaged file counts as none: the brake is on the
    /// agent's own eagerness, and a broken brake must not become a broken protection.
    pub fn load(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let read = durable::read(&path, MAX_BYTES).unwrap_or_default();
        let started = read.and_then(|json| serde_json::from_slice(&json).ok());
        if started.is_none() && path.exists() {
            tracing::warn!(path = %path.display(), "the list of recent isolations is damaged, starting anew");
        }
        Self {
            path,
            started: started.unwrap_or_default(),
        }
    }

    /// Isolations in the hour before `now`.
    pub fn last_hour(&self, now: Timestamp) -> u32 {
        self.started.iter().filter(|s| is_recent(s.at, now)).count() as u32
    }

    /// Counts one. The write does not wait for the disk: it outlives the process, and the isolation
    /// itself, which is found at a restart, is counted then if a power cut took it.
    pub fn count(&mut self, id: IsolationId, now: Timestamp) {
        if self.started.iter().any(|started| started.id == id) {
            return;
        }
        self.started.retain(|started| is_recent(started.at, now));
        self.started.push(Started { id, at: now });
        let json = serde_json::to_vec(&self.started).expect("isolations have string keys only");
        if let Err(error) = durable::replace_unsynced(&self.path, &json) {
            tracing::warn!(error = %crate::chain(&error), "isolation not counted on disk");
        }
    }
}

/// A time in the future is a clock that was set back since: it counts.
fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) < WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_started_counts_for_an_hour_and_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let start: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let at = |minutes| start + SignedDuration::from_mins(minutes);
        let mut caps = Caps::load(dir.path());
        let id = IsolationId::generate();
        caps.count(id, start);
        caps.count(id, at(1));
        caps.count(IsolationId::generate(), at(30));
        let again = Caps::load(dir.path());
        assert_eq!(again.last_hour(at(59)), 2);
        assert_eq!(again.last_hour(at(61)), 1);
        assert_eq!(again.last_hour(at(91)), 0);
    }
}
