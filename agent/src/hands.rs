//! The threads that do what takes time: one changes the kernel's rules, one probes, one watches.
//!
//! The changing thread does its jobs one after the other in the order given; that order is what the
//! isolation machine relies on. Probing has a thread of its own, because a probe waits for silence and a repair
//! must not wait for a probe.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cordon_contain::{
    Applied, ContainError, Containment, Health, IsolationSpec, Moment, NftWatch, ProbeTarget,
};
use cordon_proto::policy::AllowRule;
use cordon_respond::isolation::{Input, Intent};
use cordon_respond::proof::Evidence;
use cordon_respond::proposal::Clocks;
use tokio::sync::mpsc;

const JOBS: usize = 64;
const OUTCOMES: usize = 64;
/// The rules are also looked at this often when nothing was heard of them.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const WATCH_RETRY: Duration = Duration::from_secs(5);

/// What stays reachable, known at the moment of the decision: nothing is resolved later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The controller's pinned addresses.
    pub controllers: Vec<SocketAddr>,
    /// By policy.
    pub allow: Vec<AllowRule>,
}

/// Work on the kernel's rules.
pub enum Job {
    /// Write the intent to disk.
    Persist {
        /// What is wanted.
        intent: Intent,
        /// What stays reachable.
        ends: Ends,
        /// By which its times go on.
        clocks: Clocks,
    },
    /// Put the rules in.
    Drop(Intent),
    /// Take them out.
    Open,
    /// Look whether they are whole.
    Check {
        /// When something was heard.
        noticed: Instant,
    },
}

/// A look at whether the isolation holds.
pub struct ProbeJob {
    /// Which rules are meant: the number of drops before it.
    pub generation: u64,
    /// What must be out of reach.
    pub forbidden: Vec<ProbeTarget>,
    /// Whether the controller answered before the drop.
    pub controller_was_reachable: bool,
}

/// What came of a job.
#[derive(Debug)]
pub enum Outcome {
    /// For the isolation machine.
    Step(Input),
    /// The rules went in; what else there is to say of it.
    Dropped(Applied),
    /// A network device that was there when the rules went in is in another network namespace now.
    Moved {
        /// Its name here.
        device: String,
    },
    /// The rules are not as they were put in.
    Damaged {
        /// How.
        health: Health,
        /// When something was heard.
        noticed: Instant,
    },
    /// The answer to [`ProbeJob`].
    Probed {
        /// As in the job.
        generation: u64,
        /// What was found.
        evidence: Evidence,
    },
}

/// The way to the threads.
#[derive(Clone)]
pub struct Hands {
    jobs: SyncSender<Job>,
    probes: SyncSender<ProbeJob>,
}

impl Hands {
    /// Starts the threads. Dropping every handle ends them, the watcher aside, which ends with the process.
    pub fn start(containment: Containment) -> std::io::Result<(Self, mpsc::Receiver<Outcome>)> {
        let containment = Arc::new(containment);
        let (outcomes, received) = mpsc::channel(OUTCOMES);
        let (jobs, job_queue) = sync_channel(JOBS);
        let (probes, proof_queue) = sync_channel(1);
        let (held, proofs) = (Arc::clone(&containment), outcomes.clone());
        spawn("cordon-probe", move || {
            probe(&held, &proof_queue, &proofs);
        })?;
        let pending = Arc::new(AtomicBool::new(false));
        let moved = Arc::default();
        let watcher = Watcher {
            jobs: jobs.clone(),
            pending: Arc::clone(&pending),
            moved: Arc::clone(&moved),
        };
        spawn("cordon-watch", move || watcher.watch())?;
        let in_force = containment.current();
        let mut worker = Worker {
            containment,
            outcomes,
            check_pending: pending,
            unsupported: false,
            in_force,
            still_on_disk: false,
            devices: None,
            moved,
        };
        spawn("cordon-contain", move || worker.run(&job_queue))?;
        Ok((Self { jobs, probes }, received))
    }

    /// Queues a job.
    pub fn job(&self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            // The machine waits for one answer before it asks for the next thing, and one check at a time is
            // queued: so many unanswered jobs mean that nft hangs, and one more would not help.
            tracing::error!("containment is stuck: a job is dropped");
        }
    }

    /// Asks for a proof; while one is under way another is not begun, the machine asks again.
    pub fn probe(&self, job: ProbeJob) {
        match self.probes.try_send(job) {
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => tracing::error!("the probing thread is gone"),
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(work).map(drop)
}

struct Worker {
    containment: Arc<Containment>,
    outcomes: mpsc::Sender<Outcome>,
    check_pending: Arc<AtomicBool>,
    /// The last drop failed: look whether this host can be isolated before the next intent is written.
    unsupported: bool,
    /// The isolation that was last written to disk, until the host is opened: for when somebody deletes the file.
    in_force: Option<IsolationSpec>,
    /// The host is open, and the disk did not take that it is.
    still_on_disk: bool,
    /// Network devices that were there when the rules of this isolation went in first; whatever appears later comes and
    /// goes with guests.
    devices: Option<BTreeSet<String>>,
    /// Those that were moved into another network namespace, and not told yet.
    moved: Moved,
}

impl Worker {
    fn run(&mut self, jobs: &Receiver<Job>) {
        self.unsupported = cordon_contain::supported().is_err();
        while let Ok(job) = jobs.recv() {
            let Some(outcome) = self.work(job) else {
                continue;
            };
            if self.outcomes.blocking_send(outcome).is_err() {
                return;
            }
        }
    }

    fn work(&mut self, job: Job) -> Option<Outcome> {
        Some(match job {
            Job::Persist {
                intent,
                ends,
                clocks,
            } => Outcome::Step(self.persist(&intent, ends, clocks)),
            Job::Drop(intent) => self.drop(&intent),
            Job::Open => Outcome::Step(self.open()),
            Job::Check { noticed } => return self.check(noticed),
        })
    }

    fn persist(&mut self, intent: &Intent, ends: Ends, clocks: Clocks) -> Input {
        let is_new = self
            .in_force
            .as_ref()
            .is_none_or(|spec| spec.id != intent.id);
        if is_new
            && self.unsupported
            && let Err(error) = cordon_contain::supported()
        {
            return Input::PersistFailed(crate::chain(&error));
        }
        let spec = self.spec(intent, ends, clocks);
        match self.containment.intend(&spec) {
            Ok(()) => {
                self.in_force = Some(spec);
                self.still_on_disk = false;
                Input::Persisted
            }
            Err(error) => Input::PersistFailed(crate::chain(&error)),
        }
    }

    /// A longer lease keeps what was pinned when the isolation began.
    fn spec(&self, intent: &Intent, ends: Ends, clocks: Clocks) -> IsolationSpec {
        let in_force = self.in_force.as_ref().filter(|spec| spec.id == intent.id);
        let (controllers, allow) = match in_force {
            Some(spec) => (spec.controllers.clone(), spec.allow.clone()),
            None => (ends.controllers, ends.allow),
        };
        IsolationSpec {
            id: intent.id,
            reason: intent.reason.clone(),
            tree: intent.tree.clone(),
            started_at: intent.started_at,
            lease_expires_at: intent.lease_expires_at,
            controllers,
            allow,
            policy_version: intent.policy_version,
            moment: Moment::of_this_boot(clocks.boot_ns, clocks.wall),
        }
    }

    fn drop(&mut self, intent: &Intent) -> Outcome {
        let applied = match self.containment.apply(intent.id) {
            Err(ContainError::NotIntended(_)) => self.apply_again(intent),
            other => other,
        };
        self.unsupported = applied.is_err();
        match applied {
            Ok(applied) => {
                self.devices.get_or_insert_with(|| applied.devices.clone());
                Outcome::Dropped(applied)
            }
            Err(error) => Outcome::Step(Input::DropFailed(crate::chain(&error))),
        }
    }

    /// Somebody deleted the state of the isolation: it is written again from memory.
    fn apply_again(&self, intent: &Intent) -> Result<Applied, ContainError> {
        let known = self.in_force.as_ref().filter(|spec| spec.id == intent.id);
        let spec = known.ok_or(ContainError::NotIntended(intent.id))?;
        self.containment.intend(spec)?;
        self.containment.apply(spec.id)
    }

    fn open(&mut self) -> Input {
        match self.containment.release() {
            Ok(opened) => {
                self.in_force = None;
                self.devices = None;
                self.still_on_disk = opened.still_on_disk.is_some();
                match opened.still_on_disk {
                    None => Input::Opened,
                    Some(error) => Input::OpenedUntilRestart(crate::chain(&error)),
                }
            }
            Err(error) => {
                let why = crate::chain(&error);
                tracing::error!(%why, "the host could not be opened, trying again");
                Input::OpenFailed(why)
            }
        }
    }

    fn tell_moved(&self) {
        let moved = std::mem::take(&mut *locked(&self.moved));
        let known = |device: &String| {
            self.devices
                .as_ref()
                .is_some_and(|all| all.contains(device))
        };
        for device in moved.into_iter().filter(known) {
            if self
                .outcomes
                .blocking_send(Outcome::Moved { device })
                .is_err()
            {
                return;
            }
        }
    }

    /// What the disk did not take when the host was opened.
    fn forget_again(&mut self) {
        let forgotten = self.containment.release();
        if forgotten.is_ok_and(|opened| opened.still_on_disk.is_none()) {
            self.still_on_disk = false;
            tracing::info!("the disk knows by now that the host is open");
        }
    }

    fn check(&mut self, noticed: Instant) -> Option<Outcome> {
        // Before the look: a change during it is looked at again.
        self.check_pending.store(false, Ordering::Release);
        if self.still_on_disk {
            self.forget_again();
        }
        self.tell_moved();
        self.in_force.as_ref()?;
        match self.containment.verify() {
            Ok(Health::Whole) => None,
            Ok(health) => Some(Outcome::Damaged { health, noticed }),
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "the rules could not be listed");
                None
            }
        }
    }
}

fn probe(containment: &Containment, jobs: &Receiver<ProbeJob>, outcomes: &mpsc::Sender<Outcome>) {
    while let Ok(job) = jobs.recv() {
        let evidence = containment
            .current()
            .map_or_else(Evidence::default, |spec| Evidence {
                probes: containment.prove(&spec, &job.forbidden),
                rules_whole: matches!(containment.verify(), Ok(Health::Whole)),
                controller_was_reachable: job.controller_was_reachable,
            });
        let generation = job.generation;
        let outcome = Outcome::Probed {
            generation,
            evidence,
        };
        if outcomes.blocking_send(outcome).is_err() {
            return;
        }
    }
}

/// Names of network devices.
type Moved = Arc<Mutex<Vec<String>>>;

fn locked(moved: &Moved) -> MutexGuard<'_, Vec<String>> {
    moved.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that hears of changes and asks for looks.
struct Watcher {
    jobs: SyncSender<Job>,
    pending: Arc<AtomicBool>,
    moved: Moved,
}

impl Watcher {
    fn watch(&self) {
        loop {
            if let Err(error) = self.watch_until_it_fails() {
                tracing::warn!(error = %crate::chain(&error), "cannot watch nftables, looking at the rules instead");
                self.ask_for_check();
                std::thread::sleep(WATCH_RETRY);
            }
        }
    }

    fn watch_until_it_fails(&self) -> Result<(), ContainError> {
        let changes = NftWatch::open()?;
        loop {
            // At first too: what happened before anybody watched was heard by nobody.
            self.ask_for_check();
            changes.wait(Some(LOOK_AGAIN))?;
            locked(&self.moved).extend(changes.take_moved());
        }
    }

    /// One check at a time is queued, however many changes there are.
    fn ask_for_check(&self) {
        if self.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        let noticed = Instant::now();
        if self.jobs.try_send(Job::Check { noticed }).is_err() {
            self.pending.store(false, Ordering::Release);
        }
    }
}
