//! Processes that see other files than this host's: those in another mount namespace, and what they make.
//!
//! Only the difference to a parent is told, so one that came back is still taken to be elsewhere, and a service
//! with a namespace of its own too. That errs on the safe side: a path of theirs has this host's owner only once
//! it is proved to be the same file.

use std::collections::HashSet;

use cordon_behavior::event::{Event, EventBody, ProcessKey};

use crate::CacheUse;

const MOST: usize = 65_536;
/// An upper estimate of an entry with its place in the table.
const ENTRY_BYTES: usize = 40;

#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    processes: HashSet<ProcessKey>,
    refused: u64,
}

impl Elsewhere {
    /// Whether this process may see other files. Once one could not be remembered, any may.
    pub(crate) fn has(&self, process: ProcessKey) -> bool {
        self.refused > 0 || self.processes.contains(&process)
    }

    /// Learns from an event, before it is asked about its process.
    pub(crate) fn learn(&mut self, event: &Event) {
        let process = event.process;
        match &event.body {
            EventBody::Namespace { changed } if changed.mnt => self.put(process),
            EventBody::Fork { child } if self.processes.contains(&process) => self.put(*child),
            EventBody::Exec(exec) => {
                let parent = exec.parent.filter(|parent| self.processes.contains(parent));
                if exec.namespaces.mnt || event.container.is_some() || parent.is_some() {
                    self.put(process);
                }
            }
            _ => {}
        }
    }

    /// An ended process makes no more children.
    pub(crate) fn end(&mut self, process: ProcessKey) {
        self.processes.remove(&process);
    }

    fn put(&mut self, process: ProcessKey) {
        if self.processes.len() < MOST || self.processes.contains(&process) {
            self.processes.insert(process);
        } else {
            self.refused += 1;
        }
    }

    pub(crate) fn usage(&self) -> CacheUse {
        CacheUse {
            name: "elsewhere",
            bytes: (self.processes.len() * ENTRY_BYTES) as u64,
            limit_bytes: (MOST * ENTRY_BYTES) as u64,
            entries: self.processes.len() as u64,
            evicted: self.refused,
        }
    }
}
