//! Whom a process and its kin talked to, and which names they asked for.

use std::cmp::Reverse;

use super::{DESCENDANT_DEPTH, Doer, distinct};
use crate::event::ProcessKey;
use crate::graph::{Behavior, Doings, FLOW_CLASSES, Flow, Seen as _, most_flows};
use crate::story::Connection;

/// Ancestors this near lend their connections: a program that connects, then forks or executes a
/// shell on that socket. Farther ones are daemons with traffic of their own.
const LENDING_ANCESTORS: usize = 3;
/// Connections of each class, and names, taken of one ancestor: its newest.
const LENT: usize = 4;
/// How many kinds of flows have bounds of their own.
const KINDS: usize = FLOW_CLASSES * 2;

/// Flows of the process, then of its descendants, then of its near ancestors; when there are too
/// many of a kind the farther and the older are left out. Told in the order of their start, each
/// peer and port once.
pub(super) fn flows(graph: &Behavior, doers: &[Doer], lenders: &[Doer]) -> Vec<Flow> {
    let mut candidates: Vec<(usize, Flow)> = Vec::new();
    for (far, doings) in doers {
        candidates.extend(newest(doings).map(|flow| (*far, flow)));
    }
    for (far, doings) in lenders {
        let mut lent = [0; FLOW_CLASSES];
        candidates.extend(newest(doings).map(|flow| (*far, flow)).filter(|(_, flow)| {
            lent[flow.class()] += 1;
            lent[flow.class()] <= LENT
        }));
    }
    candidates.sort_by_key(|(far, flow)| (*far, Reverse(flow.first_ns())));
    let mut kept: Vec<Flow> = Vec::new();
    let mut counts = [0; KINDS];
    for (_, flow) in &candidates {
        let count = &mut counts[usize::from(flow.kind())];
        let is_room = *count < most_flows(flow, &graph.limits);
        if is_room && !kept.iter().any(|known| known.is_same(flow)) {
            *count += 1;
            kept.push(*flow);
        }
    }
    kept.sort_by_key(Flow::first_ns);
    if kept.len() < candidates.len() {
        sum_up(&mut kept, candidates);
    }
    kept
}

fn newest(doings: &Doings) -> impl Iterator<Item = Flow> {
    doings.flows.iter().rev().map(|(_, flow)| *flow)
}

/// Near ancestors that did something, and how far they are.
pub(super) fn lenders(graph: &Behavior, key: ProcessKey) -> Vec<Doer<'_>> {
    let mut found = Vec::new();
    let mut above = key;
    for hop in 0..LENDING_ANCESTORS {
        let Some(parent) = graph.parent(above) else {
            break;
        };
        found.extend(
            graph
                .doings(parent)
                .map(|doings| (DESCENDANT_DEPTH + hop, doings)),
        );
        above = parent;
    }
    found
}

/// What several processes had with one end is one account, and may have a rhythm that none of them
/// has alone: a loop that starts a program anew each minute.
fn sum_up(kept: &mut [Flow], mut all: Vec<(usize, Flow)>) {
    all.sort_by_key(|(_, flow)| flow.first_ns());
    for sum in kept {
        let mut same = all
            .iter()
            .map(|(_, flow)| flow)
            .filter(|flow| flow.is_same(sum));
        if let Some(first) = same.next() {
            *sum = same.fold(*first, |mut sum, flow| {
                sum.merge(*flow);
                sum
            });
        }
    }
}

pub(super) fn connection(flow: &Flow) -> Connection {
    let account = flow.account();
    Connection {
        direction: flow
            .direction
            .map_or("listen", |direction| direction.name())
            .to_owned(),
        protocol: flow.protocol.name().to_owned(),
        address: flow.address.to_string(),
        port: flow.port,
        times: Some(flow.times()).filter(|times| *times > 1),
        sent: account.map(|(sent, ..)| sent),
        received: account.map(|(_, received, _)| received),
        lasted_ms: account.map(|(.., lasted_ms)| u64::from(lasted_ms)),
    }
}

/// As with flows: the process, its descendants, its near ancestors.
pub(super) fn names(graph: &Behavior, doers: &[Doer], lenders: &[Doer]) -> Vec<String> {
    let mut all = Vec::new();
    for (far, doings) in doers {
        all.extend(doings.names.iter().map(|(at, name)| (*far, *at, name)));
    }
    for (far, doings) in lenders {
        let newest = doings.names.iter().rev().take(LENT);
        all.extend(newest.map(|(at, name)| (*far, *at, name)));
    }
    all.sort_by_key(|(far, at, _)| (*far, Reverse(*at)));
    let mut kept = distinct(
        all.into_iter().map(|(_, at, name)| (at, name)),
        graph.limits.names,
    );
    kept.sort_by_key(|(at, _)| *at);
    kept.into_iter()
        .map(|(_, name)| name.0.to_string())
        .collect()
}
