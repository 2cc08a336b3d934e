//! The processes that a history spoke of lately.

use std::collections::HashMap;

use cordon_behavior::event::ProcessKey;

/// Entries of one generation; with both, some 10 MB.
const GENERATION: usize = 32_768;

/// What is known of a pid's newest process.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub key: ProcessKey,
    /// The start time of the key is the log's own.
    pub told_start: bool,
    pub identity: Option<u64>,
    /// Pid of its maker; 0: not known.
    pub parent: u32,
    /// Hash of the path of its image; 0: not known.
    pub image: u64,
    pub euid: Option<u32>,
    pub ended_ns: Option<u64>,
    pub seen_ns: u64,
}

/// Keeps those spoken of last: whoever is not named while a whole generation of others is goes.
#[derive(Default)]
pub(super) struct Table {
    young: HashMap<u32, Known>,
    old: HashMap<u32, Known>,
}

impl Table {
    pub(super) fn get(&mut self, pid: u32) -> Option<&mut Known> {
        if let Some(known) = self.old.remove(&pid) {
            self.put(known);
        }
        self.young.get_mut(&pid)
    }

    pub(super) fn put(&mut self, known: Known) {
        let pid = known.key.pid;
        self.old.remove(&pid);
        if self.young.len() >= GENERATION && !self.young.contains_key(&pid) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(pid, known);
    }
}
