//! From events to verdicts.
//!
//! The sensor's threads must not wait, so they hand events over through a bounded queue; what does not
//! fit is counted as lost. The bench keeps the process graph, writes down the story of each process that an
//! event makes worth judging, and judges it. What is suspicious or worse goes to the engine, which decides. The
//! image's digest and the reasons follow where the engine wants them: finding them takes twenty times as long as the verdict,
//! and a drop does not wait for them.
//!
//! The bench has a thread of its own. But most stories are answered from the cache or by the gate in less time
//! than it takes to wake a thread: those the sensor's thread answers itself when it has read all there is
//! ([`Intake::rest`]), and leaves the rest to the other.
//!
//! What needs the network waits in a queue, the riskiest first, and has a share of one core. So a burst of stories
//! makes the harmless-looking ones wait, and never an event get lost before the judge. What finds no room there, or is
//! forgotten before its turn, is shed and counted.

mod counts;
mod look;
mod turn;
mod wanted;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use cordon_behavior::event::FileIdentity;
use cordon_behavior::story::Story;
use cordon_behavior::{Behavior, Limits, Trigger};
use cordon_judge::{Around, Budget, Cascade, Queue, Risks, StoryPrint};
use cordon_proto::policy::Thresholds;
use cordon_proto::verdict::Verdict;
use cordon_sensor::{Event, EventBody, ProcessKey, mono_ns};
use tokio::sync::{mpsc, watch};

use crate::recent::Recent;
pub use counts::{Counts, QueueStatus};
use look::Waits;
pub use turn::{Intake, Kin};
pub use wanted::Wanted;

/// Events between sensor and judge: at 20,000 a second a fifth of one, and at most some 30 MB.
const EVENTS: usize = 4096;
const FINDINGS: usize = 256;
/// Processes whose last judged story is remembered, and those whose image is.
const REMEMBERED: usize = 8192;
/// Process trees whose steps are remembered.
pub(crate) const TREES: usize = 1024;
/// Stories that may wait for the network.
const WAITING: usize = 4096;
/// Of them, judged before the bench is free for others for a moment.
const AT_ONCE: usize = 32;

/// A judged story that is suspicious or worse.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The process.
    pub process: ProcessKey,
    /// The first process of its tree.
    pub tree: ProcessKey,
    /// Who descends from the process and lives.
    pub below: Vec<ProcessKey>,
    /// What was judged.
    pub story: Story,
    /// What the judge said.
    pub verdict: Verdict,
    /// Kernel's stamp of the event that led to it, CLOCK_MONOTONIC nanoseconds.
    pub cause_mono_ns: u64,
}

/// What the judging thread says.
#[derive(Debug)]
pub enum Finding {
    /// A verdict, its reasons not yet found.
    Judged(Box<Judged>, Wanted),
    /// What was found out of it later. Follows the [`Finding::Judged`] of which that was wanted, before the next one.
    Explained(Box<Explained>),
}

/// What a verdict was told without.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The same verdict with its reasons.
    pub verdict: Verdict,
    /// SHA-256 of the process's image, hex, where it could be found.
    pub exe_sha256: Option<String>,
}

/// The way for findings, from the thread that is started later.
pub fn channel() -> (mpsc::Sender<Finding>, mpsc::Receiver<Finding>) {
    mpsc::channel(FINDINGS)
}

/// Starts the thread. It ends when the intake is dropped. Without a judge nothing is judged, and each
/// trigger is counted. `cpu_percent` is the share of one core that the network and the reasons may take.
pub fn start(
    judge: Option<Cascade>,
    cpu_percent: u8,
    thresholds: watch::Receiver<Option<Thresholds>>,
    counts: &Arc<Counts>,
    out: mpsc::Sender<Finding>,
) -> std::io::Result<Intake> {
    let (events, queue) = sync_channel(EVENTS);
    let bench = Bench {
        queue,
        left: VecDeque::new(),
        waiting: Queue::new(WAITING),
        budget: Budget::new(cpu_percent),
        short_ns: 0,
        behavior: Behavior::new(Limits::default()),
        judge,
        thresholds,
        last_judged: Recent::new(REMEMBERED),
        images: Recent::new(REMEMBERED),
        risks: Risks::new(TREES),
        counts: Arc::clone(counts),
        out,
    };
    Intake::start(bench, events)
}

struct Bench {
    queue: Receiver<Event>,
    /// Of stories that only somebody with time can look at.
    left: VecDeque<Trigger>,
    /// Of stories that need the network.
    waiting: Queue<ProcessKey, Waits>,
    budget: Budget,
    /// When the share of the CPU was last used up, CLOCK_MONOTONIC nanoseconds.
    short_ns: u64,
    behavior: Behavior,
    judge: Option<Cascade>,
    thresholds: watch::Receiver<Option<Thresholds>>,
    last_judged: Recent<ProcessKey, StoryPrint>,
    images: Recent<ProcessKey, FileIdentity>,
    risks: Risks<ProcessKey>,
    counts: Arc<Counts>,
    out: mpsc::Sender<Finding>,
}

/// SHA-256 of an image, or why there is none.
type Digest = Result<[u8; 32], String>;

/// The engine is gone.
struct Closed;

/// Who works at the bench.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hurry {
    /// Its own thread, which may wait.
    None,
    /// The sensor's: what takes long is left.
    Sensor,
}

impl Bench {
    /// Everything that is there, as far as the share of the CPU goes, and then tells how full everything is. Answers
    /// when there is more to do, though nothing happens.
    fn work(&mut self) -> Result<Option<Duration>, Closed> {
        while let Some(trigger) = self.left.pop_front() {
            self.look(trigger, Hurry::None)?;
        }
        let mut again = None;
        for _ in 0..AT_ONCE {
            for trigger in self.behavior.due(mono_ns()) {
                self.look(trigger, Hurry::None)?;
            }
            // No more than the queue holds at once, so that the gauges are never old.
            for _ in 0..EVENTS {
                let Ok(event) = self.queue.try_recv() else {
                    break;
                };
                self.apply(&event, Hurry::None)?;
            }
            again = self.next_in();
            if again != Some(Duration::ZERO) {
                break;
            }
            self.judge_next()?;
        }
        self.counts.take(self);
        Ok(again)
    }

    /// What is there and takes no time; false when something is left.
    fn work_quickly(&mut self) -> bool {
        let waiting = self.waiting.len();
        while self.left.is_empty() && self.waiting.len() <= waiting {
            let Ok(event) = self.queue.try_recv() else {
                self.counts.take(self);
                return true;
            };
            if self.apply(&event, Hurry::Sensor).is_err() {
                return false;
            }
        }
        false
    }

    fn apply(&mut self, event: &Event, hurry: Hurry) -> Result<(), Closed> {
        if let EventBody::Exec(exec) = &event.body
            && let Some(identity) = exec.identity
        {
            self.images.put(event.process, identity);
        }
        for trigger in self.behavior.apply(event) {
            self.look(trigger, hurry)?;
        }
        Ok(())
    }

    /// How late it was judged, unless it was to wait.
    fn time(&self, trigger: &Trigger) {
        if !trigger.put_off {
            let late_ns = mono_ns().saturating_sub(trigger.cause_mono_ns);
            self.counts.lag.add(late_ns);
        }
    }

    fn tell(
        &mut self,
        judged: Judged,
        thresholds: Option<Thresholds>,
        (around, digest): (Around, Option<Digest>),
    ) -> Result<(), Closed> {
        let (process, story, micros) =
            (judged.process, judged.story.clone(), judged.verdict.micros);
        let (wanted, answer) = Wanted::pair();
        self.send(Finding::Judged(Box::new(judged), wanted))?;
        if !answer.is_yes() {
            return Ok(());
        }
        // Before the reasons: a process that ends meanwhile may leave no image behind.
        let digest = digest.unwrap_or_else(|| self.digest(process, &story));
        let exe_sha256 = digest.map(hex::encode).map_err(|why| {
            tracing::info!(story = %story.id, %why, "the detection has no digest of its image");
        });
        let Some(judge) = &mut self.judge else {
            return Ok(());
        };
        let began = Instant::now();
        let mut verdict = judge.judge(&story, thresholds, &around);
        self.budget.spend(began.elapsed().as_nanos() as u64);
        verdict.micros = micros;
        self.send(Finding::Explained(Box::new(Explained {
            verdict,
            exe_sha256: exe_sha256.ok(),
        })))
    }

    fn digest(&self, process: ProcessKey, story: &Story) -> Digest {
        let own = story.process.as_ref().ok_or("no process is known")?;
        let identity = self.images.get(&process);
        let found = self.counts.digests.sha256_of(process, &own.exe, identity);
        found.map_err(|error| crate::chain(&error))
    }

    /// Waits when the engine is behind: the queue before this thread fills, and that is counted.
    fn send(&self, finding: Finding) -> Result<(), Closed> {
        self.out.blocking_send(finding).map_err(|_| Closed)
    }
}

#[cfg(test)]
mod tests;
