//! Cutting a process and everything that descends from it off the network, while it runs on and the rest of the host is
//! untouched.
//!
//! They are moved into a cgroup of their own, to which nothing passes and from which nothing leaves: not by loopback
//! either, where a proxy or a resolver would be a way out. Who is forked is born there, so nobody has to stand still: it
//! is looked for others until a look that began when all were inside finds nobody new.

mod bpf;
mod place;
mod probe;
mod sockets;

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use cordon_behavior::event::ProcessKey;
use cordon_proto::record::{Probe, StoppedProcess};
use serde::{Deserialize, Serialize};

use super::plan::{self, Name, Table};
use super::{MOST_LOOKS, PROTECTED, Stopped, Tree, look, name_of, named, ticks_per_second};
use crate::clock::boot_id;
use crate::error::ContainError;
use crate::flows;
use crate::state::StateDir;
use place::Place;
pub(crate) use place::{NAME as CUT_NAME, cgroup as cut_cgroup};

const FILE: &str = "cut_off.json";

/// Cuts trees off the network, and lets them back.
#[derive(Debug)]
pub struct Cuts {
    state: StateDir,
    place: Place,
    agent: u32,
}

/// What came of cutting a tree off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutOff {
    /// Who is cut off now, who could not be, who was left alone. `is_whole`: all are inside, and so is the proof.
    pub stopped: Stopped,
    /// Sockets that were ended.
    pub cut_sockets: usize,
    /// Tries from inside, and from outside to compare.
    pub probes: Vec<Probe>,
    /// What could not be done, in words.
    pub warnings: Vec<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct OnDisk {
    /// After another boot nobody of them runs.
    boot: String,
    /// The rules as they were listed when they went in.
    rules: String,
    homes: Vec<Home>,
}

/// Where somebody was before.
#[derive(Clone, Serialize, Deserialize)]
struct Home {
    #[serde(flatten)]
    name: Name,
    exe: String,
    cgroup: String,
    /// Of the tree as one of which it was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<Name>,
}

impl Tree {
    /// The tree of whoever has this pid now, as far as `/proc` shows who belongs to it; `None` when nobody has it.
    pub fn of_pid(pid: u32, protected: Vec<String>) -> Option<Self> {
        let name = Name::read(pid)?;
        Some(Self {
            root: ProcessKey {
                pid,
                start_ns: name.start_ticks * (1_000_000_000 / ticks_per_second()),
            },
            known: Vec::new(),
            protected,
        })
    }
}

impl Cuts {
    /// Uses (and makes, where missing) `state_dir`. `agent` is the pid of the agent: it, what it runs under and what
    /// belongs to it are never touched.
    pub fn open(state_dir: &Path, agent: u32) -> Result<Self, ContainError> {
        Ok(Self {
            state: StateDir::open(state_dir)?,
            place: Place::find()?,
            agent,
        })
    }

    /// The same for processes below one cgroup, which is all of the machine to it.
    pub fn open_below(state_dir: &Path, agent: u32, top: &Path) -> Result<Self, ContainError> {
        let cuts = Self::open(state_dir, agent)?;
        let place = cuts.place.below(top);
        Ok(Self { place, ..cuts })
    }

    /// How many are cut off, forks too.
    pub fn count(&self) -> usize {
        self.place.inside().map_or(0, |inside| inside.len())
    }

    /// Cuts a tree off: on disk first, then rules and program, then everybody is moved, then their sockets are ended.
    pub fn cut_off(&self, tree: &Tree) -> Result<CutOff, ContainError> {
        let _lock = self.state.lock()?;
        let mut done = CutOff::default();
        let table = look()?;
        if let Some(why) = plan::untouchable(&table, tree.root.pid, self.agent) {
            let root = name_of(tree.root, ticks_per_second());
            done.stopped.spared.push(named(root, &root.exe(), why));
            return Ok(done);
        }
        let mut state = self.read()?;
        self.put_in(&mut state, &mut done.warnings)?;
        self.move_all(tree, table, &mut state, &mut done.stopped)?;
        self.end_sockets(&mut done)?;
        done.probes = probe::probe(&self.place.procs());
        let holds = |probe: &Probe| probe.reached == probe.expected;
        done.stopped.is_whole &= !done.probes.is_empty() && done.probes.iter().all(holds);
        self.clean_up_if_empty(&state)?;
        Ok(done)
    }

    /// Puts back what is missing of rules and program, and who was moved out. True when anything had to be done.
    pub fn repair(&self) -> Result<bool, ContainError> {
        let _lock = self.state.lock()?;
        let mut state = self.read()?;
        if state.homes.is_empty() && self.place.inside()?.is_empty() {
            self.take_out()?;
            return Ok(false);
        }
        let mut changed = self.put_in(&mut state, &mut Vec::new())?;
        let inside: HashSet<u32> = self.place.inside()?.into_iter().collect();
        let outside = state.homes.iter().map(|home| home.name);
        for name in outside.filter(|name| !inside.contains(&name.pid) && !name.has_ended()) {
            changed |= self.place.take(name.pid).unwrap_or(false);
        }
        self.clean_up_if_empty(&state)?;
        Ok(changed)
    }

    /// Lets everybody back, each to the cgroup where he was, and who was made meanwhile to that of his maker.
    pub fn rejoin(&self) -> Result<Stopped, ContainError> {
        let _lock = self.state.lock()?;
        let state = self.read()?;
        let back = self.let_back(&state, |_| None)?;
        if back.is_whole {
            self.take_out()?;
        }
        Ok(back)
    }

    /// The same for those of one tree: who was cut off as one of it, and who belongs to it now. With the last of them
    /// everybody who was made inside and is nobody's any more.
    pub fn rejoin_tree(&self, tree: &Tree) -> Result<Stopped, ContainError> {
        let _lock = self.state.lock()?;
        let state = self.read()?;
        let root = name_of(tree.root, ticks_per_second());
        let mut known = tree.told();
        let ours = state.homes.iter().filter(|home| home.root == Some(root));
        known.extend(ours.map(|home| home.name));
        let mut back = self.let_back(&state, |table| Some(plan::members(table, &known)))?;
        if !back.is_whole {
            return Ok(back);
        }
        let moved: HashSet<u32> = back.processes.iter().map(|one| one.pid).collect();
        let is_of_others =
            |home: &&Home| !known.contains(&home.name) && !moved.contains(&home.name.pid);
        let homes: Vec<Home> = state.homes.iter().filter(is_of_others).cloned().collect();
        if homes.is_empty() {
            let rest = self.let_back(&state, |_| None)?;
            back.processes.extend(rest.processes);
            back.survivors.extend(rest.survivors);
            back.is_whole = rest.is_whole;
            if back.is_whole {
                self.take_out()?;
            }
            return Ok(back);
        }
        self.state.write_file(FILE, &OnDisk { homes, ..state })?;
        Ok(back)
    }

    fn take_out(&self) -> Result<(), ContainError> {
        self.place.take_out()?;
        self.state.remove_file(FILE)
    }

    /// Moves out those whom `whom` names of a look at everybody, all without a name, until none of them is inside.
    fn let_back(
        &self,
        state: &OnDisk,
        whom: impl Fn(&Table) -> Option<HashSet<Name>>,
    ) -> Result<Stopped, ContainError> {
        let mut back = Stopped::default();
        let mut seen = BTreeSet::new();
        for _ in 0..MOST_LOOKS {
            let mut inside = self.place.inside()?;
            let table = look()?;
            if let Some(whom) = whom(&table) {
                let pids: HashSet<u32> = whom.iter().map(|name| name.pid).collect();
                inside.retain(|pid| pids.contains(pid));
            }
            if inside.is_empty() {
                back.is_whole = true;
                break;
            }
            for pid in inside {
                let told = named_pid(pid, "");
                match self.place.give_back(pid, home_of(pid, &table, state)) {
                    Ok(true) if seen.insert(pid) => back.processes.push(told),
                    Ok(_) => {}
                    Err(error) => back.survivors.push(StoppedProcess {
                        why: error.to_string(),
                        ..told
                    }),
                }
            }
            if !back.survivors.is_empty() {
                return Ok(back);
            }
        }
        Ok(back)
    }

    fn put_in(&self, state: &mut OnDisk, warnings: &mut Vec<String>) -> Result<bool, ContainError> {
        let put_in = self.place.put_in(&state.rules)?;
        warnings.extend(put_in.warnings);
        state.rules = put_in.listed;
        self.state.write_file(FILE, state)?;
        Ok(put_in.changed)
    }

    fn move_all(
        &self,
        tree: &Tree,
        mut table: Table,
        state: &mut OnDisk,
        stopped: &mut Stopped,
    ) -> Result<(), ContainError> {
        let mut known = tree.told();
        let mut met: BTreeSet<Name> = BTreeSet::new();
        for _ in 0..MOST_LOOKS {
            let inside: HashSet<u32> = self.place.inside()?.into_iter().collect();
            let is_new = |name: &Name| {
                !inside.contains(&name.pid) && !met.contains(name) && !name.has_ended()
            };
            let members = plan::members(&table, &known).into_iter();
            let new: Vec<Name> = members.filter(is_new).collect();
            if new.is_empty() {
                stopped.is_whole = true;
                return Ok(());
            }
            met.extend(&new);
            known.extend(&new);
            let new = self.movable(tree, &table, new, stopped);
            state.homes.extend(new.iter().cloned());
            self.state.write_file(FILE, state)?;
            for Home { name, exe, .. } in new {
                match self.place.take(name.pid) {
                    Ok(true) => stopped.processes.push(named(name, &exe, "")),
                    Ok(false) => {}
                    Err(error) => stopped
                        .survivors
                        .push(named(name, &exe, &error.to_string())),
                }
            }
            table = look()?;
        }
        Ok(())
    }

    fn movable(
        &self,
        tree: &Tree,
        table: &Table,
        new: Vec<Name>,
        stopped: &mut Stopped,
    ) -> Vec<Home> {
        let mut movable = Vec::new();
        for name in new {
            let exe = name.exe();
            let protected = || tree.protected.contains(&exe).then_some(PROTECTED);
            let why = plan::untouchable(table, name.pid, self.agent).or_else(protected);
            match (why, place::home_of(name.pid)) {
                (Some(why), _) => stopped.spared.push(named(name, &exe, why)),
                (None, Some(cgroup)) => movable.push(Home {
                    name,
                    exe,
                    cgroup,
                    root: Some(name_of(tree.root, ticks_per_second())),
                }),
                // It has ended, or lies above our own namespace, from where nobody could be put back.
                (None, None) if name.has_ended() => {}
                (None, None) => {
                    let why = "its cgroup is outside of this namespace";
                    stopped.survivors.push(named(name, &exe, why));
                }
            }
        }
        movable
    }

    fn end_sockets(&self, done: &mut CutOff) -> Result<(), ContainError> {
        let inside: BTreeSet<u32> = self.place.inside()?.into_iter().collect();
        let held = sockets::held_by(&inside);
        let cut = flows::cut_held(&held.own);
        done.cut_sockets = cut.sockets;
        done.warnings.extend(cut.failures);
        if held.shared > 0 {
            done.warnings.push(format!(
                "{} sockets are left to them, because processes that are not cut off hold them too",
                held.shared
            ));
        }
        let elsewhere = inside
            .iter()
            .filter(|pid| !sockets::is_in_our_network(**pid));
        let elsewhere = elsewhere.count();
        if elsewhere > 0 {
            done.stopped.is_whole = false;
            done.warnings.push(format!(
                "{elsewhere} are in another network namespace: they make no new connections, and those that stand go on"
            ));
        }
        Ok(())
    }

    /// The tree had ended before anybody was moved, or has meanwhile.
    fn clean_up_if_empty(&self, state: &OnDisk) -> Result<(), ContainError> {
        let have_ended = state.homes.iter().all(|home| home.name.has_ended());
        if have_ended && self.place.inside()?.is_empty() {
            self.take_out()?;
        }
        Ok(())
    }

    /// Those of another boot, and those who have ended, are left out.
    fn read(&self) -> Result<OnDisk, ContainError> {
        let boot = boot_id()?;
        let state: OnDisk = self.state.read_file(FILE)?.unwrap_or_default();
        let mut state = if state.boot == boot {
            state
        } else {
            OnDisk::default()
        };
        state.boot = boot;
        state.homes.retain(|home| !home.name.has_ended());
        Ok(state)
    }
}

/// Where a process was, or the nearest above it that is known; the top when none is.
fn home_of<'a>(pid: u32, table: &Table, state: &'a OnDisk) -> &'a str {
    let known = |pid: u32| {
        let start = table.get(&pid)?.start_ticks;
        let is_it = |home: &&Home| {
            home.name
                == Name {
                    pid,
                    start_ticks: start,
                }
        };
        state.homes.iter().find(is_it)
    };
    let above = |pid: &u32| table.get(pid).map(|row| row.parent);
    let mut lineage = std::iter::successors(Some(pid), above).take(table.len());
    let home = lineage.find_map(known).or(state.homes.first());
    home.map_or("", |home| &home.cgroup)
}

fn named_pid(pid: u32, why: &str) -> StoppedProcess {
    let exe = Name::read(pid).map_or_else(String::new, Name::exe);
    StoppedProcess {
        pid,
        exe,
        why: why.to_owned(),
    }
}
