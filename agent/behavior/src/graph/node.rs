//! One process of the graph.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::Limits;
use crate::event::{Exec, ProcessKey};
use crate::story::StdioKind;

/// An upper estimate of what a node costs beside its variable parts: itself, its entries in two
/// hash maps (at a load of one half) and in the order set.
const NODE_BYTES: usize = size_of::<Node>() + 2 * size_of::<(ProcessKey, Node)>() + 160;
/// An entry of a `BTreeSet`, at half-full leaves.
const CHILD_BYTES: usize = 40;

/// What makes a node worth keeping, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worth {
    /// Ended, and nobody descends from it.
    EndedLeaf,
    /// Ended, but part of somebody's lineage.
    EndedInner,
    /// Running.
    Living,
}

/// Which way a connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Out,
    In,
}

/// A connection, kept once per peer and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub mono_ns: u64,
    pub direction: Direction,
    pub remote: SocketAddr,
    /// `Out`: the remote port; `In`: the local port.
    pub port: u16,
}

impl Flow {
    pub(crate) fn out(mono_ns: u64, remote: SocketAddr) -> Self {
        Self {
            mono_ns,
            direction: Direction::Out,
            remote,
            port: remote.port(),
        }
    }

    pub(crate) fn into(mono_ns: u64, remote: SocketAddr, local_port: u16) -> Self {
        Self {
            mono_ns,
            direction: Direction::In,
            remote,
            port: local_port,
        }
    }

    pub(crate) fn is_local(&self) -> bool {
        super::is_local(self.remote.ip())
    }

    /// The same peer and port: shown once in a story.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.direction == other.direction
            && self.port == other.port
            && self.remote.ip().to_canonical() == other.remote.ip().to_canonical()
    }
}

/// A program image and how it was started.
#[derive(Debug)]
pub(crate) struct Image {
    pub exe: String,
    pub argv: Vec<String>,
    pub cwd: String,
    pub uid: u32,
    pub euid: u32,
    pub tty: bool,
    pub stdio: [StdioKind; 3],
    pub deleted_exe: bool,
    pub memfd: bool,
}

impl Image {
    /// Keeps at most `most` bytes of text; what is longer is cut, arguments last to first.
    pub(crate) fn new(exec: &Exec, most: usize) -> Self {
        let mut room = most;
        let exe = take(&exec.exe, &mut room);
        let cwd = take(&exec.cwd, &mut room);
        let mut argv = Vec::new();
        for argument in &exec.argv {
            // An argument costs its `String` too, or a million empty ones would be free.
            let Some(left) = room.checked_sub(size_of::<String>()) else {
                break;
            };
            room = left;
            argv.push(take(argument, &mut room));
        }
        argv.shrink_to_fit();
        Self {
            exe,
            argv,
            cwd,
            uid: exec.uid,
            euid: exec.euid,
            tty: exec.tty,
            stdio: exec.stdio,
            deleted_exe: exec.deleted_exe,
            memfd: exec.memfd,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let arguments: usize = self
            .argv
            .iter()
            .map(|argument| argument.capacity() + size_of::<String>())
            .sum();
        size_of::<Self>() + 32 + self.exe.capacity() + self.cwd.capacity() + arguments
    }
}

/// At most `room` bytes of a text, cut at a character; takes them off `room`.
fn take(text: &str, room: &mut usize) -> String {
    let kept = &text[..text.floor_char_boundary(*room)];
    *room -= kept.len();
    kept.to_owned()
}

/// One process.
#[derive(Debug)]
pub(crate) struct Node {
    pub parent: Option<ProcessKey>,
    pub tree: ProcessKey,
    /// Shared with the parent until the process executes something itself.
    pub image: Option<Arc<Image>>,
    /// What the process ran before, newest first.
    pub previous: Vec<Arc<Image>>,
    /// (start, pid) of each child that is still known, oldest first.
    pub children: BTreeSet<(u64, u32)>,
    /// Oldest first.
    pub flows: VecDeque<Flow>,
    pub ended_ns: Option<u64>,
    pub touched: u64,
}

/// A child's key from its entry.
pub(crate) fn key_of(&(start_ns, pid): &(u64, u32)) -> ProcessKey {
    ProcessKey { pid, start_ns }
}

impl Node {
    pub(crate) fn new(parent: Option<ProcessKey>, tree: ProcessKey) -> Self {
        Self {
            parent,
            tree,
            image: None,
            previous: Vec::new(),
            children: BTreeSet::new(),
            flows: VecDeque::new(),
            ended_ns: None,
            touched: 0,
        }
    }

    pub(crate) fn worth(&self) -> Worth {
        match (self.ended_ns, self.children.is_empty()) {
            (None, _) => Worth::Living,
            (Some(_), false) => Worth::EndedInner,
            (Some(_), true) => Worth::EndedLeaf,
        }
    }

    /// Everything but the images, which may be shared.
    pub(crate) fn bytes(&self) -> usize {
        NODE_BYTES
            + self.previous.capacity() * size_of::<Arc<Image>>()
            + self.children.len() * CHILD_BYTES
            + self.flows.capacity() * size_of::<Flow>()
    }

    /// Keeps a connection; false when the same peer and port was known already.
    pub(crate) fn add_flow(&mut self, flow: Flow, limits: &Limits) -> bool {
        if self.flows.iter().any(|known| known.same_as(&flow)) {
            return false;
        }
        let local = flow.is_local();
        let most = if local {
            limits.loopback
        } else {
            limits.connections
        };
        let kept = self.flows.iter().filter(|known| known.is_local() == local);
        if kept.count() >= most.max(1)
            && let Some(oldest) = self
                .flows
                .iter()
                .position(|known| known.is_local() == local)
        {
            self.flows.remove(oldest);
        }
        self.flows.push_back(flow);
        true
    }
}
