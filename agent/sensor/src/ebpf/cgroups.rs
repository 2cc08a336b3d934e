//! The cgroups that were there before the sensor.

use std::collections::HashSet;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cordon_behavior::event::{Event, EventBody, ProcessKey};

use crate::out::Out;
use crate::{Scope, cgroup_root, clock, scope};

/// Most that are listed. systemd alone makes a few hundred.
const MOST: usize = 65_536;

/// Every cgroup in scope, parents first, as if it had been made at `mono_ns`. Those beyond a bound are
/// counted as lost.
pub(super) fn list(scope: &Scope, mono_ns: u64, out: &Out) -> Vec<Event> {
    let tree = match cgroup_root::open() {
        Ok(tree) => tree,
        Err(error) => {
            tracing::warn!(%error, "cannot list the cgroups that are there already");
            return Vec::new();
        }
    };
    let root = PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd()));
    let first = match scope {
        Scope::Cgroup(path) => root.join(below_mount(path)),
        // With a name behind it, so that the link is followed.
        Scope::Host | Scope::PidNamespace => root.join("."),
    };
    let mut found = Vec::new();
    // Depth first, and only folders that are still to be looked into are remembered.
    let mut waiting = vec![first];
    while let Some(path) = waiting.pop() {
        if found.len() >= MOST {
            out.loss("cgroup/found", 1 + waiting.len() as u64);
            break;
        }
        // It may have been removed meanwhile: then the live stream tells.
        let Ok(facts) = path.metadata() else {
            continue;
        };
        waiting.extend(below(&path));
        found.push(event(facts.ino(), name(&path, &root), mono_ns));
    }
    found
}

fn below(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = path.read_dir() else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// A scope may name its cgroup by where the tree is mounted.
fn below_mount(path: &Path) -> &Path {
    let mounted = scope::cgroup_root().and_then(|root| path.strip_prefix(root).ok());
    mounted.unwrap_or(path)
}

/// As the kernel names it: from the root of the hierarchy on.
fn name(path: &Path, root: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    format!("/{}", below.to_string_lossy())
}

fn event(id: u64, path: String, mono_ns: u64) -> Event {
    let created = true;
    Event {
        mono_ns,
        wall_ns: mono_ns.saturating_add_signed(clock::wall_offset_ns()),
        process: ProcessKey::NONE,
        cgroup_id: id,
        container: None,
        body: EventBody::Cgroup { id, path, created },
    }
}

/// What the stream tells of those listed a second time is left out of it.
pub(super) fn without_known(listed: &[Event], live: &mut Vec<Event>) {
    let known: HashSet<u64> = listed.iter().map(|event| event.cgroup_id).collect();
    live.retain(|event| {
        !matches!(&event.body, EventBody::Cgroup { id, created: true, .. } if known.contains(id))
    });
}
