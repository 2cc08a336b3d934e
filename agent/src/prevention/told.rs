//! Which listed programs were reported, when, and as which incident.

use std::time::{Duration, Instant};

use cordon_proto::process::ProcessName;

use super::Started;
use crate::host::HostFacts;
use crate::recent::Recent;

/// Programs whose last report is remembered.
const REMEMBERED: usize = 256;
/// A program that is started again and again is reported at once, and then this often.
const REPORT_EVERY: Duration = Duration::from_mins(1);

/// What was reported of each program.
pub(super) struct Reports {
    facts: HostFacts,
    told: Recent<String, Told>,
}

/// When a program was last reported, and how often it was started since.
struct Told {
    at: Instant,
    since: u64,
    /// By which its incident is known, however often it is started.
    tree: String,
}

impl Reports {
    pub(super) fn new(facts: HostFacts) -> Self {
        let told = Recent::new(REMEMBERED);
        Self { facts, told }
    }

    /// What to add to a report, and the tree of its incident; `None` when it is told later.
    pub(super) fn news(&mut self, started: &Started) -> Option<(String, String)> {
        let now = Instant::now();
        let tree = self.tree_of(started);
        let key = started.exe.clone();
        let since = match self.told.get(&key) {
            None => 0,
            Some(told) if now.duration_since(told.at) < REPORT_EVERY => {
                let (at, since) = (told.at, told.since + 1);
                self.told.put(key, Told { at, since, tree });
                return None;
            }
            Some(told) => told.since,
        };
        let text = match since {
            0 => String::new(),
            1 => ", and once more since the last report".to_owned(),
            _ => format!(", and {since} times more since the last report"),
        };
        let told = Told {
            at: now,
            since: 0,
            tree: tree.clone(),
        };
        self.told.put(key, told);
        Some((text, tree))
    }

    /// How orders name the process.
    pub(super) fn name_of(&self, started: &Started) -> ProcessName {
        self.facts.process_name(started.process)
    }

    /// That of its first start: one program is one incident.
    pub(super) fn tree_of(&self, started: &Started) -> String {
        let told = self.told.get(&started.exe);
        told.map_or_else(
            || self.facts.tree_name(started.process),
            |told| told.tree.clone(),
        )
    }
}
