//! What this host proposed, on disk: what waits outlives the agent, and what ended is remembered for a while.

use std::path::{Path, PathBuf};

use cordon_behavior::event::ProcessKey;
use cordon_behavior::story::Connection;
use cordon_contain::boottime_ns;
use cordon_proto::id::{IsolationId, ProposalId};
use cordon_proto::record::{ApprovalOutcome, ApprovalReport, Proposal, Steps};
use cordon_respond::Asking;
use cordon_respond::proposal::{Clocks, Ending, NoAnswer, State, Terms, covers, may_answer};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::durable::{self, DiskError};

const FILE: &str = "proposals.json";
const MAX_BYTES: usize = 4 << 20;
/// Most that wait at once; what more is judged malicious is recommended.
pub const MOST_WAITING: usize = 32;
/// Most that are remembered after their end.
const MOST_ENDED: usize = 128;
/// Most judged processes of one proposal.
const MOST_TARGETS: usize = 8;
/// Most of each process that is kept: who descends from it, and whom it called last.
const MOST_BELOW: usize = 64;
const MOST_CONNECTIONS: usize = 16;
/// Most characters of a reason that [`Waits`] tells.
const MOST_WHY: usize = 160;

/// The clocks as they stand.
pub fn clocks(wall: Timestamp) -> Clocks {
    let boot_ns = boottime_ns();
    Clocks { wall, boot_ns }
}

/// A judged process that a proposal is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The process.
    pub root: ProcessKey,
    /// Path of its image; empty when unknown.
    pub exe: String,
    /// Who descended from it.
    pub below: Vec<ProcessKey>,
    /// Whom it and they called.
    pub connections: Vec<Connection>,
    /// Kernel's stamp of the judged event, nanoseconds of CLOCK_MONOTONIC.
    pub event_mono_ns: u64,
    /// What it was judged for.
    pub reason: String,
}

impl Target {
    /// Within bounds: of many the newest.
    fn bounded(mut self) -> Self {
        let too_many = self.below.len().saturating_sub(MOST_BELOW);
        self.below.drain(..too_many);
        self.connections.retain(|one| one.direction == "out");
        let too_many = self.connections.len().saturating_sub(MOST_CONNECTIONS);
        self.connections.drain(..too_many);
        self
    }
}

/// A proposal with what it takes to carry it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its identity.
    pub id: ProposalId,
    /// Name of the process tree in records.
    pub tree: String,
    /// In which boot: process keys of another one say nothing.
    pub boot_id: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// What is proposed.
    pub steps: Steps,
    /// How long, and what then.
    pub terms: Terms,
    /// Whom it is about. When it ended nobody, and after a no only who they are.
    pub targets: Vec<Target>,
    /// The isolation that it would become.
    pub isolation: IsolationId,
    /// Where it stands.
    pub state: State,
}

impl Kept {
    /// A new one.
    pub fn new(tree: &str, boot_id: &str, steps: Steps, terms: Terms, target: Target) -> Self {
        Self {
            id: ProposalId::generate(),
            tree: tree.to_owned(),
            boot_id: boot_id.to_owned(),
            made_at: Timestamp::now(),
            steps,
            terms,
            targets: vec![target.bounded()],
            isolation: IsolationId::generate(),
            state: State::Waiting,
        }
    }

    /// As it is reported.
    pub fn proposal(&self) -> Proposal {
        Proposal {
            id: self.id,
            steps: self.steps,
            made_at: self.made_at,
            expires_at: self.terms.until.wall,
            unanswered: self.terms.unanswered,
            offline: self.terms.offline,
        }
    }

    /// Why it was made.
    pub fn reason(&self) -> &str {
        self.targets.first().map_or("", |target| &target.reason)
    }

    /// That it ended, with nothing done and under no policy yet.
    pub fn report(&self, ending: &Ending) -> ApprovalReport {
        ApprovalReport {
            proposal: self.id,
            tree: self.tree.clone(),
            outcome: ending.outcome,
            rule: ending.rule,
            steps: Steps::default(),
            order: ending.order,
            by: ending.by.clone(),
            reason: ending.reason.clone(),
            policy_version: 0,
        }
    }

    fn waits(&self) -> bool {
        self.state == State::Waiting
    }

    /// Somebody said no about this process, or about one that it was known to descend from.
    fn is_no_about(&self, process: ProcessKey) -> bool {
        let mut targets = self.targets.iter();
        self.is_refused() && targets.any(|one| one.root == process || one.below.contains(&process))
    }

    fn is_refused(&self) -> bool {
        matches!(&self.state, State::Ended(ending) if ending.outcome == ApprovalOutcome::Refused)
    }

    /// Forgets what an end makes useless.
    fn shrink(&mut self) {
        if !self.is_refused() {
            self.targets.clear();
        }
        for target in &mut self.targets {
            target.connections.clear();
            target.exe.clear();
            target.reason.clear();
        }
    }
}

/// What waits, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// What is proposed, and until when.
    pub proposal: Proposal,
    /// Name of the process tree in records.
    pub tree: String,
    /// Why, within bounds.
    pub reason: String,
}

/// The proposals of this host.
#[derive(Debug)]
pub struct Proposals {
    path: PathBuf,
    boot_id: String,
    all: Vec<Kept>,
    is_dirty: bool,
    was_damaged: bool,
}

impl Proposals {
    /// Reads what was kept. A damaged file is set aside, and what waited is forgotten: nothing is carried out that
    /// nobody can read any more.
    pub fn load(state_dir: &Path, boot_id: &str, now: Clocks) -> Self {
        let path = state_dir.join(FILE);
        let read = read(&path);
        if let Err(why) = &read {
            tracing::error!(%why, path = %path.display(), "the file of proposals is damaged, set aside");
            let aside = path.with_extension("json.damaged");
            if let Err(error) = std::fs::rename(&path, &aside) {
                tracing::error!(%error, "a damaged file of proposals stays in its place");
            }
        }
        let was_damaged = read.is_err();
        let mut all = read.unwrap_or_default();
        let of_before = all
            .iter_mut()
            .filter(|kept| kept.waits() && kept.boot_id != boot_id);
        for kept in of_before {
            let lasts = kept.terms.until.wall.duration_since(kept.made_at);
            kept.terms.rearm(lasts, now);
        }
        Self {
            path,
            boot_id: boot_id.to_owned(),
            all,
            is_dirty: false,
            was_damaged,
        }
    }

    /// Whether the file was damaged when it was read.
    pub fn was_damaged(&self) -> bool {
        self.was_damaged
    }

    /// Whether this is of the boot that runs.
    pub fn is_of_this_boot(&self, kept: &Kept) -> bool {
        kept.boot_id == self.boot_id
    }

    /// Whether people can be asked about a process of a tree. A no holds for the process that it was about and what
    /// was known to descend from it, as long as it is remembered: the rest of a service or a session goes on being asked
    /// about.
    pub fn asking(&self, tree: &str, process: ProcessKey) -> Asking {
        let mut of_tree = self.all.iter().filter(|kept| kept.tree == tree);
        if of_tree.clone().any(|kept| kept.is_no_about(process)) {
            return Asking::Refused;
        }
        let is_full = self.waiting().count() >= MOST_WAITING;
        // Somebody was asked about it already, and more of it joins that.
        if is_full && !of_tree.any(Kept::waits) {
            return Asking::Full;
        }
        Asking::Possible
    }

    /// What waits, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Kept> {
        self.all.iter().filter(|kept| kept.waits())
    }

    /// What is being carried out.
    pub fn carrying(&self) -> impl Iterator<Item = &Kept> {
        let carrying = |kept: &&Kept| matches!(kept.state, State::Carrying(_));
        self.all.iter().filter(carrying)
    }

    /// What waits, for people.
    pub fn told(&self) -> Vec<Waits> {
        self.waiting().map(told).collect()
    }

    /// One that waits for an answer, or why none is taken.
    pub fn answerable(&self, id: ProposalId) -> Result<&Kept, NoAnswer> {
        let kept = self.get(id).ok_or(NoAnswer::Unknown(id))?;
        may_answer(id, &kept.state).map(|()| kept)
    }

    /// One of them.
    pub fn get(&self, id: ProposalId) -> Option<&Kept> {
        self.all.iter().find(|kept| kept.id == id)
    }

    /// More of a tree about which people are asked already: the proposal that it joins, if that has all of `steps`. What
    /// is known of a process that it is about already is replaced; that is on disk with the next tick.
    pub fn join(&mut self, tree: &str, steps: Steps, target: &Target) -> Option<Proposal> {
        let mut all = self.all.iter_mut();
        let kept =
            all.find(|kept| kept.waits() && kept.tree == tree && covers(kept.steps, steps))?;
        let target = target.clone().bounded();
        let known = kept.targets.iter_mut().find(|one| one.root == target.root);
        if let Some(known) = known {
            let reason = std::mem::take(&mut known.reason);
            *known = Target { reason, ..target };
        } else if kept.targets.len() < MOST_TARGETS {
            kept.targets.push(target);
        } else {
            tracing::warn!(%tree, "a proposal is about as many processes as are kept");
        }
        self.is_dirty = true;
        Some(kept.proposal())
    }

    /// Keeps a new one, durably; else it is as if it was never made.
    pub fn keep(&mut self, kept: Kept) -> Result<(), DiskError> {
        self.all.push(kept);
        let saved = self.save(durable::replace);
        if saved.is_err() {
            self.all.pop();
        }
        saved
    }

    /// Moves one on. That it is not on disk is logged, and holds nothing up.
    pub fn set(&mut self, id: ProposalId, state: State) {
        let Some(kept) = self.all.iter_mut().find(|kept| kept.id == id) else {
            return;
        };
        kept.state = state;
        if matches!(kept.state, State::Ended(_)) {
            kept.shrink();
        }
        let mut too_many = self.ended().count().saturating_sub(MOST_ENDED);
        self.all.retain(|kept| {
            let goes = too_many > 0 && matches!(kept.state, State::Ended(_));
            too_many -= usize::from(goes);
            !goes
        });
        if let Err(error) = self.save(durable::replace) {
            tracing::error!(error = %crate::chain(&error), %id, "how a proposal stands is not on disk");
        }
    }

    /// Writes down what [`Self::join`] changed.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.is_dirty)
            && let Err(error) = self.save(durable::replace_unsynced)
        {
            tracing::warn!(error = %crate::chain(&error), "what joined a proposal is not on disk");
        }
    }

    fn ended(&self) -> impl Iterator<Item = &Kept> {
        self.all
            .iter()
            .filter(|kept| matches!(kept.state, State::Ended(_)))
    }

    fn save(&self, write: fn(&Path, &[u8]) -> Result<(), DiskError>) -> Result<(), DiskError> {
        let json = serde_json::to_vec(&self.all).expect("proposals have string keys only");
        if json.len() > MAX_BYTES {
            let why = std::io::Error::other(format!("proposals take more than {MAX_BYTES} bytes"));
            return Err(DiskError::of("write", &self.path)(why));
        }
        write(&self.path, &json)
    }
}

fn read(path: &Path) -> Result<Vec<Kept>, String> {
    let json = durable::read(path, MAX_BYTES as u64).map_err(|error| crate::chain(&error))?;
    json.map_or(Ok(Vec::new()), |json| {
        serde_json::from_slice(&json).map_err(|error| error.to_string())
    })
}

fn told(kept: &Kept) -> Waits {
    Waits {
        proposal: kept.proposal(),
        tree: kept.tree.clone(),
        reason: kept.reason().chars().take(MOST_WHY).collect(),
    }
}

/// What waits on a host whose agent does not run, as far as this process may see.
pub fn on_disk(state_dir: &Path) -> Vec<Waits> {
    let all = read(&state_dir.join(FILE)).unwrap_or_default();
    all.iter().filter(|kept| kept.waits()).map(told).collect()
}

/// Ends all that waits on a host whose agent does not run, because it was opened, and answers what to report.
pub fn withdraw(state_dir: &Path, ending: &Ending) -> Result<Vec<ApprovalReport>, DiskError> {
    let path = state_dir.join(FILE);
    let mut all = read(&path).unwrap_or_default();
    let waiting = all.iter_mut().filter(|kept| kept.waits());
    let withdrawn = waiting.map(|kept| {
        kept.state = State::Ended(ending.clone());
        kept.shrink();
        kept.report(ending)
    });
    let reports: Vec<ApprovalReport> = withdrawn.collect();
    if !reports.is_empty() {
        let json = serde_json::to_vec(&all).expect("proposals have string keys only");
        durable::replace(&path, &json)?;
    }
    Ok(reports)
}
