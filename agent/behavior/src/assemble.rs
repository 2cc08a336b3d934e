//! Writing down the story of one process.

mod facts;
mod network;

use std::sync::Arc;

use crate::capabilities;
use crate::event::{Namespaces, ProcessKey};
use crate::graph::{Behavior, Doings, Image, Node, Seen as _, key_of};
use crate::story::{FileOperation, Process, Relative, Story};

/// Descendants whose doings count as the process's own.
const DESCENDANT_DEPTH: usize = 4;
const DESCENDANTS: usize = 256;
/// A lineage longer than this is not climbed to its end.
const CLIMB: usize = 64;

/// Who did something that the story tells: how far below the process, and what.
type Doer<'a> = (usize, &'a Doings);

pub(crate) fn story(graph: &Behavior, key: ProcessKey) -> Option<Story> {
    let node = graph.nodes.get(&key)?;
    let image = node.image.as_ref()?;
    let doers = doers(graph, key);
    let lenders = network::lenders(graph, key);
    let flows = network::flows(graph, &doers, &lenders);
    Some(Story {
        id: format!("{}@{}", key.pid, key.start_ns),
        process: Some(process(node, image)),
        ancestors: ancestors(graph, key, image),
        children: children(graph, key, image),
        connections: flows.iter().map(network::connection).collect(),
        dns: network::names(graph, &doers, &lenders),
        files: files(graph, &doers),
        facts: facts::facts(graph, key, &doers, &flows),
        ..Story::default()
    })
}

/// The process, then its descendants; most of them did nothing of the kind and are left out.
fn doers(graph: &Behavior, key: ProcessKey) -> Vec<Doer<'_>> {
    let below = graph.descendants(key, DESCENDANT_DEPTH, DESCENDANTS);
    let all = std::iter::once((key, 0)).chain(below);
    all.filter_map(|(key, depth)| Some((depth, graph.doings(key)?)))
        .collect()
}

fn process(node: &Node, image: &Image) -> Process {
    let doings = node.doings.as_deref();
    let changed = doings.map(|doings| doings.namespaces).unwrap_or_default();
    Process {
        exe: image.exe.clone(),
        argv: image.argv.clone(),
        cwd: image.cwd.clone(),
        uid: known(image.uid),
        euid: known(image.euid),
        tty: Some(image.tty),
        stdin: image.stdio[0],
        stdout: image.stdio[1],
        stderr: image.stdio[2],
        deleted_exe: image.deleted_exe,
        memfd: image.memfd,
        gid: known(image.gid),
        egid: known(image.egid),
        argv_truncated: image.argv_truncated,
        script: image.script.to_string(),
        env: image.env.iter().map(ToString::to_string).collect(),
        package: image.package.as_ref().map(ToString::to_string),
        first_seen: image.first_seen,
        world_writable: image.world_writable,
        by_descriptor: image.by_descriptor,
        uid_raised: doings.and_then(|doings| Some(doings.raised?.1)),
        capabilities_gained: capabilities::names(doings.map_or(0, |doings| doings.gained)),
        namespaces: namespaces(image.namespaces.union(changed)),
        login_uid: image.login_uid,
        session: image.session,
        container: node.container.as_deref().cloned(),
    }
}

/// The kernel's own "no id" stands for one that a log does not tell.
fn known(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

fn namespaces(set: Namespaces) -> Vec<String> {
    if set.is_empty() {
        return Vec::new();
    }
    set.names().map(str::to_owned).collect()
}

fn relative(image: &Image) -> Relative {
    Relative {
        exe: image.exe.clone(),
        argv: image.argv.clone(),
        uid: known(image.uid),
    }
}

/// What the process ran before, then its makers. A fork that executed nothing shares its maker's
/// image and is not told twice.
fn ancestors(graph: &Behavior, key: ProcessKey, own: &Arc<Image>) -> Vec<Relative> {
    let mut told = own;
    let mut found = Vec::new();
    let mut at = Some(key);
    let mut is_self = true;
    for _ in 0..CLIMB {
        let Some(node) = at.and_then(|key| graph.nodes.get(&key)) else {
            break;
        };
        let current = node.image.iter().filter(|_| !is_self);
        for image in current.chain(node.previous.iter()) {
            if !Arc::ptr_eq(image, told) {
                found.push(relative(image));
                told = image;
            }
        }
        if found.len() >= graph.limits.ancestors {
            break;
        }
        is_self = false;
        at = node.parent;
    }
    found.truncate(graph.limits.ancestors);
    found
}

/// The newest children, in the order of their start; forks that executed nothing are left out.
fn children(graph: &Behavior, key: ProcessKey, own: &Arc<Image>) -> Vec<Relative> {
    let Some(node) = graph.nodes.get(&key) else {
        return Vec::new();
    };
    let newest = node.children.iter().rev().map(key_of);
    let mut found: Vec<Relative> = newest
        .filter_map(|child| graph.nodes.get(&child)?.image.as_ref())
        .filter(|image| !Arc::ptr_eq(image, own))
        .take(graph.limits.children)
        .map(|image| relative(image))
        .collect();
    found.reverse();
    found
}

/// The most sensitive, then the nearest, then the newest; told in the order of their first time.
fn files(graph: &Behavior, doers: &[Doer]) -> Vec<FileOperation> {
    let mut all: Vec<_> = doers
        .iter()
        .flat_map(|(far, doings)| doings.files.iter().map(move |(at, done)| (*far, *at, done)))
        .collect();
    all.sort_by_key(|(far, at, done)| {
        let least_telling_last = std::cmp::Reverse(done.telling());
        (least_telling_last, *far, std::cmp::Reverse(*at))
    });
    let mut kept = distinct(
        all.into_iter().map(|(_, at, done)| (at, done)),
        graph.limits.files,
    );
    kept.sort_by_key(|(at, _)| *at);
    let told = kept.into_iter().map(|(_, done)| FileOperation {
        op: done.op.name().to_owned(),
        path: done.path.to_string(),
        to: done.to.as_ref().map(ToString::to_string),
        sensitivity: done.sensitivity.name().to_owned(),
    });
    told.collect()
}

/// The first `most` of `all` that are not the same.
fn distinct<'a, T: crate::graph::Seen>(
    all: impl Iterator<Item = (u64, &'a T)>,
    most: usize,
) -> Vec<(u64, &'a T)> {
    let mut kept: Vec<(u64, &T)> = Vec::new();
    for (at, one) in all {
        if kept.len() >= most {
            break;
        }
        if !kept.iter().any(|(_, known)| known.is_same(one)) {
            kept.push((at, one));
        }
    }
    kept
}
