//! The process graph: who made whom, which image each runs, and whom each talked to.

mod below;
mod containers;
mod doings;
mod flow;
mod kept;
mod node;
mod pace;
mod rates;
mod room;
mod seen;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::Limits;
use crate::event::{Container, Event, EventBody, Exec, ProcessKey};
use crate::kinship;
use crate::story::Story;
use containers::Containers;
pub(crate) use doings::{Doings, Fact, LoginSeen, most_flows};
pub(crate) use flow::{FLOW_CLASSES, Flow};
use kept::Kept;
pub(crate) use kept::Seen;
pub(crate) use node::{Image, Node, key_of};
pub(crate) use rates::Rates;

/// How far a connection reaches up and down the tree as a cause to judge again.
const TRIGGER_HOPS: usize = 3;
/// Most processes judged again because of one event.
const TRIGGERS: usize = 8;
/// Images kept of one process that went through several by `execve`.
const PREVIOUS_IMAGES: usize = 4;

/// A process whose story is worth judging now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Whose story.
    pub process: ProcessKey,
    /// When the event that changed the story happened, CLOCK_MONOTONIC nanoseconds.
    pub cause_mono_ns: u64,
    /// It was put off: the cause is up to a second old because the process is judged often.
    pub put_off: bool,
}

/// What is known of the processes in scope, bounded in bytes.
#[derive(Debug)]
pub struct Behavior {
    pub(crate) limits: Limits,
    pub(crate) nodes: HashMap<ProcessKey, Node>,
    /// The newest process seen with a pid: an older one with that pid must have ended.
    by_pid: HashMap<u32, ProcessKey>,
    /// Least worth keeping first.
    order: BTreeSet<(node::Worth, u64, ProcessKey)>,
    /// When each story that was put off is due, and since when it waits.
    due: BTreeMap<(u64, ProcessKey), u64>,
    containers: Containers,
    /// Of the host: by nobody who is known.
    pub(crate) logins: Kept<LoginSeen>,
    /// A process of the graph had a login, at some time.
    pub(crate) has_logins: bool,
    /// Of the processes and the due list.
    bytes: usize,
    touches: u64,
    /// When the sensor began, as far as it told of processes that it found.
    began_ns: u64,
}

impl Behavior {
    /// An empty graph.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: limits.floored(),
            nodes: HashMap::new(),
            by_pid: HashMap::new(),
            order: BTreeSet::new(),
            due: BTreeMap::new(),
            containers: Containers::default(),
            logins: Kept::default(),
            has_logins: false,
            bytes: 0,
            touches: 0,
            began_ns: 0,
        }
    }

    /// Takes in one event; answers whose story it changed in a way worth judging, at most eight.
    ///
    /// A program that is executed is worth it at once, each time. Of what a process does afterwards
    /// these are: a connection to another machine or a rhythm in them, a UDP peer or a name that an
    /// interpreter or its kin asked for, a watched file changed, a secret read, a decoy touched,
    /// many files changed fast, memory made executable, another's process traced, namespaces
    /// changed, a module or BPF program loaded, a raw socket, a uid or capability gained. Each
    /// thing counts when it is new for the process, and a process is judged again four times a
    /// second at most: what comes above that is put off to the end of that second ([`Self::due`]).
    ///
    /// The order in which a process's events arrive matters in this: its programs are those that
    /// arrived last; its parent is whom the first event named; past the bound of a list
    /// ([`Limits`]), or of a rate within its second, what arrives late counts less.
    pub fn apply(&mut self, event: &Event) -> Vec<Trigger> {
        let mut worth_judging = match &event.body {
            EventBody::Exec(exec) => self.executed(event, exec),
            EventBody::Fork { child } => {
                self.fork(event.process, *child);
                Vec::new()
            }
            EventBody::Exit { .. } => {
                self.exit(event.process, event.mono_ns);
                Vec::new()
            }
            _ => {
                let processes = self.saw(event);
                // What was there before the sensor, sockets too, is known and judges nothing.
                if event.mono_ns <= self.began_ns {
                    Vec::new()
                } else {
                    self.paced(&processes, event.mono_ns)
                }
            }
        };
        self.forget_exited(event.mono_ns);
        self.make_room();
        if self.is_waiting() {
            self.add_due(event.mono_ns, &mut worth_judging);
        }
        worth_judging.retain(|trigger| self.nodes.contains_key(&trigger.process));
        worth_judging
    }

    /// What is known of a process; `None` when its image is not known.
    pub fn story(&self, process: ProcessKey) -> Option<Story> {
        crate::assemble::story(self, process)
    }

    /// The first process of the session or service that this one belongs to: a stable name for the
    /// tree, decided when the process was made.
    pub fn tree_root(&self, process: ProcessKey) -> Option<ProcessKey> {
        self.nodes.get(&process).map(|node| node.tree)
    }

    /// The maker of a process, as far as it is known.
    pub fn parent(&self, process: ProcessKey) -> Option<ProcessKey> {
        self.nodes.get(&process).and_then(|node| node.parent)
    }

    /// The process that has this pid now, when it is known and has not ended.
    pub fn living(&self, pid: u32) -> Option<ProcessKey> {
        let key = *self.by_pid.get(&pid)?;
        self.nodes.get(&key)?.ended_ns.is_none().then_some(key)
    }

    /// Bytes held, by an upper estimate of what each entry costs.
    pub fn bytes(&self) -> usize {
        self.bytes + self.containers.bytes + self.logins.bytes()
    }

    /// How many processes are known.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// No process is known.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn executed(&mut self, event: &Event, exec: &Exec) -> Vec<Trigger> {
        let process = event.process;
        self.ensure(process, exec.parent);
        let node = &self.nodes[&process];
        if exec.snapshot && node.image.is_some() {
            // The live stream was faster than the snapshot, and knows better.
            return Vec::new();
        }
        self.replace_image(process, Image::new(exec, self.limits.image_bytes));
        self.contain(process, event.container.as_deref());
        if exec.snapshot {
            self.began_ns = self.began_ns.max(event.mono_ns);
            return Vec::new();
        }
        vec![Trigger {
            process,
            cause_mono_ns: event.mono_ns,
            put_off: false,
        }]
    }

    fn fork(&mut self, process: ProcessKey, child: ProcessKey) {
        if process == child {
            return;
        }
        self.ensure(process, None);
        self.ensure(child, Some(process));
        let parent = &self.nodes[&process];
        let (image, container) = (parent.image.clone(), parent.container.clone());
        let is_blank = self.nodes[&child].image.is_none();
        if let Some(image) = image
            && is_blank
        {
            self.edit(child, |node| node.image = Some(image));
        }
        if is_blank {
            self.contain(child, container.as_deref());
        }
        if let Some(container) = container {
            self.containers.release(container);
        }
    }

    fn exit(&mut self, process: ProcessKey, mono_ns: u64) {
        self.edit(process, |node| node.ended_ns = Some(mono_ns));
    }

    /// Puts a process into a container; nobody leaves one for none.
    fn contain(&mut self, process: ProcessKey, container: Option<&Container>) {
        let Some(container) = container else {
            return;
        };
        let own = self.containers.share(container);
        let before = self.edit(process, |node| node.container.replace(own));
        if let Some(before) = before.flatten() {
            self.containers.release(before);
        }
    }

    /// What a process did, if it did anything.
    pub(crate) fn doings(&self, process: ProcessKey) -> Option<&Doings> {
        self.nodes.get(&process)?.doings.as_deref()
    }

    /// Changes what a known process did.
    fn with_doings<R>(
        &mut self,
        process: ProcessKey,
        change: impl FnOnce(&mut Doings, &Limits) -> R,
    ) -> Option<R> {
        let limits = self.limits;
        self.edit(process, |node| {
            change(node.doings.get_or_insert_with(Box::default), &limits)
        })
    }

    /// The process, then the nearest shells and interpreters above and below it.
    fn kin_worth_judging(&self, process: ProcessKey) -> Vec<ProcessKey> {
        let mut kin = vec![process];
        let mut above = process;
        for _ in 0..TRIGGER_HOPS {
            let Some(parent) = self.parent(above) else {
                break;
            };
            if self.is_interpreter(parent) && !kin.contains(&parent) {
                kin.push(parent);
            }
            above = parent;
        }
        for (below, _) in self.descendants(process, TRIGGER_HOPS, 64) {
            if self.is_interpreter(below) && self.living(below.pid) == Some(below) {
                kin.push(below);
            }
        }
        kin.truncate(TRIGGERS);
        kin
    }

    /// The same without the process, unless it is an interpreter itself.
    fn interpreters_near(&self, process: ProcessKey) -> Vec<ProcessKey> {
        let mut kin = self.kin_worth_judging(process);
        if !self.is_interpreter(process) {
            kin.remove(0);
        }
        kin
    }

    fn is_interpreter(&self, process: ProcessKey) -> bool {
        self.nodes
            .get(&process)
            .and_then(|node| node.image.as_ref())
            .is_some_and(|image| kinship::is_interpreter(&image.exe))
    }

    /// Makes sure that a process is in the graph; a parent that is learned later is filled in.
    fn ensure(&mut self, process: ProcessKey, parent: Option<ProcessKey>) {
        let parent = parent.filter(|parent| !self.would_loop(process, *parent));
        if let Some(known) = self.nodes.get(&process) {
            if known.parent.is_none() && parent.is_some() {
                self.edit(process, |node| node.parent = parent);
                self.adopt(parent, process);
            }
            return;
        }
        self.retire_pid(process);
        let tree = self.tree_of_new(process, parent);
        self.insert(process, Node::new(parent, tree));
        self.adopt(parent, process);
    }

    /// A parent is not younger than its child, and does not descend from it. Processes of one start
    /// time (`/proc` tells it in hundredths of a second) may claim so in turn.
    fn would_loop(&self, process: ProcessKey, parent: ProcessKey) -> bool {
        let mut above = Some(parent);
        while let Some(key) = above.filter(|key| key.start_ns >= process.start_ns) {
            if key == process || key.start_ns > process.start_ns {
                return true;
            }
            above = self.parent(key);
        }
        false
    }

    fn adopt(&mut self, parent: Option<ProcessKey>, child: ProcessKey) {
        if let Some(parent) = parent {
            self.edit(parent, |node| {
                node.children.insert((child.start_ns, child.pid))
            });
        }
    }

    /// Another process had this pid: its end was missed.
    fn retire_pid(&mut self, process: ProcessKey) {
        let newest = self.by_pid.entry(process.pid).or_insert(process);
        let older = *newest;
        if older.start_ns < process.start_ns {
            *newest = process;
            self.edit(older, |node| {
                node.ended_ns.get_or_insert(process.start_ns);
            });
        }
    }

    fn tree_of_new(&self, process: ProcessKey, parent: Option<ProcessKey>) -> ProcessKey {
        let Some(parent) = parent.filter(|key| key.pid != 1) else {
            return process;
        };
        let Some(node) = self.nodes.get(&parent) else {
            return process;
        };
        let image = node.image.as_ref();
        if image.is_some_and(|image| kinship::starts_sessions(&image.exe)) {
            return process;
        }
        node.tree
    }

    fn replace_image(&mut self, process: ProcessKey, image: Image) {
        self.bytes += image.bytes();
        let image = Arc::new(image);
        let dropped = self.edit(process, |node| {
            if let Some(previous) = node.image.replace(image) {
                node.previous.insert(0, previous);
            }
            let keep = node.previous.len().min(PREVIOUS_IMAGES);
            node.previous.split_off(keep)
        });
        for image in dropped.into_iter().flatten() {
            self.drop_image(image);
        }
    }
}
