//! Which task is in which namespaces, to tell a change from a child that is where its parent is.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use cordon_behavior::event::Namespaces;

use super::record::{NAMESPACE_KINDS, TaskNamespaces};

/// In the order of `NET_NS_INDEX` and its kin.
const NAMES: [&str; NAMESPACE_KINDS] = ["net", "uts", "ipc", "pid", "user", "mnt", "cgroup"];
/// Most tasks remembered: those that are not where the agent is, and that ended until room is needed.
const LIMIT: usize = 32_768;
/// Looking which tasks still live takes tens of milliseconds, so it is not done more often.
const SWEEP_NS: u64 = 10_000_000_000;

/// Inode numbers, in the order of [`NAMES`].
pub(super) type Set = [u32; NAMESPACE_KINDS];

/// Keeps a task's namespaces if they are not the agent's own.
pub(super) struct Tasks {
    own: Set,
    others: HashMap<u32, Set>,
    swept_ns: u64,
    /// Tasks that there was no room for.
    pub refused: u64,
}

impl Tasks {
    pub(super) const ENTRY_BYTES: u64 = 72;
    pub(super) const LIMIT_BYTES: u64 = LIMIT as u64 * Self::ENTRY_BYTES;

    pub(super) fn new(own: Set, there: impl IntoIterator<Item = (u32, Set)>) -> Self {
        let others = there.into_iter().filter(|(_, set)| *set != own);
        Self {
            own,
            others: others.take(LIMIT).collect(),
            swept_ns: 0,
            refused: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.others.len()
    }

    /// What changed by this record; `is_alive` answers for a task id.
    ///
    /// A new task is compared with the one that made it, so a task id that is used again is no matter.
    pub(super) fn change(
        &mut self,
        now: &TaskNamespaces,
        is_alive: impl Fn(u32) -> bool,
    ) -> Namespaces {
        let before = self.of(now.by_tid, now.by_pid);
        self.keep(now, is_alive);
        let differs = |index: usize| now.set[index] != before[index] && now.set[index] != 0;
        if now.by_tid == 0 || now.by_tid == u32::MAX {
            // Made from outside the reader's PID namespace: from what is not known.
            return Namespaces::default();
        }
        Namespaces {
            net: differs(0),
            uts: differs(1),
            ipc: differs(2),
            pid: differs(3),
            user: differs(4),
            mnt: differs(5),
            cgroup: differs(6),
            time: false,
        }
    }

    /// A thread that was there before the agent is known by its leader only.
    fn of(&self, tid: u32, pid: u32) -> Set {
        let known = self.others.get(&tid).or_else(|| self.others.get(&pid));
        *known.unwrap_or(&self.own)
    }

    fn keep(&mut self, now: &TaskNamespaces, is_alive: impl Fn(u32) -> bool) {
        if now.set == self.own {
            self.others.remove(&now.tid);
            return;
        }
        let is_full = self.others.len() >= LIMIT && !self.others.contains_key(&now.tid);
        if is_full && now.mono_ns.saturating_sub(self.swept_ns) > SWEEP_NS {
            self.others.retain(|tid, _| is_alive(*tid));
            self.swept_ns = now.mono_ns;
        }
        if is_full && self.others.len() >= LIMIT {
            self.refused += 1;
            return;
        }
        self.others.insert(now.tid, now.set);
    }
}

/// The namespaces of a process; 0 for what `/proc` does not tell.
pub(super) fn of_process(process: &str) -> Set {
    NAMES.map(|name| {
        let facts = fs::metadata(format!("/proc/{process}/ns/{name}"));
        facts.map_or(0, |facts| facts.ino() as u32)
    })
}

/// The agent's own namespaces, held open.
///
/// A namespace that nobody holds open gets a new inode for each record and loses it right after: 11 us
/// for each new process or thread of the host, against 0.6 us with the inode at hand.
pub(super) fn hold() -> Vec<File> {
    let opened = NAMES.map(|name| File::open(format!("/proc/self/ns/{name}")));
    opened.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Set = [1, 2, 3, 4, 5, 6, 7];
    const OTHER: Set = [1, 2, 3, 4, 5, 60, 7];

    fn record(tid: u32, by: u32, set: Set) -> TaskNamespaces {
        TaskNamespaces {
            mono_ns: SWEEP_NS * 2,
            pid: tid,
            tid,
            by_pid: by,
            by_tid: by,
            set,
        }
    }

    fn mounts() -> Namespaces {
        Namespaces {
            mnt: true,
            ..Namespaces::default()
        }
    }

    #[test]
    fn a_child_where_its_parent_is_changes_nothing() {
        let mut tasks = Tasks::new(OWN, [(9, OTHER)]);
        let mut change = |tid, by, set| tasks.change(&record(tid, by, set), |_| true);
        assert!(change(20, 10, OWN).is_empty());
        assert!(change(21, 9, OTHER).is_empty());
        assert_eq!(change(22, 10, OTHER), mounts());
        assert!(change(23, 22, OTHER).is_empty());
        // unshare and setns name the task itself.
        assert_eq!(change(20, 20, OTHER), mounts());
        assert!(change(20, 20, OTHER).is_empty());
        assert_eq!(change(20, 20, OWN), mounts());
    }

    #[test]
    fn a_task_id_that_is_used_again_is_compared_with_its_new_parent() {
        let mut tasks = Tasks::new(OWN, [(20, OTHER)]);
        assert!(tasks.change(&record(20, 10, OWN), |_| true).is_empty());
        assert_eq!(tasks.change(&record(20, 20, OTHER), |_| true), mounts());
    }

    #[test]
    fn what_came_from_outside_is_not_compared() {
        let mut tasks = Tasks::new(OWN, []);
        assert!(tasks.change(&record(20, 0, OTHER), |_| true).is_empty());
    }

    #[test]
    fn the_dead_make_room_and_the_rest_is_counted() {
        let there = (0..LIMIT as u32).map(|tid| (tid + 1, OTHER));
        let mut tasks = Tasks::new(OWN, there);
        tasks.change(&record(90_000, 1, OTHER), |_| true);
        assert_eq!((tasks.len(), tasks.refused), (LIMIT, 1));
        let later = TaskNamespaces {
            mono_ns: SWEEP_NS * 4,
            ..record(90_000, 1, OTHER)
        };
        tasks.change(&later, |tid| tid <= 5);
        assert_eq!((tasks.len(), tasks.refused), (6, 1));
    }
}
