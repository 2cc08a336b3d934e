//! Programs that the policy says must not run.
//!
//! The kernel kills what is listed by path, and what this thread has found to be listed by content, before the first
//! instruction. Content it cannot hash: a file of a listed length is held there until this thread has. A file that
//! is listed without its length is hashed when it starts, and runs meanwhile; it is killed then, and its like from then
//! on by the kernel.
//!
//! Nobody is asked in the kernel's way, by fanotify's permission events: an agent that hangs would hang every start of
//! every program, and its owner with it.

mod altered;
mod detection;
mod listed;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use cordon_behavior::event::{FileIdentity, Listed};
use cordon_behavior::story::Process;
use cordon_contain::{HeldProcess, Stopped, Tree};
use cordon_proto::policy::Policy;
use cordon_proto::record::{LossReport, PolicyReport, RecordBody, StopAct, StoppedProcess};
use cordon_sensor::{Event, EventBody, ExecGate, NoDigest, ProcessKey};

use crate::host::HostFacts;
use crate::judging::Counts;
use crate::recorder::Recorder;
use crate::stopping::{StopJob, Stopper, report, tell};
use detection::{Fate, WhyNot, detection, process_of};
use listed::Programs;
use told::Reports;

/// Starts that wait to be looked at; more are counted. Those that are held are never left out.
const MOST_WAITING: usize = 1024;
/// How long a killed process may take to end.
const END: Duration = Duration::from_secs(1);
/// How long a digest is waited for while too much is hashed, and how often it is asked for.
const BUSY: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The way to the thread.
#[derive(Clone)]
pub struct Prevention {
    jobs: Sender<Job>,
    /// Digests are listed: every program is looked at.
    looks: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
    unseen: Arc<AtomicUsize>,
}

enum Job {
    Gate(Option<Box<ExecGate>>),
    Programs(Box<Programs>),
    Started(Box<Started>),
}

/// A program that was started.
struct Started {
    process: ProcessKey,
    exe: String,
    identity: Option<FileIdentity>,
    image: Process,
    listed: Option<Listed>,
    /// It was there before the sensor.
    snapshot: bool,
    mono_ns: u64,
}

impl Prevention {
    /// Starts the thread. It ends when every handle is gone.
    pub fn start(
        recorder: Recorder,
        stopper: Stopper,
        counts: Arc<Counts>,
        facts: HostFacts,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let way = Self {
            jobs,
            looks: Arc::default(),
            waiting: Arc::default(),
            unseen: Arc::default(),
        };
        let mut worker = Worker {
            recorder,
            stopper,
            counts,
            gate: None,
            programs: Programs::default(),
            told: Reports::new(facts),
            waiting: Arc::clone(&way.waiting),
            unseen: Arc::clone(&way.unseen),
        };
        std::thread::Builder::new()
            .name("cordon-prevent".to_owned())
            .spawn(move || worker.run(&queue))?;
        Ok(way)
    }

    /// What is listed from here on.
    pub fn rule(&self, policy: Option<&Policy>) {
        let programs = Programs::of(policy);
        self.looks.store(programs.has_digests(), Ordering::Relaxed);
        self.send(Job::Programs(Box::new(programs)));
    }

    /// The sensor has started; without a gate nothing can be kept from running.
    pub fn gate(&self, gate: Option<ExecGate>) {
        self.send(Job::Gate(gate.map(Box::new)));
    }

    /// To be told of every event, by threads that must not wait.
    pub fn note(&self, event: &Event) {
        let EventBody::Exec(exec) = &event.body else {
            return;
        };
        if exec.listed.is_none() && !self.looks.load(Ordering::Relaxed) {
            return;
        }
        // Of what was there before some may be held, and there are as many as there are processes.
        let must = exec.listed == Some(Listed::Held) || exec.snapshot;
        if !must && self.waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            self.unseen.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.send(Job::Started(Box::new(Started {
            process: event.process,
            exe: exec.exe.clone(),
            identity: exec.identity,
            image: process_of(exec),
            listed: exec.listed,
            snapshot: exec.snapshot,
            mono_ns: event.mono_ns,
        })));
    }

    /// The thread lives as long as the daemon.
    fn send(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::error!("nobody looks after programs that must not run any more");
        }
    }
}

struct Worker {
    recorder: Recorder,
    stopper: Stopper,
    counts: Arc<Counts>,
    /// None before the sensor has started, and where it has no gate.
    gate: Option<Box<ExecGate>>,
    programs: Programs,
    told: Reports,
    waiting: Arc<AtomicUsize>,
    unseen: Arc<AtomicUsize>,
}

impl Worker {
    fn run(&mut self, queue: &Receiver<Job>) {
        let mut has_started = false;
        loop {
            let job = match queue.recv_timeout(altered::LOOK_EVERY) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    self.look_after_list();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match job {
                Job::Gate(gate) => {
                    has_started = true;
                    self.gate = gate;
                    self.list();
                }
                Job::Programs(programs) => {
                    self.programs = *programs;
                    // Before that nobody knows yet whether it can be done.
                    if has_started {
                        self.list();
                    }
                }
                Job::Started(started) => {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    self.look(&started);
                }
            }
        }
    }

    /// Puts the list into the kernel, or says that it has no effect.
    fn list(&self) {
        let done = match &self.gate {
            Some(gate) => gate.set(&self.programs.list).map_err(|e| crate::chain(&e)),
            None if self.programs.is_empty() => Ok(()),
            None => {
                Err("programs are not watched by eBPF here: see cordon-agent doctor".to_owned())
            }
        };
        if let Err(why) = done {
            tracing::error!(%why, "programs on the list are not kept from running");
            self.recorder.record(RecordBody::Policy(PolicyReport {
                version: self.programs.policy_version,
                applied: true,
                detail: format!("blocked_programs has no effect: {why}"),
            }));
        }
    }

    fn look(&mut self, started: &Started) {
        let unseen = self.unseen.swap(0, Ordering::Relaxed);
        if unseen > 0 {
            self.recorder.record(RecordBody::Loss(LossReport {
                source: "prevention".to_owned(),
                count: unseen as u64,
                reason: "programs were started faster than they could be compared with the list"
                    .to_owned(),
            }));
        }
        match started.listed {
            Some(Listed::Killed) => self.killed(started, "the policy lists it"),
            Some(Listed::Told) => self.runs(started),
            Some(Listed::Held) => self.decide(started),
            None if started.snapshot => {
                if self.programs.has_length(started.identity.as_ref())
                    && HeldProcess::of(started.process).is_waiting()
                {
                    self.decide(started);
                }
            }
            None => self.runs_on(started),
        }
    }

    /// Of one that waits.
    fn decide(&mut self, started: &Started) {
        let held = HeldProcess::of(started.process);
        let digest = self.digest(started);
        let is_listed = matches!(&digest, Ok(digest) if self.programs.has(&started.exe, digest));
        // Another policy may have come since it was held.
        let ends = is_listed && self.programs.acts();
        let done = if ends { held.kill() } else { held.let_go() };
        if let Err(error) = done {
            tracing::error!(pid = started.process.pid, %error, "a held program cannot be signalled");
        }
        if ends {
            self.know(started, true);
            self.killed(started, "the policy lists its content");
        } else if is_listed {
            self.runs(started);
        } else if let Err(why) = digest {
            let why = format!("its content could not be compared: {why}");
            // It is as long as a listed one, and no more is known.
            if let Some((times, _)) = self.told.news(started) {
                self.spared(started, &why, &times, None);
            }
        } else {
            self.know(started, false);
        }
    }

    /// Of one that was not held: nobody knew its length, or it is not listed.
    fn runs_on(&mut self, started: &Started) {
        if !self.programs.has_digests() || started.identity.is_none() {
            return;
        }
        let Ok(digest) = self.digest_now(started) else {
            return;
        };
        if !self.programs.has(&started.exe, &digest) {
            return;
        }
        if self.programs.acts() {
            self.know(started, true);
            let tree = self.told.tree_of(started);
            self.detected(started, &tree, Fate::Killed);
            self.stopper.stop(StopJob {
                act: StopAct::Killed,
                tree: Tree {
                    root: started.process,
                    known: Vec::new(),
                    protected: self.programs.protected.clone(),
                },
                name: Some(tree),
                reason: format!(
                    "{}: the policy lists its content, which was not known before it ran",
                    started.exe
                ),
                event_mono_ns: started.mono_ns,
                policy_version: self.programs.policy_version,
                tell_always: true,
                ordered: None,
            });
        } else {
            self.runs(started);
        }
    }

    fn know(&self, started: &Started, is_listed: bool) {
        if let (Some(gate), Some(identity)) = (&self.gate, &started.identity)
            && let Err(error) = gate.know(identity, is_listed)
        {
            tracing::warn!(error = %crate::chain(&error), "the kernel does not know a program");
        }
    }

    /// Waits while too much is hashed: somebody is held.
    fn digest(&self, started: &Started) -> Result<[u8; 32], NoDigest> {
        let until = Instant::now() + BUSY;
        loop {
            match self.digest_now(started) {
                Err(NoDigest::Busy) if Instant::now() < until => std::thread::sleep(ASK_AGAIN),
                found => return found,
            }
        }
    }

    fn digest_now(&self, started: &Started) -> Result<[u8; 32], NoDigest> {
        let digests = &self.counts.digests;
        digests.sha256_of(started.process, &started.exe, started.identity.as_ref())
    }

    /// The signal was sent before its first instruction; here it is proved that it has ended.
    fn killed(&mut self, started: &Started, why: &str) {
        let Some((times, tree)) = self.told.news(started) else {
            return;
        };
        let held = HeldProcess::of(started.process);
        let until = Instant::now() + END;
        while !held.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let one = process(started, "");
        let mut stopped = Stopped::default();
        if held.has_ended() {
            stopped.is_whole = true;
            stopped.processes.push(one);
        } else {
            stopped.survivors.push(one);
        }
        self.detected(started, &tree, Fate::Prevented);
        self.tell(started, &stopped, &format!("{why}{times}"), Some(tree));
    }

    /// It is listed, and nothing was done.
    fn runs(&mut self, started: &Started) {
        let Some((times, tree)) = self.told.news(started) else {
            return;
        };
        let why = self.programs.why_not();
        self.detected(started, &tree, Fate::Runs(why));
        self.spared(started, why.text(), &times, Some(tree));
    }

    fn spared(&self, started: &Started, why: &str, times: &str, tree: Option<String>) {
        let stopped = Stopped {
            spared: vec![process(started, why)],
            ..Stopped::default()
        };
        let reason = format!("the policy lists it{times}");
        self.tell(started, &stopped, &reason, tree);
    }

    fn detected(&self, started: &Started, tree: &str, fate: Fate) {
        let sha256 = self.digest_now(started).ok().map(hex::encode);
        let version = self.programs.policy_version;
        let process = self.told.name_of(started);
        let detection = detection(started, tree.to_owned(), &process, fate, sha256, version);
        let body = RecordBody::Detection(Box::new(detection));
        self.recorder.record(body);
    }

    fn tell(&self, started: &Started, stopped: &Stopped, why: &str, tree: Option<String>) {
        let mut report = report(
            StopAct::Prevented,
            stopped,
            format!("{}: {why}", started.exe),
        );
        report.policy_version = self.programs.policy_version;
        report.tree = tree;
        tell(&self.recorder, report);
    }
}

fn process(started: &Started, why: &str) -> StoppedProcess {
    StoppedProcess {
        pid: started.process.pid,
        exe: started.exe.clone(),
        why: why.to_owned(),
    }
}
