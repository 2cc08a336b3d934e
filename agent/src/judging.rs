//! From events to verdicts, on a thread of its own.
//!
//! The sensor's thread must not wait, so it hands events over through a bounded queue; what does not
//! fit is counted as lost. This thread keeps the process graph, writes down the story of each process that an
//! event makes worth judging, and judges it. What is suspicious or worse goes to the engine, which decides. The
//! image's digest and the reasons follow: finding them takes twenty times as long as the verdict, and a drop does
//! not wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use cordon_behavior::event::FileIdentity;
use cordon_behavior::story::Story;
use cordon_behavior::{Behavior, Limits, Trigger};
use cordon_judge::{Fingerprint, Judge, Risks, TreeRisk};
use cordon_proto::policy::Thresholds;
use cordon_proto::verdict::{Reason, Verdict, VerdictKind};
use cordon_sensor::{Digests, Event, EventBody, ProcessKey, mono_ns};
use tokio::sync::{mpsc, watch};

use crate::metrics::{CacheStatus, Gauge, Lag};
use crate::recent::Recent;

/// Events between sensor and judge: at 20,000 a second a fifth of one, and at most some 30 MB.
const EVENTS: usize = 4096;
const FINDINGS: usize = 256;
/// When events come faster than this the thread lets them gather for as long: to be woken for each of
/// them would cost more than to judge it. A host that is quiet has its events judged at once.
const GATHER: Duration = Duration::from_millis(2);
/// How often a story that was put off is looked after while nothing happens.
const PUT_OFF: Duration = Duration::from_millis(250);
/// Processes whose last judged story is remembered, and those whose image is.
const REMEMBERED: usize = 8192;
/// Process trees whose risk is remembered.
const TREES: usize = 1024;

/// A judged story that is suspicious or worse.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The process.
    pub process: ProcessKey,
    /// The first process of its tree.
    pub tree: ProcessKey,
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
    Judged(Box<Judged>),
    /// What was found out of it later. Follows each [`Finding::Judged`] before the next one.
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

/// How much went through.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events that found the queue full.
    pub overflowed: AtomicU64,
    /// Stories judged.
    pub judged: AtomicU64,
    /// Triggers that nobody could judge, because there is no model.
    pub unjudged: AtomicU64,
    /// How late stories reach the judge.
    pub lag: Lag,
    graph: Gauge,
    verdicts: Gauge,
    last_judged: Gauge,
    images: Gauge,
    trees: Gauge,
    digests: Digests,
}

impl Counts {
    /// How full the judging thread's caches are.
    pub fn caches(&self) -> [CacheStatus; 6] {
        let verdicts = cordon_judge::Options::default().cache_bytes;
        let last_judged = Recent::<ProcessKey, Fingerprint>::bytes_of(REMEMBERED + 1);
        let images = Recent::<ProcessKey, FileIdentity>::bytes_of(REMEMBERED + 1);
        [
            self.graph.read("process_graph", Limits::default().bytes),
            self.verdicts.read("verdicts", verdicts),
            self.last_judged.read("last_judged", last_judged),
            self.images.read("judged_images", images),
            self.trees
                .read("tree_risks", Risks::<ProcessKey>::bytes_of(TREES)),
            self.digests.usage().into(),
        ]
    }
}

/// Where the sensor puts events. Never waits.
pub struct Intake {
    events: SyncSender<Event>,
    counts: Arc<Counts>,
}

impl Intake {
    /// Takes one event, or counts it as lost. What the sensor lost it counts itself.
    pub fn take(&self, event: Event) {
        if matches!(event.body, EventBody::Loss { .. }) {
            return;
        }
        if self.events.try_send(event).is_err() {
            self.counts.overflowed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The way for findings, from the thread that is started later.
pub fn channel() -> (mpsc::Sender<Finding>, mpsc::Receiver<Finding>) {
    mpsc::channel(FINDINGS)
}

/// Starts the thread. It ends when the intake is dropped. Without a judge nothing is judged, and each
/// trigger is counted.
pub fn start(
    judge: Option<Judge>,
    thresholds: watch::Receiver<Option<Thresholds>>,
    counts: &Arc<Counts>,
    out: mpsc::Sender<Finding>,
) -> std::io::Result<Intake> {
    let (events, queue) = sync_channel(EVENTS);
    let mut bench = Bench {
        behavior: Behavior::new(Limits::default()),
        judge,
        thresholds,
        last_judged: Recent::new(REMEMBERED),
        images: Recent::new(REMEMBERED),
        risks: Risks::new(TREES),
        counts: Arc::clone(counts),
        out,
    };
    std::thread::Builder::new()
        .name("cordon-judge".to_owned())
        .spawn(move || bench.run(&queue))?;
    let counts = Arc::clone(counts);
    Ok(Intake { events, counts })
}

struct Bench {
    behavior: Behavior,
    judge: Option<Judge>,
    thresholds: watch::Receiver<Option<Thresholds>>,
    last_judged: Recent<ProcessKey, Fingerprint>,
    images: Recent<ProcessKey, FileIdentity>,
    risks: Risks<ProcessKey>,
    counts: Arc<Counts>,
    out: mpsc::Sender<Finding>,
}

/// The engine is gone.
struct Closed;

impl Bench {
    fn run(&mut self, events: &Receiver<Event>) {
        let mut drained = Instant::now();
        loop {
            let (is_busy, done) = match self.next(events) {
                // Also when they came while the thread let them gather.
                Ok(event) => (drained.elapsed() < 2 * GATHER, self.drain(&event, events)),
                Err(RecvTimeoutError::Timeout) => (false, self.judge_due()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if done.is_err() {
                return;
            }
            drained = Instant::now();
            if is_busy {
                std::thread::sleep(GATHER);
            }
        }
    }

    /// Takes in what is there, and then tells how full everything is.
    fn drain(&mut self, first: &Event, more: &Receiver<Event>) -> Result<(), Closed> {
        self.apply(first)?;
        // No more than the queue holds at once, so that the gauges are never old.
        for event in more.try_iter().take(EVENTS) {
            self.apply(&event)?;
        }
        self.tell_gauges();
        Ok(())
    }

    /// Waits for an event; no longer than [`PUT_OFF`] while a story is put off, for nobody else may
    /// do anything on this host that would bring it up.
    fn next(&self, events: &Receiver<Event>) -> Result<Event, RecvTimeoutError> {
        if self.behavior.is_waiting() {
            events.recv_timeout(PUT_OFF)
        } else {
            events.recv().map_err(|_| RecvTimeoutError::Disconnected)
        }
    }

    fn judge_due(&mut self) -> Result<(), Closed> {
        for trigger in self.behavior.due(mono_ns()) {
            self.judge(trigger)?;
        }
        Ok(())
    }

    fn apply(&mut self, event: &Event) -> Result<(), Closed> {
        if let EventBody::Exec(exec) = &event.body
            && let Some(identity) = exec.identity
        {
            self.images.put(event.process, identity);
        }
        for trigger in self.behavior.apply(event) {
            self.judge(trigger)?;
        }
        Ok(())
    }

    fn tell_gauges(&self) {
        let Counts {
            graph,
            verdicts,
            last_judged,
            images,
            trees,
            ..
        } = &*self.counts;
        graph.set(self.behavior.bytes(), self.behavior.len(), 0);
        let remembered = self.last_judged.len();
        let bytes = Recent::<ProcessKey, Fingerprint>::bytes_of(remembered);
        last_judged.set(bytes, remembered, self.last_judged.forgotten());
        let remembered = self.images.len();
        let bytes = Recent::<ProcessKey, FileIdentity>::bytes_of(remembered);
        images.set(bytes, remembered, self.images.forgotten());
        let remembered = self.risks.len();
        let bytes = Risks::<ProcessKey>::bytes_of(remembered);
        trees.set(bytes, remembered, self.risks.forgotten());
        if let Some(judge) = &self.judge {
            let judge = judge.counters();
            verdicts.set(judge.cache_bytes, judge.cache_entries, judge.forgotten);
        }
    }

    fn judge(&mut self, trigger: Trigger) -> Result<(), Closed> {
        let Some(story) = self.behavior.story(trigger.process) else {
            return Ok(());
        };
        let Some(judge) = &mut self.judge else {
            self.counts.unjudged.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        if !trigger.put_off {
            self.counts
                .lag
                .add(mono_ns().saturating_sub(trigger.cause_mono_ns));
        }
        // A story that did not grow in what the model reads was answered already.
        let fingerprint = judge.fingerprint(&story);
        if self.last_judged.get(&trigger.process) == Some(&fingerprint) {
            return Ok(());
        }
        self.last_judged.put(trigger.process, fingerprint);
        let thresholds = *self.thresholds.borrow();
        let began = Instant::now();
        let mut verdict = judge.judge_fingerprinted(&story, fingerprint, thresholds);
        verdict.micros = began.elapsed().as_micros() as u64;
        self.counts.judged.fetch_add(1, Ordering::Relaxed);
        let own = judge.thresholds(thresholds);
        let tree = self
            .behavior
            .tree_root(trigger.process)
            .unwrap_or(trigger.process);
        let risk = self.risks.add(
            tree,
            fingerprint.number(),
            verdict.score,
            own,
            trigger.cause_mono_ns,
        );
        if verdict.verdict < VerdictKind::Suspicious {
            return Ok(());
        }
        raise(&mut verdict, risk);
        let judged = Judged {
            process: trigger.process,
            tree,
            story,
            verdict,
            cause_mono_ns: trigger.cause_mono_ns,
        };
        self.tell(judged, risk, thresholds)
    }

    fn tell(
        &mut self,
        judged: Judged,
        risk: TreeRisk,
        thresholds: Option<Thresholds>,
    ) -> Result<(), Closed> {
        let (process, story, micros) =
            (judged.process, judged.story.clone(), judged.verdict.micros);
        self.send(Finding::Judged(Box::new(judged)))?;
        // Before the reasons: a process that ends meanwhile may leave no image behind.
        let exe_sha256 = self.digest(process, &story);
        let Some(judge) = &mut self.judge else {
            return Ok(());
        };
        let mut verdict = judge.judge(&story, thresholds);
        verdict.micros = micros;
        raise(&mut verdict, risk);
        self.send(Finding::Explained(Box::new(Explained {
            verdict,
            exe_sha256,
        })))
    }

    fn digest(&self, process: ProcessKey, story: &Story) -> Option<String> {
        let exe = &story.process.as_ref()?.exe;
        let identity = self.images.get(&process);
        match self.counts.digests.sha256_of(process, exe, identity) {
            Ok(digest) => Some(hex::encode(digest)),
            Err(error) => {
                let error = crate::chain(&error);
                tracing::info!(%exe, error, "the detection has no digest of its image");
                None
            }
        }
    }

    /// Waits when the engine is behind: the queue before this thread fills, and that is counted.
    fn send(&self, finding: Finding) -> Result<(), Closed> {
        self.out.blocking_send(finding).map_err(|_| Closed)
    }
}

/// What is suspicious in a tree that is over the line is malicious, and says so first.
fn raise(verdict: &mut Verdict, risk: TreeRisk) {
    if !risk.is_over || verdict.verdict != VerdictKind::Suspicious {
        return;
    }
    verdict.verdict = VerdictKind::Malicious;
    let text = format!(
        "{} different suspicious steps in this process tree, shortly after each other",
        risk.signs
    );
    let zh = format!("该进程树中先后出现 {} 个不同的可疑步骤", risk.signs);
    let weight = (risk.sum / TreeRisk::line() - 1.0).clamp(0.0, 1.0);
    verdict.reasons.insert(0, Reason { text, zh, weight });
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use cordon_behavior::event::Exec;

    use super::*;

    fn bench() -> Bench {
        Bench {
            behavior: Behavior::new(Limits::default()),
            judge: None,
            thresholds: watch::channel(None).1,
            last_judged: Recent::new(REMEMBERED),
            images: Recent::new(REMEMBERED),
            risks: Risks::new(TREES),
            counts: Arc::default(),
            out: channel().0,
        }
    }

    /// An exec of the file at `path` by a process that has ended.
    fn exec(path: &std::path::Path) -> Event {
        let facts = std::fs::metadata(path).unwrap();
        let identity = FileIdentity {
            device: facts.dev(),
            inode: facts.ino(),
            mtime_ns: (facts.mtime() * 1_000_000_000 + facts.mtime_nsec()) as u64,
            size: facts.size(),
        };
        let exec = Exec {
            exe: path.to_str().unwrap().to_owned(),
            identity: Some(identity),
            ..Exec::default()
        };
        Event {
            mono_ns: 1,
            wall_ns: 1,
            process: ProcessKey {
                pid: u32::MAX,
                start_ns: 1,
            },
            cgroup_id: 0,
            container: None,
            body: EventBody::Exec(Box::new(exec)),
        }
    }

    #[test]
    fn an_image_is_hashed_as_it_was_executed_and_another_in_its_place_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let mut bench = bench();
        let event = exec(&path);
        assert!(bench.apply(&event).is_ok());
        let story = bench.behavior.story(event.process).unwrap();
        let digest = bench.digest(event.process, &story).unwrap();
        assert!(digest.starts_with("ba7816bf"), "{digest}");
        std::fs::write(&path, "other").unwrap();
        assert_eq!(bench.digest(event.process, &story), None);
        let names: Vec<String> = bench.counts.caches().map(|cache| cache.name).into();
        assert!(names.contains(&"digests".to_owned()), "{names:?}");
    }
}
