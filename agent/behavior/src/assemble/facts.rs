//! Typed facts of a process and its descendants.

use super::{CLIMB, Doer};
use crate::event::ProcessKey;
use crate::graph::{Behavior, Fact, Flow, LoginSeen, Rates};
use crate::story::{Beacon, Facts, FileRates, Login, Mount};

pub(super) fn facts(graph: &Behavior, key: ProcessKey, doers: &[Doer], flows: &[Flow]) -> Facts {
    let mut facts = Facts {
        file_rates: graph
            .doings(key)
            .and_then(|doings| file_rates(&doings.rates)),
        beacons: beacons(flows, graph.limits.facts),
        logins: logins(graph, key),
        ..Facts::default()
    };
    let mut all: Vec<(u64, &Fact)> = doers
        .iter()
        .flat_map(|(_, doings)| doings.facts.iter().map(|(at, fact)| (*at, fact)))
        .collect();
    all.sort_by_key(|(at, _)| *at);
    // The newest of each kind; put in order again at the end.
    for (_, fact) in all.into_iter().rev() {
        put(&mut facts, fact, graph.limits.facts);
    }
    reverse(&mut facts);
    facts
}

fn put(facts: &mut Facts, fact: &Fact, most: usize) {
    match fact {
        Fact::ExecutableMemory(path) => add(&mut facts.executable_memory, path.to_string(), most),
        Fact::Ptraced(exe) => add(&mut facts.ptraced, exe.to_string(), most),
        Fact::Module(name) => add(&mut facts.modules, name.to_string(), most),
        Fact::Bpf(name) => add(&mut facts.bpf, name.to_string(), most),
        Fact::RawSocket(family) => add(&mut facts.raw_sockets, family.name().to_owned(), most),
        Fact::Mount {
            path,
            attached,
            fs_type,
        } => {
            let mount = Mount {
                path: path.to_string(),
                attached: *attached,
                fs_type: fs_type.to_string(),
            };
            add(&mut facts.mounts, mount, most);
        }
        Fact::Login(_) => {}
    }
}

fn add<T: PartialEq>(list: &mut Vec<T>, item: T, most: usize) {
    if list.len() < most && !list.contains(&item) {
        list.push(item);
    }
}

fn reverse(facts: &mut Facts) {
    facts.executable_memory.reverse();
    facts.ptraced.reverse();
    facts.modules.reverse();
    facts.bpf.reverse();
    facts.raw_sockets.reverse();
    facts.mounts.reverse();
}

fn file_rates(rates: &Rates) -> Option<FileRates> {
    let told = || FileRates {
        written: rates.written,
        created: rates.created,
        renamed: rates.renamed,
        unlinked: rates.unlinked,
        per_second: rates.per_second,
        directories: rates.directories,
        entropy: rates.entropy(),
        encrypted: rates.encrypted,
    };
    (!rates.is_empty()).then(told)
}

/// The steadiest first.
fn beacons(flows: &[Flow], most: usize) -> Vec<Beacon> {
    let outside = flows
        .iter()
        .filter(|flow| flow.is_outbound() && !flow.is_local());
    let mut found: Vec<Beacon> = outside
        .filter_map(|flow| {
            let rhythm = flow.rhythm()?;
            Some(Beacon {
                address: flow.address.to_string(),
                port: flow.port,
                times: rhythm.times,
                every_ms: (rhythm.every_ns / 1e6) as u64,
                variation: rhythm.variation as f32,
            })
        })
        .collect();
    found.sort_by(|a, b| a.variation.total_cmp(&b.variation));
    found.truncate(most);
    found
}

/// How somebody came to this process: logins of its lineage and of what it made, else the latest
/// ones of the host by the uid that logged in.
fn logins(graph: &Behavior, key: ProcessKey) -> Vec<Login> {
    let mut found: Vec<(u64, &LoginSeen)> = Vec::new();
    // Most stories are told on hosts that nobody logs in to, and need not be climbed for it.
    let mut at = Some(key).filter(|_| graph.has_logins);
    for _ in 0..CLIMB {
        let Some(node) = at.and_then(|key| graph.nodes.get(&key)) else {
            break;
        };
        if let Some(doings) = &node.doings {
            found.extend(doings.facts.iter().filter_map(|(at, fact)| match fact {
                Fact::Login(login) => Some((*at, login)),
                _ => None,
            }));
        }
        at = node.parent;
    }
    let image = graph.nodes.get(&key).and_then(|node| node.image.as_ref());
    let uid = image.and_then(|image| image.login_uid);
    if found.is_empty() && uid.is_some() {
        let of_user = graph.logins.iter().filter(|(_, one)| one.login.uid == uid);
        found.extend(of_user.map(|(at, one)| (*at, one)));
    }
    found.sort_by_key(|(at, _)| *at);
    let newest = found.len().saturating_sub(graph.limits.facts);
    found[newest..].iter().map(|(_, one)| login(one)).collect()
}

fn login(seen: &LoginSeen) -> Login {
    Login {
        method: seen.login.method.name().to_owned(),
        user: seen.login.user.clone(),
        uid: seen.login.uid,
        from: seen.login.from.clone(),
        success: seen.login.success,
        times: seen.times,
    }
}
