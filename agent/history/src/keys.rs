//! Which process a pid means, at the time of which a log tells. The rule is in the crate's documentation.

mod table;

use cordon_behavior::event::{Event, EventBody, Exec, ProcessKey};

use crate::Item;
use crate::seen::{Seen, What, Who, hash};
use table::{Known, Table};

/// Two start times of one process differ by less, whatever they were rounded to.
const SAME_START_NS: u64 = 1_000_000_000;
/// What an ended process did may be told this long after its end.
const AFTER_END_NS: u64 = 1_000_000_000;
/// A parent may tell of a fork this long after the child's first deed.
const LATE_FORK_NS: u64 = 2_000_000_000;
const SILENCE_NS: u64 = 600 * 1_000_000_000;
const INIT: u32 = 1;
/// A chain of parents longer than this is not told to its end.
const PARENTS: usize = 8;

#[derive(Default)]
pub(crate) struct Keys {
    table: Table,
    mono_ns: u64,
}

impl Keys {
    /// Adds the events of one thing seen: first of those who were not known.
    pub(crate) fn tell(&mut self, seen: Seen, out: &mut Vec<Item>) {
        let Seen { wall_ns, who, what } = seen;
        self.mono_ns = self.mono_ns.max(wall_ns);
        let mut telling = Telling {
            table: &mut self.table,
            wall_ns,
            mono_ns: self.mono_ns,
            out,
        };
        match what {
            What::Exec(exec) => telling.exec(&who, *exec),
            What::Fork(child) => telling.fork(who, *child),
            What::Ptrace(target) => {
                let process = telling.introduce(who, PARENTS);
                let target = telling.introduce(*target, PARENTS);
                telling.event(process, EventBody::Ptrace { target });
            }
            What::Other(body) => telling.other(who, body),
        }
    }
}

struct Telling<'a> {
    table: &'a mut Table,
    wall_ns: u64,
    mono_ns: u64,
    out: &'a mut Vec<Item>,
}

impl Telling<'_> {
    fn exec(&mut self, who: &Who, mut exec: Exec) {
        let reused = |known: &Known, who: &Who, now| {
            is_another(known, who, now) || is_fresh(known, who, now)
        };
        let (process, parent) = self.meet(who, PARENTS, reused);
        exec.parent = parent;
        if let Some(known) = self.table.get(who.pid) {
            known.image = hash(&exec.exe);
            known.euid = Some(exec.euid);
        }
        self.event(process, EventBody::Exec(Box::new(exec)));
    }

    fn fork(&mut self, who: Who, child: Who) {
        if child.pid == 0 || child.pid == who.pid {
            return;
        }
        let process = self.introduce(who, PARENTS);
        let image = self.table.get(process.pid).map_or(0, |known| known.image);
        let is_old = |known: &Known, who: &Who, now: u64| {
            is_another(known, who, now)
                || known.parent != process.pid
                || known.key.start_ns.saturating_add(LATE_FORK_NS) < now
        };
        let was = self.table.get(child.pid).map(|known| known.key);
        let child = Who {
            parent: None,
            ..child
        };
        let (key, _) = self.meet(&child, 0, is_old);
        if was == Some(key) {
            return;
        }
        if let Some(known) = self.table.get(key.pid) {
            known.parent = process.pid;
            known.image = image;
        }
        self.event(process, EventBody::Fork { child: key });
    }

    fn other(&mut self, who: Who, mut body: EventBody) {
        let process = self.introduce(who, PARENTS);
        if let Some(known) = self.table.get(process.pid) {
            match &mut body {
                EventBody::Exit { .. } => known.ended_ns = Some(self.wall_ns),
                EventBody::Credential(change) => {
                    change.old_euid = known.euid.filter(|euid| *euid != change.euid);
                    known.euid = Some(change.euid);
                }
                _ => {}
            }
        }
        self.event(process, body);
    }

    /// The key of a process that is named; when it was not known, tells who made it and what it runs.
    fn introduce(&mut self, mut who: Who, parents: usize) -> ProcessKey {
        let image = who.image.take();
        let before = self.table.get(who.pid).map(|known| known.key);
        let (process, parent) = self.meet(&who, parents, is_another);
        if before == Some(process) || process == ProcessKey::NONE {
            return process;
        }
        let parents_image = parent.and_then(|parent| Some(self.table.get(parent.pid)?.image));
        let mine = image.as_ref().map(|image| hash(&image.exe));
        if let Some(known) = self.table.get(process.pid) {
            known.image = mine.or(parents_image).unwrap_or(0);
            known.euid = image.as_ref().map(|image| image.euid);
        }
        match (parent, image) {
            // A child that runs what its parent runs: that is a fork.
            (Some(parent), image) if image.is_none() || mine == parents_image => {
                self.event(parent, EventBody::Fork { child: process });
            }
            (parent, Some(image)) => {
                let exec = Exec {
                    parent,
                    snapshot: true,
                    ..*image
                };
                self.event(process, EventBody::Exec(Box::new(exec)));
            }
            (_, None) => {}
        }
        process
    }

    /// The key of a process and, when it was not known before, of its parent.
    fn meet(
        &mut self,
        who: &Who,
        parents: usize,
        is_another: impl Fn(&Known, &Who, u64) -> bool,
    ) -> (ProcessKey, Option<ProcessKey>) {
        let now = self.wall_ns;
        if who.pid == 0 {
            return (ProcessKey::NONE, None);
        }
        if let Some(known) = self.table.get(who.pid)
            && !is_another(known, who, now)
        {
            known.seen_ns = known.seen_ns.max(now);
            known.identity = known.identity.or(who.identity);
            let (key, parent) = (known.key, known.parent);
            if parent != 0 {
                return (key, self.table.get(parent).map(|parent| parent.key));
            }
            let parent = self.parent(who, key.start_ns, parents);
            if let (Some(parent), Some(known)) = (parent, self.table.get(key.pid)) {
                known.parent = parent.pid;
            }
            return (key, parent);
        }
        let start_ns = who.start_ns.unwrap_or(now);
        let parent = self.parent(who, start_ns, parents);
        let key = ProcessKey {
            pid: who.pid,
            start_ns,
        };
        let known = Known {
            key,
            told_start: who.start_ns.is_some(),
            identity: who.identity,
            parent: parent.map_or(0, |parent| parent.pid),
            image: 0,
            euid: None,
            ended_ns: None,
            seen_ns: now,
        };
        self.table.put(known);
        (key, parent)
    }

    fn parent(&mut self, who: &Who, start_ns: u64, parents: usize) -> Option<ProcessKey> {
        let parent = who.parent.as_deref().filter(|_| parents > 0)?;
        if parent.pid == 0 || parent.pid == who.pid {
            return None;
        }
        // Nobody is younger than his child.
        let start = parent.start_ns.unwrap_or(start_ns).min(start_ns);
        let is_known = self.table.get(parent.pid).is_some();
        let start_ns = parent.start_ns.or(Some(start).filter(|_| !is_known));
        let parent = Who {
            start_ns: start_ns.map(|_| start),
            ..parent.clone()
        };
        Some(self.introduce(parent, parents - 1))
    }

    fn event(&mut self, process: ProcessKey, body: EventBody) {
        self.out.push(Item::Event(Box::new(Event {
            mono_ns: self.mono_ns,
            wall_ns: self.wall_ns,
            process,
            cgroup_id: 0,
            container: None,
            body,
        })));
    }
}

/// The pid belongs to another process now.
fn is_another(known: &Known, who: &Who, now: u64) -> bool {
    if let (Some(before), Some(named)) = (known.identity, who.identity) {
        return before != named;
    }
    if let Some(start_ns) = who.start_ns.filter(|_| known.told_start) {
        return known.key.start_ns.abs_diff(start_ns) > SAME_START_NS;
    }
    known
        .ended_ns
        .is_some_and(|end| now > end.saturating_add(AFTER_END_NS))
}

/// The same for one that executes something; only where the log itself does not tell processes apart.
fn is_fresh(known: &Known, who: &Who, now: u64) -> bool {
    if known.identity.is_some() || (known.told_start && who.start_ns.is_some()) {
        return false;
    }
    let parent = who.parent.as_ref().map_or(0, |parent| parent.pid);
    let has_other_parent =
        parent != 0 && parent != INIT && known.parent != 0 && parent != known.parent;
    known.ended_ns.is_some() || has_other_parent || known.seen_ns.saturating_add(SILENCE_NS) < now
}
