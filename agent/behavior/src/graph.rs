//! The process graph: who made whom, which image each runs, and whom each talked to.

mod node;
mod room;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::Limits;
use crate::event::{Event, EventBody, Exec, ProcessKey};
use crate::kinship;
use crate::story::Story;
pub(crate) use node::{Direction, Flow, Image, Node, key_of};

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
    bytes: usize,
    touches: u64,
}

impl Behavior {
    /// An empty graph.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: limits.floored(),
            nodes: HashMap::new(),
            by_pid: HashMap::new(),
            order: BTreeSet::new(),
            bytes: 0,
            touches: 0,
        }
    }

    /// Takes in one event; answers whose story it changed in a way worth judging.
    pub fn apply(&mut self, event: &Event) -> Vec<Trigger> {
        let process = event.process;
        let mut worth_judging = match &event.body {
            EventBody::Exec(exec) => self.exec(process, exec),
            EventBody::Fork { child } => self.fork(process, *child),
            EventBody::Exit { .. } => self.exit(process, event.mono_ns),
            EventBody::Connect { remote } => self.flow(process, Flow::out(event.mono_ns, *remote)),
            EventBody::Accept { remote, local_port } => {
                self.flow(process, Flow::into(event.mono_ns, *remote, *local_port))
            }
            _ => Vec::new(),
        };
        self.make_room();
        worth_judging.retain(|key| self.nodes.contains_key(key));
        worth_judging
            .into_iter()
            .map(|process| Trigger {
                process,
                cause_mono_ns: event.mono_ns,
            })
            .collect()
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
        self.bytes
    }

    /// How many processes are known.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// No process is known.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn exec(&mut self, process: ProcessKey, exec: &Exec) -> Vec<ProcessKey> {
        self.ensure(process, exec.parent);
        let node = &self.nodes[&process];
        if exec.snapshot && node.image.is_some() {
            // The live stream was faster than the snapshot, and knows better.
            return Vec::new();
        }
        self.replace_image(process, Image::new(exec, self.limits.image_bytes));
        if exec.snapshot {
            return Vec::new();
        }
        vec![process]
    }

    fn fork(&mut self, process: ProcessKey, child: ProcessKey) -> Vec<ProcessKey> {
        if process == child {
            return Vec::new();
        }
        self.ensure(process, None);
        let image = self.nodes[&process].image.clone();
        self.ensure(child, Some(process));
        if let Some(image) = image
            && self.nodes[&child].image.is_none()
        {
            self.edit(child, |node| node.image = Some(image));
        }
        Vec::new()
    }

    fn exit(&mut self, process: ProcessKey, mono_ns: u64) -> Vec<ProcessKey> {
        self.edit(process, |node| node.ended_ns = Some(mono_ns));
        Vec::new()
    }

    fn flow(&mut self, process: ProcessKey, flow: Flow) -> Vec<ProcessKey> {
        self.ensure(process, None);
        let limits = self.limits;
        let is_new = self
            .edit(process, |node| node.add_flow(flow, &limits))
            .unwrap_or(false);
        if !is_new || flow.is_local() || flow.direction == Direction::In {
            return Vec::new();
        }
        self.kin_worth_judging(process)
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

    fn is_interpreter(&self, process: ProcessKey) -> bool {
        self.nodes
            .get(&process)
            .and_then(|node| node.image.as_ref())
            .is_some_and(|image| kinship::is_interpreter(&image.exe))
    }

    /// Descendants with their depth, breadth first, newest first among brothers.
    pub(crate) fn descendants(
        &self,
        process: ProcessKey,
        depth: usize,
        most: usize,
    ) -> Vec<(ProcessKey, usize)> {
        let mut found = vec![(process, 0)];
        let mut next = 0;
        while next < found.len() && found.len() <= most {
            let (parent, at) = found[next];
            next += 1;
            let Some(node) = self.nodes.get(&parent) else {
                continue;
            };
            if at < depth {
                let room = most + 1 - found.len();
                let children = node.children.iter().rev().map(key_of).take(room);
                found.extend(children.map(|child| (child, at + 1)));
            }
        }
        found.remove(0);
        found
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

/// Whether an address is this machine itself; `connect` to 0.0.0.0 goes there too.
pub(crate) fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}
