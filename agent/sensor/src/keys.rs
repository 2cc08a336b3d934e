//! Who has which pid, learned from the events themselves.
//!
//! Sources that know a process by its pid only (fanotify, the proc connector, perf) find its key, its
//! cgroup and its container here. `/proc` tells the start time to a clock tick only, and nothing once
//! the process has ended; the stream tells both exactly.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use cordon_behavior::event::{Container, Credentials, Event, EventBody, ProcessKey};

use crate::CacheUse;
use crate::rights::Rights;

/// Ended processes that are still found by their pid: what they did last may be read after their end.
const ENDED: usize = 8192;
/// Most pids known; a kernel has at most 4,194,304, but not living ones.
const KNOWN: usize = 131_072;
/// An upper estimate of an entry with its place in the table.
const ENTRY_BYTES: usize = 176;

/// What is known of a pid's newest process.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub key: ProcessKey,
    pub cgroup_id: u64,
    pub container: Option<Arc<Container>>,
    pub rights: Rights,
    /// Pid of who made it, as far as the stream told; else 0.
    pub parent: u32,
    /// Who was said to trace it last.
    tracer: u32,
    ended: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Keys {
    by_pid: HashMap<u32, Known>,
    ended: VecDeque<ProcessKey>,
    evicted: u64,
}

impl Keys {
    pub(crate) fn get(&self, pid: u32) -> Option<&Known> {
        self.by_pid.get(&pid)
    }

    /// Pids of who made a process, and of who made that one if it began within `young_ns` before `now_ns`. The first
    /// process makes nobody in this sense: what it starts is on its own.
    pub(crate) fn makers(&self, pid: u32, now_ns: u64, young_ns: u64) -> Option<[u32; 2]> {
        const FIRST: u32 = 1;
        let maker_of = |pid| self.get(pid).map(|known| known.parent);
        let maker = maker_of(pid)?;
        if maker <= FIRST {
            return Some([0, 0]);
        }
        let is_young = |known: &&Known| now_ns.saturating_sub(known.key.start_ns) < young_ns;
        let second = self.get(maker).filter(is_young).map(|known| known.parent);
        Some([maker, second.filter(|pid| *pid > FIRST).unwrap_or(0)])
    }

    /// Learns from an event that is being handed over.
    pub(crate) fn learn(&mut self, event: &Event) {
        match &event.body {
            EventBody::Fork { child } => {
                let rights = self.of(event.process).map(|known| known.rights);
                self.put(*child, event, rights.unwrap_or_default());
                if let Some(made) = self.by_pid.get_mut(&child.pid) {
                    made.parent = event.process.pid;
                }
                self.put(event.process, event, rights.unwrap_or_default());
            }
            EventBody::Exec(_) => {
                let rights = self.of(event.process).map(|known| known.rights);
                let rights = rights.unwrap_or_default().after(event);
                self.put(event.process, event, rights);
            }
            EventBody::Credential(_) => {
                if let Some(known) = self.by_pid.get_mut(&event.process.pid) {
                    known.rights = known.rights.after(event);
                }
            }
            EventBody::Exit { .. } => self.end(event.process),
            _ => {}
        }
    }

    /// The change of rights that an exec shows; `ids_are_told` where the kernel tells those itself.
    pub(crate) fn raised(&self, event: &Event, ids_are_told: bool) -> Option<Credentials> {
        let EventBody::Exec(exec) = &event.body else {
            return None;
        };
        let rights = self.of(event.process)?.rights;
        rights.raised(exec, ids_are_told)
    }

    /// True for what another source has told already: that this one traces that one.
    pub(crate) fn is_repeated(&mut self, event: &Event) -> bool {
        let EventBody::Ptrace { target } = &event.body else {
            return false;
        };
        let Some(known) = self.by_pid.get_mut(&target.pid) else {
            return false;
        };
        let before = std::mem::replace(&mut known.tracer, event.process.pid);
        before == event.process.pid
    }

    fn of(&self, key: ProcessKey) -> Option<&Known> {
        self.by_pid.get(&key.pid).filter(|known| known.key == key)
    }

    fn put(&mut self, key: ProcessKey, event: &Event, rights: Rights) {
        if key == ProcessKey::NONE {
            return;
        }
        if self.by_pid.len() >= KNOWN && !self.by_pid.contains_key(&key.pid) {
            self.evicted += 1;
            return;
        }
        let known = Known {
            key,
            cgroup_id: event.cgroup_id,
            container: event.container.clone(),
            rights,
            parent: self.of(key).map_or(0, |known| known.parent),
            tracer: self.of(key).map_or(0, |known| known.tracer),
            ended: false,
        };
        self.by_pid.insert(key.pid, known);
    }

    fn end(&mut self, key: ProcessKey) {
        let Some(known) = self.by_pid.get_mut(&key.pid).filter(|it| it.key == key) else {
            return;
        };
        known.ended = true;
        self.ended.push_back(key);
        while self.ended.len() > ENDED {
            let Some(oldest) = self.ended.pop_front() else {
                break;
            };
            // The pid may have been given to a newer process.
            let is_same = |known: &Known| known.key == oldest && known.ended;
            if self.by_pid.get(&oldest.pid).is_some_and(is_same) {
                self.by_pid.remove(&oldest.pid);
            }
        }
    }

    pub(crate) fn usage(&self) -> CacheUse {
        CacheUse {
            name: "pids",
            bytes: (self.by_pid.len() * ENTRY_BYTES + self.ended.len() * 16) as u64,
            limit_bytes: (KNOWN * ENTRY_BYTES + ENDED * 16) as u64,
            entries: self.by_pid.len() as u64,
            evicted: self.evicted,
        }
    }
}
