//! Which container a cgroup, or a process, belongs to.
//!
//! Cgroups are learned from the events that name them. What they do not tell (the image, and the container where
//! the cgroup is unknown or of version 1) is asked of the loader, and known from its answer on.

mod images;
mod names;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::hash::Hash;
use std::io::Read;
use std::sync::Arc;

use cordon_behavior::event::{Container, ProcessKey};

use crate::CacheUse;
use crate::living::is_alive;

pub(crate) use images::image_of;

/// Most cgroups that are known; a large node has some thousands.
const CGROUPS: usize = 16_384;
/// Cgroups that were removed and are still known: what was done in them last may be told after their end.
const REMOVED: usize = 1024;
/// Most processes whose container is known by their key (without a cgroup v2 id).
const PROCESSES: usize = 16_384;
/// An upper estimate of an entry, its place in the table and its container, which others may share: an id
/// of 64 bytes, a runtime's name, an image's name.
const ENTRY_BYTES: usize = 48 + 160 + images::NAME_BYTES;
/// Longest name of a container that is not an id, as a cgroup's name.
const ID_BYTES: usize = 255;
/// Longest `/proc/PID/cgroup` that is read, bytes.
const CGROUP_FILE_BYTES: u64 = 64 << 10;

/// Which container a path's cgroup is of.
pub(crate) fn of_path(path: &str) -> Option<Container> {
    names::container_of(path).filter(|container| container.id.len() <= ID_BYTES)
}

/// The container of a process, by `/proc`; an error when it has ended, or another has its pid now.
pub(crate) fn of_process(process: ProcessKey) -> Result<Option<Container>, Gone> {
    let text = read_cgroups(process.pid).ok_or(Gone)?;
    // Read after the text, so that it is the text of this process.
    if !is_alive(process) {
        return Err(Gone);
    }
    Ok(of_cgroups(&text))
}

/// The process that was asked about has ended.
#[derive(Debug, PartialEq)]
pub(crate) struct Gone;

fn read_cgroups(pid: u32) -> Option<String> {
    let file = File::open(format!("/proc/{pid}/cgroup")).ok()?;
    let mut text = String::new();
    file.take(CGROUP_FILE_BYTES)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

/// Lines of `hierarchy:controllers:path`; the v2 one is often the last, and `/` where v1 is in use.
fn of_cgroups(text: &str) -> Option<Container> {
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.rev().find_map(of_path)
}

/// Whether containers may be in cgroups of version 1, which events do not carry.
pub(crate) fn has_version_one() -> bool {
    read_cgroups(std::process::id()).is_some_and(|text| names_version_one(&text))
}

/// Version 2 is hierarchy 0.
fn names_version_one(text: &str) -> bool {
    text.lines().any(|line| !line.starts_with("0:"))
}

/// What is known of a cgroup.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// No container's.
    Host,
    /// This one's.
    Container(Arc<Container>),
    /// It was asked for.
    Asked,
}

/// The containers, by cgroup and by process. For want of room any one is forgotten, and asked for again.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    cgroups: HashMap<u64, Place>,
    removed: VecDeque<u64>,
    /// `None` was asked for, or is in none.
    processes: HashMap<ProcessKey, Option<Arc<Container>>>,
    cgroups_evicted: u64,
    processes_evicted: u64,
}

impl Containers {
    /// What is known of a cgroup.
    pub(crate) fn cgroup(&self, id: u64) -> Option<&Place> {
        self.cgroups.get(&id)
    }

    /// Takes in what is known of a cgroup.
    pub(crate) fn put_cgroup(&mut self, id: u64, place: Place) {
        self.cgroups_evicted += make_room(&mut self.cgroups, id, CGROUPS);
        self.cgroups.insert(id, place);
    }

    /// What was found out of a cgroup that was asked for; nothing when that failed, and the next event asks again.
    pub(crate) fn answer_cgroup(&mut self, id: u64, place: Option<Place>) {
        match (self.cgroups.get_mut(&id), place) {
            (Some(known), Some(place)) => *known = place,
            (Some(Place::Asked), None) => drop(self.cgroups.remove(&id)),
            _ => {}
        }
    }

    /// A cgroup that is gone is known for a while yet.
    pub(crate) fn remove_cgroup(&mut self, id: u64) {
        self.removed.push_back(id);
        if self.removed.len() > REMOVED
            && let Some(oldest) = self.removed.pop_front()
        {
            self.cgroups.remove(&oldest);
        }
    }

    pub(crate) fn process(&self, process: ProcessKey) -> Option<Arc<Container>> {
        self.processes.get(&process).cloned().flatten()
    }

    pub(crate) fn put_process(&mut self, process: ProcessKey, container: Option<Arc<Container>>) {
        self.processes_evicted += make_room(&mut self.processes, process, PROCESSES);
        self.processes.insert(process, container);
    }

    /// What was found out of a process that was asked for, unless it has ended meanwhile.
    pub(crate) fn answer_process(
        &mut self,
        process: ProcessKey,
        container: Option<Arc<Container>>,
    ) {
        if let Some(known) = self.processes.get_mut(&process) {
            *known = container;
        }
    }

    pub(crate) fn end_process(&mut self, process: ProcessKey) {
        self.processes.remove(&process);
    }

    pub(crate) fn usage(&self) -> [CacheUse; 2] {
        let of = |name, entries: usize, most: usize, evicted| CacheUse {
            name,
            bytes: (entries * ENTRY_BYTES) as u64,
            limit_bytes: (most * ENTRY_BYTES) as u64,
            entries: entries as u64,
            evicted,
        };
        let cgroups = self.cgroups.len();
        let processes = self.processes.len();
        [
            of("containers", cgroups, CGROUPS, self.cgroups_evicted),
            of(
                "container_processes",
                processes,
                PROCESSES,
                self.processes_evicted,
            ),
        ]
    }
}

/// Lets any entry go where a new one would be one too many; how many went.
fn make_room<K: Hash + Eq + Copy, V>(map: &mut HashMap<K, V>, key: K, most: usize) -> u64 {
    if map.len() < most || map.contains_key(&key) {
        return 0;
    }
    let any = map.keys().next().copied();
    any.map_or(0, |any| u64::from(map.remove(&any).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_the_container_that_any_of_its_cgroups_names() {
        let id = "7".repeat(64);
        let one = format!(
            "12:cpu,cpuacct:/docker/{id}\n1:name=systemd:/docker/{id}\n0::/system.slice/docker.service\n"
        );
        assert_eq!(of_cgroups(&one).unwrap().id, id);
        let two = format!("0::/system.slice/docker-{id}.scope\n");
        assert_eq!(of_cgroups(&two).unwrap().runtime, "docker");
        assert_eq!(of_cgroups("4:memory:/\n0::/init.scope\n"), None);
    }

    #[test]
    fn version_one_is_told_from_version_two() {
        assert!(!names_version_one("0::/init.scope\n"));
        assert!(names_version_one("1:name=systemd:/\n0::/\n"));
    }

    #[test]
    fn a_process_that_has_ended_is_not_taken_for_another() {
        let own = ProcessKey {
            pid: std::process::id(),
            start_ns: 0,
        };
        assert!(of_process(own).is_ok());
        assert_eq!(of_process(ProcessKey { start_ns: 1, ..own }), Err(Gone));
    }
}
