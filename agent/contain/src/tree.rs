//! Freezing or killing a process with everything that descends from it, so that nobody of it gets away.
//!
//! First everybody who is known is stopped, then all processes are looked at again for who descends from them, until a
//! look that began when all of them stood still finds nobody new: who stands still forks nobody. Only then are they
//! killed, so that none sees another's end. What is done is proved by a look afterwards, not by the signals having
//! been taken.
//!
//! Not by cgroup: a tree is rarely one of its own, so `cgroup.kill` would hit its neighbours, and to move it into one
//! would take it from whoever accounts for it there.

mod cut;
mod held;
mod ledger;
mod plan;
mod process;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use cordon_behavior::event::ProcessKey;
use cordon_proto::record::StoppedProcess;

use crate::error::ContainError;
pub(crate) use cut::{CUT_NAME, cut_cgroup};
pub use cut::{CutOff, Cuts};
pub use held::HeldProcess;
use ledger::{Entry, Ledger};
use plan::{Name, Table};

/// Most looks at all processes for one tree. A fork bomb that outruns them is reported as not proved.
const MOST_LOOKS: u32 = 64;
/// How long a look waits until those that were signalled stand still.
const STANDSTILL: Duration = Duration::from_millis(50);
/// How long somebody who does not stand still, because he waits in the kernel, holds up the rest, who stand
/// still meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the killed may take to end, and the thawed to go on.
const END: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_micros(200);
const PROTECTED: &str = "protected by the policy";

/// A process and everything that descends from it.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The process. Nothing is done when it is one that is never touched.
    pub root: ProcessKey,
    /// Who is known to descend from it, also those that a double fork took away.
    pub known: Vec<ProcessKey>,
    /// Absolute paths of executables that are never touched.
    pub protected: Vec<String>,
}

impl Tree {
    /// Path of the root's image; `None` when it has ended. Who was given its pid since is somebody else.
    pub fn root_image(&self) -> Option<String> {
        let root = name_of(self.root, ticks_per_second());
        (!root.has_ended()).then(|| root.exe())
    }

    /// Who belongs to it for sure, whatever `/proc` shows.
    fn told(&self) -> HashSet<Name> {
        let ticks = ticks_per_second();
        let told = self.known.iter().chain([&self.root]);
        told.map(|key| name_of(*key, ticks)).collect()
    }

    /// Nobody of it runs any more, as far as it is known who belongs to it. Costs far less than to look for others.
    pub fn has_ended(&self) -> bool {
        let ticks = ticks_per_second();
        let mut told = self.known.iter().chain([&self.root]);
        told.all(|key| name_of(*key, ticks).has_ended())
    }
}

/// What was done to a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Those that it was done to and are as wanted.
    pub processes: Vec<StoppedProcess>,
    /// Those that are not, although it was tried.
    pub survivors: Vec<StoppedProcess>,
    /// Those that belong to it and were left alone.
    pub spared: Vec<StoppedProcess>,
    /// They stood still, and a last look found nobody else.
    pub is_whole: bool,
    /// Of a kill: who made the root.
    pub maker: Option<Maker>,
}

/// Who made a process and did not stand still when that was to be killed.
///
/// `su`, `sudo`, `nsenter` and others who run a command for somebody stop themselves when the command is stopped, so that
/// a shell above gets its terminal back. When the command is killed then, nobody would ever let them go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker(Name);

impl Maker {
    fn of(root: ProcessKey) -> Option<Self> {
        const FIRST: u32 = 1;
        let table = process::lineages([root.pid].into_iter());
        let row = table.get(&root.pid)?;
        let is_it = row.start_ticks == name_of(root, ticks_per_second()).start_ticks;
        let maker = Some(row.parent).filter(|pid| is_it && *pid > FIRST)?;
        let name = Name::read(maker)?;
        (!name.is_stopped()).then_some(Self(name))
    }

    /// Lets it go on if it stands still. To be asked again a moment later: it may not have noticed yet.
    pub fn go_on(self) {
        if self.0.is_stopped() {
            send(self.0, libc::SIGCONT);
        }
    }
}

/// Stops trees, and lets go on whom it froze.
#[derive(Debug)]
pub struct Trees {
    ledger: Ledger,
    agent: u32,
}

/// Somebody of a tree who stands still by our signal, or did before it.
struct Member {
    exe: String,
    stood_before: bool,
}

/// How far a walk came.
#[derive(Default)]
struct Walk {
    members: BTreeMap<Name, Member>,
    spared: BTreeMap<Name, StoppedProcess>,
    is_whole: bool,
    looks: u32,
}

impl Trees {
    /// Keeps who is frozen in `state_dir`. `agent` is the pid of the agent: it, what it runs under and what belongs
    /// to it are never touched.
    pub fn open(state_dir: &Path, agent: u32) -> Self {
        Self {
            ledger: Ledger::new(state_dir),
            agent,
        }
    }

    /// Stops everybody of the tree where he stands. Who stood still before is not named: it was not done by this, and
    /// [`Self::thaw`] leaves him as he was. When who is to be frozen cannot be written down, nobody more is.
    pub fn freeze(&self, tree: &Tree) -> Result<Stopped, ContainError> {
        let walk = self.walk(tree, true)?;
        let ours = walk.members.iter().filter(|(_, is)| !is.stood_before);
        let (done, survivors) = ours
            .filter(|(name, _)| !name.has_ended())
            .partition(|(name, _)| name.is_stopped());
        Ok(walk.told(done, survivors))
    }

    /// Ends everybody of the tree.
    pub fn kill(&self, tree: &Tree) -> Result<Stopped, ContainError> {
        let maker = Maker::of(tree.root);
        let mut walk = self.walk(tree, false)?;
        for name in walk.members.keys() {
            send(*name, libc::SIGKILL);
        }
        wait_for(END, || walk.members.keys().all(|name| name.has_ended()));
        // Who moved when he was last looked at may have left a child behind that nothing leads to any more.
        walk.is_whole &= walk.unseen(tree, &look()?).is_empty();
        let members = walk.members.iter();
        let (done, survivors) = members.partition(|(name, _)| name.has_ended());
        Ok(Stopped {
            maker,
            ..walk.told(done, survivors)
        })
    }

    /// Lets go on whom [`Self::freeze`] stopped, and nobody else. Survivors stay written down.
    pub fn thaw(&self) -> Result<Stopped, ContainError> {
        let frozen = self.ledger.read()?;
        self.let_go(frozen, Vec::new())
    }

    /// The same for those of one tree: who was frozen as one of it, and who belongs to it now.
    pub fn thaw_tree(&self, tree: &Tree) -> Result<Stopped, ContainError> {
        let members = plan::members(&look()?, &tree.told());
        let root = name_of(tree.root, ticks_per_second());
        let is_of_it = |entry: &Entry| members.contains(&entry.name) || entry.root == Some(root);
        let (frozen, others) = self.ledger.read()?.into_iter().partition(is_of_it);
        self.let_go(frozen, others)
    }

    fn let_go(&self, frozen: Vec<Entry>, others: Vec<Entry>) -> Result<Stopped, ContainError> {
        // The newest first: who looks after his children finds none that stands still.
        for entry in frozen.iter().rev() {
            send(entry.name, libc::SIGCONT);
        }
        let goes = |entry: &Entry| !entry.name.is_stopped();
        wait_for(END, || frozen.iter().all(goes));
        let (done, left): (Vec<Entry>, _) = frozen.into_iter().partition(goes);
        let told = |entry: &Entry| named(entry.name, &entry.exe, "");
        let thawed = Stopped {
            processes: done.iter().map(told).collect(),
            survivors: left.iter().map(told).collect(),
            is_whole: true,
            ..Stopped::default()
        };
        self.ledger
            .write(others.into_iter().chain(left).collect())?;
        Ok(thawed)
    }

    /// How many are frozen.
    pub fn frozen(&self) -> Result<usize, ContainError> {
        Ok(self.ledger.read()?.len())
    }

    /// Stops everybody, until nobody new is found. When `is_noted`, whoever cannot be written down is not stopped.
    fn walk(&self, tree: &Tree, is_noted: bool) -> Result<Walk, ContainError> {
        let mut walk = Walk::default();
        let known = tree.known.iter().map(|key| key.pid);
        // Who is known is stopped at once; a look at everybody takes milliseconds.
        let mut table = process::lineages(known.chain([tree.root.pid, self.agent]));
        if let Some(why) = plan::untouchable(&table, tree.root.pid, self.agent) {
            let root = name_of(tree.root, ticks_per_second());
            walk.spared.insert(root, named(root, &root.exe(), why));
            return Ok(walk);
        }
        let mut stands = false;
        let mut last_new = Instant::now();
        loop {
            let new = walk.unseen(tree, &table);
            if !new.is_empty() {
                last_new = Instant::now();
            } else if walk.looks > 0 && (stands || last_new.elapsed() > PATIENCE) {
                walk.is_whole = stands;
                return Ok(walk);
            }
            self.stop(&mut walk, new, tree, &table, is_noted)?;
            if walk.looks == MOST_LOOKS {
                return Ok(walk);
            }
            let is_still = |name: &Name| name.is_stopped() || name.has_ended();
            stands = wait_for(STANDSTILL, || walk.members.keys().all(is_still));
            table = look()?;
            walk.looks += 1;
        }
    }

    fn stop(
        &self,
        walk: &mut Walk,
        new: Vec<Name>,
        tree: &Tree,
        table: &Table,
        is_noted: bool,
    ) -> Result<(), ContainError> {
        let mut fresh = Vec::new();
        for name in new {
            let exe = name.exe();
            let protected = || tree.protected.contains(&exe).then_some(PROTECTED);
            let why = plan::untouchable(table, name.pid, self.agent).or_else(protected);
            if let Some(why) = why {
                walk.spared.insert(name, named(name, &exe, why));
                continue;
            }
            let stood_before = name.is_stopped();
            if !stood_before {
                fresh.push(Entry {
                    name,
                    exe: exe.clone(),
                    root: Some(name_of(tree.root, ticks_per_second())),
                });
            }
            walk.members.insert(name, Member { exe, stood_before });
        }
        let names: Vec<Name> = fresh.iter().map(|entry| entry.name).collect();
        match self.note(fresh) {
            // Who is killed next needs no way back.
            Err(error) if is_noted => return Err(error),
            _ => {}
        }
        for name in names {
            send(name, libc::SIGSTOP);
        }
        Ok(())
    }

    fn note(&self, fresh: Vec<Entry>) -> Result<(), ContainError> {
        if fresh.is_empty() {
            return Ok(());
        }
        let mut frozen = self.ledger.read()?;
        frozen.extend(fresh);
        self.ledger.write(frozen)
    }
}

impl Walk {
    /// Who belongs to the tree by this look and was not met before.
    fn unseen(&self, tree: &Tree, table: &Table) -> Vec<Name> {
        let mut known = tree.told();
        known.extend(self.members.keys());
        let protected = self.spared.iter().filter(|(_, is)| is.why == PROTECTED);
        known.extend(protected.map(|(name, _)| name));
        let met = |name: &Name| self.members.contains_key(name) || self.spared.contains_key(name);
        let found = plan::members(table, &known).into_iter();
        let mut new: Vec<Name> = found
            .filter(|name| !met(name) && !name.has_ended())
            .collect();
        new.sort_unstable_by_key(|name| (name.start_ticks, name.pid));
        new
    }

    fn told(&self, done: Vec<(&Name, &Member)>, survivors: Vec<(&Name, &Member)>) -> Stopped {
        let told = |all: Vec<(&Name, &Member)>| {
            let all = all.into_iter();
            all.map(|(name, is)| named(*name, &is.exe, "")).collect()
        };
        Stopped {
            processes: told(done),
            survivors: told(survivors),
            spared: self.spared.values().cloned().collect(),
            is_whole: self.is_whole,
            maker: None,
        }
    }
}

/// Whether it had its effect is looked at afterwards, whatever the kernel says to it.
fn send(name: Name, signal: i32) {
    drop(name.signal(signal));
}

fn named(name: Name, exe: &str, why: &str) -> StoppedProcess {
    StoppedProcess {
        pid: name.pid,
        exe: exe.to_owned(),
        why: why.to_owned(),
    }
}

/// Whether it came true in time.
fn wait_for(limit: Duration, is_true: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !is_true() {
        if began.elapsed() > limit {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

fn look() -> Result<Table, ContainError> {
    process::all().map_err(ContainError::disk("read", "/proc"))
}

fn name_of(key: ProcessKey, ticks_per_second: u64) -> Name {
    Name {
        pid: key.pid,
        start_ticks: key.start_ns / (1_000_000_000 / ticks_per_second),
    }
}

fn ticks_per_second() -> u64 {
    // SAFETY: sysconf takes an integer and no pointer.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100).max(1)
}
