//! Writing down the story of one process.

use std::collections::HashSet;
use std::sync::Arc;

use crate::event::ProcessKey;
use crate::graph::{Behavior, Direction, Flow, Image, key_of};
use crate::story::{Connection, Process, Relative, Story};

/// Ancestors this near lend their connections: a program that connects, then forks or executes a
/// shell on that socket. Farther ones are daemons with traffic of their own.
const LENDING_ANCESTORS: usize = 3;
/// Connections taken of one ancestor: its newest.
const LENT: usize = 4;
/// Descendants whose connections count as the process's own doing.
const DESCENDANT_DEPTH: usize = 4;
const DESCENDANTS: usize = 256;
/// A lineage longer than this is not climbed to its end.
const CLIMB: usize = 64;

pub(crate) fn story(graph: &Behavior, key: ProcessKey) -> Option<Story> {
    let node = graph.nodes.get(&key)?;
    let image = node.image.as_ref()?;
    Some(Story {
        id: format!("{}@{}", key.pid, key.start_ns),
        process: Some(process(image)),
        ancestors: ancestors(graph, key, image),
        children: children(graph, key, image),
        connections: connections(graph, key),
        ..Story::default()
    })
}

fn process(image: &Image) -> Process {
    Process {
        exe: image.exe.clone(),
        argv: image.argv.clone(),
        cwd: image.cwd.clone(),
        uid: Some(image.uid),
        euid: Some(image.euid),
        tty: Some(image.tty),
        stdin: image.stdio[0],
        stdout: image.stdio[1],
        stderr: image.stdio[2],
        deleted_exe: image.deleted_exe,
        memfd: image.memfd,
    }
}

fn relative(image: &Image) -> Relative {
    Relative {
        exe: image.exe.clone(),
        argv: image.argv.clone(),
        uid: Some(image.uid),
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

/// Connections of the process, then of its descendants, then of its near ancestors; when there are
/// too many the farther and the older are left out. Told in the order of their start.
fn connections(graph: &Behavior, key: ProcessKey) -> Vec<Connection> {
    let mut candidates: Vec<(usize, Flow)> = flows_of(graph, key, usize::MAX, 0);
    for (below, depth) in graph.descendants(key, DESCENDANT_DEPTH, DESCENDANTS) {
        candidates.extend(flows_of(graph, below, usize::MAX, depth));
    }
    let mut seen = HashSet::from([key]);
    let mut above = key;
    for hop in 0..LENDING_ANCESTORS {
        let Some(parent) = graph.parent(above).filter(|parent| seen.insert(*parent)) else {
            break;
        };
        candidates.extend(flows_of(graph, parent, LENT, DESCENDANT_DEPTH + hop));
        above = parent;
    }
    candidates.sort_by_key(|(far, flow)| (*far, std::cmp::Reverse(flow.mono_ns)));
    let mut kept: Vec<Flow> = Vec::new();
    let (mut outside, mut local) = (0, 0);
    for (_, flow) in candidates {
        let (count, most) = if flow.is_local() {
            (&mut local, graph.limits.loopback)
        } else {
            (&mut outside, graph.limits.connections)
        };
        if *count < most && !kept.iter().any(|known| known.same_as(&flow)) {
            *count += 1;
            kept.push(flow);
        }
    }
    kept.sort_by_key(|flow| flow.mono_ns);
    kept.iter().map(connection).collect()
}

fn flows_of(graph: &Behavior, key: ProcessKey, most: usize, far: usize) -> Vec<(usize, Flow)> {
    let flows = graph.nodes.get(&key).map(|node| &node.flows);
    let newest = flows.into_iter().flat_map(|flows| flows.iter().rev());
    newest.take(most).map(|flow| (far, *flow)).collect()
}

fn connection(flow: &Flow) -> Connection {
    Connection {
        direction: match flow.direction {
            Direction::Out => "out".to_owned(),
            Direction::In => "in".to_owned(),
        },
        protocol: "tcp".to_owned(),
        address: flow.remote.ip().to_canonical().to_string(),
        port: flow.port,
    }
}
