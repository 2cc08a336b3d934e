//! One process of the graph.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::doings::{Doings, cut};
use crate::event::{Container, Exec, Namespaces, ProcessKey};
use crate::story::StdioKind;

/// An upper estimate of what a node costs beside its variable parts: itself, its entries in two
/// hash maps (at a load of one half) and in the order set.
const NODE_BYTES: usize = size_of::<Node>() + 2 * size_of::<(ProcessKey, Node)>() + 160;
/// An entry of a `BTreeSet`, at half-full leaves.
const CHILD_BYTES: usize = 40;
/// Most bytes of text kept of an image beside its path, directory and arguments: the script, the
/// package and the names of environment variables. Apart, so that they never cost an argument.
const EXTRA_BYTES: usize = 1024;

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

/// A program image and how it was started.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Image {
    pub exe: String,
    pub argv: Vec<String>,
    pub argv_truncated: bool,
    pub script: Box<str>,
    pub env: Box<[Box<str>]>,
    pub package: Option<Box<str>>,
    pub first_seen: Option<bool>,
    pub world_writable: Option<bool>,
    pub cwd: String,
    pub uid: u32,
    pub euid: u32,
    pub gid: u32,
    pub egid: u32,
    pub login_uid: Option<u32>,
    pub session: Option<u32>,
    pub namespaces: Namespaces,
    pub tty: bool,
    pub stdio: [StdioKind; 3],
    pub deleted_exe: bool,
    pub memfd: bool,
    pub by_descriptor: bool,
}

impl Image {
    /// Keeps at most `most` bytes of text; what is longer is cut, arguments last to first.
    pub(crate) fn new(exec: &Exec, most: usize) -> Self {
        let mut room = most;
        let exe = take(&exec.exe, &mut room);
        let cwd = take(&exec.cwd, &mut room);
        let argv: Vec<String> = each(&exec.argv, &mut room).map(String::from).collect();
        let mut room = EXTRA_BYTES;
        Self {
            exe,
            cwd,
            argv_truncated: exec.argv_truncated || argv.len() < exec.argv.len(),
            argv: shrunk(argv),
            script: take(&exec.script, &mut room).into(),
            package: exec
                .origin
                .package
                .as_deref()
                .map(|name| take(name, &mut room).into()),
            env: each(&exec.env, &mut room).map(Box::from).collect(),
            first_seen: exec.origin.first_seen,
            world_writable: exec.origin.world_writable,
            uid: exec.uid,
            euid: exec.euid,
            gid: exec.gid,
            egid: exec.egid,
            login_uid: exec.login_uid,
            session: exec.session,
            namespaces: exec.namespaces,
            tty: exec.tty,
            stdio: exec.stdio,
            deleted_exe: exec.deleted_exe,
            memfd: exec.memfd,
            by_descriptor: exec.by_descriptor,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let arguments = self
            .argv
            .iter()
            .map(|one| one.capacity() + size_of::<String>());
        let names = self.env.iter().map(|one| one.len() + size_of::<Box<str>>());
        let package = self.package.as_ref().map_or(0, |name| name.len());
        let text = self.exe.capacity() + self.cwd.capacity() + self.script.len() + package;
        size_of::<Self>() + 32 + text + arguments.sum::<usize>() + names.sum::<usize>()
    }
}

/// As many of `texts` as there is room for, the last one cut.
fn each<'a>(texts: &'a [String], room: &'a mut usize) -> impl Iterator<Item = &'a str> {
    texts.iter().map_while(|text| {
        // A text costs its `String` too, or a million empty ones would be free.
        *room = room.checked_sub(size_of::<String>())?;
        let kept = cut(text, *room);
        *room -= kept.len();
        Some(kept)
    })
}

fn shrunk(mut texts: Vec<String>) -> Vec<String> {
    texts.shrink_to_fit();
    texts
}

/// At most `room` bytes of a text, cut at a character; takes them off `room`.
fn take(text: &str, room: &mut usize) -> String {
    let kept = cut(text, *room);
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
    /// Shared with every process of the same container.
    pub container: Option<Arc<Container>>,
    /// Shared with nobody; most processes have none.
    pub doings: Option<Box<Doings>>,
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
            container: None,
            doings: None,
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

    /// Everything but the images and the container, which may be shared.
    pub(crate) fn bytes(&self) -> usize {
        NODE_BYTES
            + self.previous.capacity() * size_of::<Arc<Image>>()
            + self.children.len() * CHILD_BYTES
            + self.doings.as_ref().map_or(0, |doings| doings.bytes())
    }
}
