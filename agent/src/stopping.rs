//! Stops process trees, on a thread of its own: no isolation waits for it, and it waits for none.
//!
//! Who belongs to a tree the graph knows best, but the newest forks may still be on their way to it when the verdict
//! falls: a double fork in these milliseconds leaves nothing in `/proc` that leads to the tree. So the graph is asked
//! again a moment later, as often as that finds anybody.

mod cutting;
mod ordered;
mod words;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cordon_contain::{Maker, Stopped, Tree, Trees, monotonic_ns};
use cordon_proto::record::{Ordered, StopAct, StopReport};
use tokio::sync::oneshot;

use crate::host::HostFacts;
use crate::judging::Kin;
use crate::local::{Answer, reply};
use crate::recorder::Recorder;

use cutting::cut_off;
pub use cutting::{answer_about_cut, count_cut_off, cuts, is_news};
pub use ordered::TreeOrder;
use ordered::Waits;
use words::failed;
pub use words::{answer, report, tell};

const JOBS: usize = 64;
const TOO_MANY: &str = "too many trees are being stopped: ask again";
/// After the first time, and between the following ones.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// The cut-off are looked at this often.
const LOOK_AFTER_CUTS: Duration = Duration::from_secs(30);
/// Most times that a tree is looked at again: a fork bomb may always be ahead of the graph.
const MOST_TIMES: u32 = 20;

/// A tree to be stopped.
#[derive(Clone, Debug)]
pub struct StopJob {
    /// What is done to it: to freeze, to kill or to cut off.
    pub act: StopAct,
    /// The judged process and who is known to descend from it.
    pub tree: Tree,
    /// Name of its tree in records; none when no verdict led to it.
    pub name: Option<String>,
    /// Why.
    pub reason: String,
    /// Kernel's stamp of the judged event, nanoseconds of CLOCK_MONOTONIC.
    pub event_mono_ns: u64,
    /// Policy version that allows it.
    pub policy_version: u64,
    /// Tell also that there was nobody left.
    pub tell_always: bool,
    /// The order that led to it, if one did.
    pub ordered: Option<Ordered>,
}

impl StopJob {
    fn report(&self, stopped: &Stopped) -> StopReport {
        StopReport {
            tree: self.name.clone(),
            policy_version: self.policy_version,
            ordered: self.ordered.clone(),
            ..report(self.act, stopped, self.reason.clone())
        }
    }
}

enum Job {
    Stop(Box<StopJob>),
    Obey(Box<TreeOrder>, oneshot::Sender<Answer>),
    Thaw {
        reason: String,
        to: oneshot::Sender<Answer>,
    },
    CutOff {
        pid: u32,
        protected: Vec<String>,
        reason: String,
        to: oneshot::Sender<Answer>,
    },
    Rejoin {
        reason: String,
        to: oneshot::Sender<Answer>,
    },
}

/// A tree to be looked at again.
struct Again {
    at: Instant,
    times_left: u32,
    job: Box<StopJob>,
    maker: Option<Maker>,
    waits: Option<Waits>,
}

/// The way to the thread.
#[derive(Clone)]
pub struct Stopper {
    jobs: SyncSender<Job>,
    recorder: Recorder,
    frozen: Arc<AtomicUsize>,
    cut_off: Arc<AtomicUsize>,
}

impl Stopper {
    /// Starts the thread. It ends when every handle is gone. `kin` is there as soon as anybody judges.
    pub fn start(
        state_dir: &Path,
        facts: HostFacts,
        recorder: Recorder,
        kin: Arc<OnceLock<Kin>>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(JOBS);
        let [frozen, cut_off] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let mut worker = Worker {
            trees: trees(state_dir),
            state_dir: state_dir.to_owned(),
            facts,
            looked_at: Instant::now(),
            recorder: recorder.clone(),
            kin,
            again: VecDeque::new(),
            frozen: Arc::clone(&frozen),
            cut_off: Arc::clone(&cut_off),
        };
        worker.look_after_cuts(false);
        worker.count();
        std::thread::Builder::new()
            .name("cordon-stop".to_owned())
            .spawn(move || worker.run(&queue))?;
        Ok(Self {
            jobs,
            recorder,
            frozen,
            cut_off,
        })
    }

    /// Stops a tree. Never waits: where too many trees are to be stopped at once, that is reported instead.
    pub fn stop(&self, job: StopJob) {
        let sent = self.jobs.try_send(Job::Stop(Box::new(job)));
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = sent
            && let Job::Stop(job) = job
        {
            let why = "too many trees are to be stopped at once".to_owned();
            tell(&self.recorder, job.report(&failed(&job, why)));
        }
    }

    /// Lets go on everybody who is frozen, and answers.
    pub fn thaw(&self, reason: String, to: oneshot::Sender<Answer>) {
        self.ask(Job::Thaw { reason, to });
    }

    fn ask(&self, job: Job) {
        let sent = self.jobs.try_send(job);
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = sent
            && let Job::Thaw { to, .. }
            | Job::CutOff { to, .. }
            | Job::Rejoin { to, .. }
            | Job::Obey(_, to) = job
        {
            let detail = TOO_MANY.to_owned();
            reply(to, Answer::Failed { detail });
        }
    }

    /// How many processes are frozen.
    pub fn frozen(&self) -> usize {
        self.frozen.load(Ordering::Relaxed)
    }
}

/// The trees of this host, as far as this process may touch them.
pub fn trees(state_dir: &Path) -> Trees {
    Trees::open(state_dir, std::process::id())
}

struct Worker {
    trees: Trees,
    state_dir: PathBuf,
    facts: HostFacts,
    /// When it was last looked whether the cut-off still are.
    looked_at: Instant,
    recorder: Recorder,
    kin: Arc<OnceLock<Kin>>,
    /// Soonest first.
    again: VecDeque<Again>,
    frozen: Arc<AtomicUsize>,
    cut_off: Arc<AtomicUsize>,
}

impl Worker {
    fn run(&mut self, queue: &Receiver<Job>) {
        loop {
            let cuts_at = self.looked_at + LOOK_AFTER_CUTS;
            let at = self
                .again
                .front()
                .map_or(cuts_at, |again| again.at.min(cuts_at));
            match queue.recv_timeout(at.saturating_duration_since(Instant::now())) {
                Ok(Job::Stop(job)) => self.stop(job, MOST_TIMES, None, None),
                Ok(Job::Obey(order, to)) => self.obey(&order, to),
                Ok(Job::Thaw { reason, to }) => self.thaw(reason, to),
                Ok(Job::CutOff {
                    pid,
                    protected,
                    reason,
                    to,
                }) => self.cut_off_by_hand(pid, protected, reason, to),
                Ok(Job::Rejoin { reason, to }) => self.rejoin(reason, to),
                Err(RecvTimeoutError::Timeout) if cuts_at <= Instant::now() => {
                    self.look_after_cuts(true);
                }
                Err(RecvTimeoutError::Timeout) => self.look_again(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.count();
        }
    }

    fn look_again(&mut self) {
        let Some(Again {
            times_left,
            mut job,
            maker,
            waits,
            ..
        }) = self.again.pop_front()
        else {
            return;
        };
        if let Some(kin) = self.kin.get() {
            job.tree.known = kin.below(job.tree.root);
        }
        self.stop(job, times_left, maker, waits);
    }

    fn stop(
        &mut self,
        job: Box<StopJob>,
        times_left: u32,
        maker: Option<Maker>,
        mut waits: Option<Waits>,
    ) {
        let is_first = times_left == MOST_TIMES;
        // A loop may make hundreds a second that end by themselves: they must not hold up who makes them.
        if !job.tell_always && job.tree.has_ended() {
            if is_first {
                self.again(job, times_left, maker, waits);
            }
            return;
        }
        let mut probes = Vec::new();
        let done = match job.act {
            StopAct::Frozen => self.trees.freeze(&job.tree),
            StopAct::Killed => self.trees.kill(&job.tree),
            StopAct::CutOff => cut_off(&self.state_dir, &job.tree).map(|(stopped, tried)| {
                probes = tried;
                stopped
            }),
            StopAct::Thawed | StopAct::Rejoined | StopAct::Prevented => return,
        };
        let took_ns = monotonic_ns().saturating_sub(job.event_mono_ns);
        let goes_on = done.is_ok();
        let stopped = done.unwrap_or_else(|error| failed(&job, crate::chain(&error)));
        let maker = stopped.maker.or(maker);
        if let Some(maker) = maker {
            maker.go_on();
        }
        let found_some = !stopped.processes.is_empty();
        let is_judged = job.ordered.is_none();
        let report = StopReport {
            event_to_stop_micros: (is_first && is_judged).then_some(took_ns / 1000),
            probes,
            ..job.report(&stopped)
        };
        if let Some(waits) = &mut waits {
            waits.add(&report);
        }
        let is_news = found_some || is_first && (job.tell_always || !stopped.survivors.is_empty());
        let looks_again = goes_on && times_left > 0 && (is_first || found_some);
        if let Some(waits) = waits.take_if(|_| !looks_again) {
            waits.conclude(&report);
        }
        if is_news {
            tell(&self.recorder, report);
        }
        if looks_again {
            self.again(job, times_left, maker, waits);
        }
    }

    /// To be looked at again, when the sensor has told of everybody who was made meanwhile.
    fn again(
        &mut self,
        job: Box<StopJob>,
        times_left: u32,
        maker: Option<Maker>,
        waits: Option<Waits>,
    ) {
        self.again.push_back(Again {
            at: Instant::now() + ASK_AGAIN,
            times_left: times_left - 1,
            job,
            maker,
            waits,
        });
    }

    fn thaw(&mut self, reason: String, to: oneshot::Sender<Answer>) {
        self.forget(StopAct::Frozen, None);
        let answer = match self.trees.thaw() {
            Ok(thawed) => {
                let report = report(StopAct::Thawed, &thawed, reason);
                let answer = answer(&report);
                if !thawed.processes.is_empty() || !thawed.survivors.is_empty() {
                    tell(&self.recorder, report);
                }
                answer
            }
            Err(error) => Answer::Failed {
                detail: crate::chain(&error),
            },
        };
        reply(to, answer);
    }

    fn count(&self) {
        self.cut_off
            .store(count_cut_off(&self.state_dir), Ordering::Relaxed);
        let frozen = self.trees.frozen().unwrap_or_else(|error| {
            tracing::warn!(error = %crate::chain(&error), "cannot tell who is frozen");
            0
        });
        self.frozen.store(frozen, Ordering::Relaxed);
    }
}
