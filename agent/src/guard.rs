//! What is done to the agent itself: signals that it cannot hold off, its programs in the kernel, its files. It is told
//! like any other tampering.
//!
//! Nobody waits for this: the thread that hands events over compares paths, and this one does the rest once a second.

mod life;
mod own;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cordon_behavior::event::{FileChange, FileOp};
use cordon_proto::id::HostId;
use cordon_proto::record::{Actor, RecordBody, TamperReport};
use cordon_sensor::{Event, EventBody, ProcessKey, SignalNote};
use nix::sys::signal::Signal;

pub use life::{Life, cut_short};
pub use own::OwnFiles;

use crate::actor;
use crate::attempts::Attempts;
use crate::recent::Recent;
use crate::recorder::Recorder;
use crate::signals::HEARD;

/// Changes of own files that wait to be told; more are counted.
const JOBS: usize = 256;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Programs started lately, so that one that has ended by the time that it is told has a name.
const REMEMBERED: usize = 1024;
/// A folder of the agent's own in the BPF file system, where systemd and others mount that. Under the package's unit it is all
/// of it that the agent may write to, and made by the unit.
const BPF_FILES: &str = "/sys/fs/bpf/cordon";

/// The way to the thread.
#[derive(Clone)]
pub struct Guard {
    jobs: SyncSender<Job>,
    own: Arc<OwnFiles>,
    started: Arc<Mutex<Recent<u32, Started>>>,
    pin: PathBuf,
}

/// A program that was started.
#[derive(Debug)]
struct Started {
    process: ProcessKey,
    exe: String,
    uid: u32,
}

enum Job {
    Sensor(Box<cordon_sensor::Guard>),
    /// Answered when nothing is kept in the kernel any more.
    Forget(SyncSender<()>),
    Touched(Box<Touched>),
}

/// Something was done to a file of ours.
struct Touched {
    by: Actor,
    change: FileChange,
}

impl Guard {
    /// Starts the thread. It ends when every handle is gone.
    pub fn start(own: OwnFiles, host: HostId, recorder: Recorder) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(JOBS);
        let way = Self {
            jobs,
            own: Arc::new(own),
            started: Arc::new(Mutex::new(Recent::new(REMEMBERED))),
            pin: pin_of(host),
        };
        let mut worker = Worker {
            recorder,
            pin: way.pin.clone(),
            sensor: None,
            signals: Attempts::default(),
            touched: BTreeMap::new(),
        };
        std::thread::Builder::new()
            .name("cordon-guard".to_owned())
            .spawn(move || worker.run(&queue))?;
        Ok(way)
    }

    /// The sensor has started; without a guard of its own signals and programs are not watched.
    pub fn watch(&self, sensor: Option<cordon_sensor::Guard>) {
        if let Some(sensor) = sensor {
            self.send(Job::Sensor(Box::new(sensor)));
        } else {
            tracing::warn!("who sends the agent signals is not seen here");
        }
    }

    /// To be told of every event, by threads that must not wait.
    pub fn note(&self, event: &Event) {
        match &event.body {
            EventBody::Exec(exec) if !exec.snapshot => {
                let started = Started {
                    process: event.process,
                    exe: exec.exe.clone(),
                    uid: exec.uid,
                };
                self.started().put(event.process.pid, started);
            }
            EventBody::File(change) if self.own.has(change) => self.touched(event, change),
            _ => {}
        }
    }

    /// Names a process that has ended meanwhile.
    pub(crate) fn complete(&self, actor: &mut Actor) {
        if let Some(started) = self.started().get(&actor.pid)
            && actor.exe.is_empty()
        {
            actor.exe.clone_from(&started.exe);
            actor.uid = actor.uid.or(Some(started.uid));
        }
    }

    /// The agent ends by a way that it knows: nothing is to be kept for the next start.
    pub fn forget(&self) {
        let (done, is_done) = sync_channel(1);
        self.send(Job::Forget(done));
        if is_done.recv_timeout(LOOK_EVERY).is_err() {
            tracing::warn!("notes of signals may stay in the kernel");
        }
    }

    fn touched(&self, event: &Event, change: &FileChange) {
        let by = self.actor(event.process);
        // The commands of root at the machine are the agent's own.
        if by.exe == self.own.program() {
            return;
        }
        self.send(Job::Touched(Box::new(Touched {
            by,
            change: change.clone(),
        })));
    }

    /// By memory where that is of this very process: `/proc` is looked at for others, while they live.
    fn actor(&self, process: ProcessKey) -> Actor {
        let pid = process.pid;
        if let Some(started) = self.started().get(&pid)
            && started.process == process
        {
            return Actor {
                pid,
                uid: Some(started.uid),
                exe: started.exe.clone(),
            };
        }
        actor::of_pid(pid, None)
    }

    fn started(&self) -> std::sync::MutexGuard<'_, Recent<u32, Started>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            tracing::error!("more is done to the agent than can be told");
        }
    }
}

/// Where notes of signals outlive the agent, as far as there is a BPF file system.
pub(crate) fn pin_of(host: HostId) -> PathBuf {
    Path::new(BPF_FILES).join(host.to_string())
}

struct Worker {
    recorder: Recorder,
    pin: PathBuf,
    sensor: Option<Box<cordon_sensor::Guard>>,
    signals: Attempts,
    /// By process, since the last look.
    touched: BTreeMap<u32, (Touched, u64)>,
}

impl Worker {
    fn run(&mut self, queue: &Receiver<Job>) {
        let mut look_at = Instant::now() + LOOK_EVERY;
        loop {
            match queue.recv_timeout(look_at.saturating_duration_since(Instant::now())) {
                Ok(Job::Sensor(sensor)) => self.watch(sensor),
                Ok(Job::Forget(done)) => {
                    self.look();
                    if let Some(sensor) = &mut self.sensor {
                        sensor.forget();
                    }
                    if done.try_send(()).is_err() {
                        tracing::debug!("whoever asked went on without waiting");
                    }
                }
                Ok(Job::Touched(touched)) => self.touched(*touched),
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    look_at = Instant::now() + LOOK_EVERY;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn watch(&mut self, mut sensor: Box<cordon_sensor::Guard>) {
        // Not every host has a BPF file system, nor lets this one write there.
        let unknown = "who ends the agent by SIGKILL is not known after it";
        if let Err(error) = crate::durable::make_folder(Path::new(BPF_FILES)) {
            tracing::info!(error = %crate::chain(&error), "{unknown}");
        } else if let Err(error) = sensor.keep_at(&self.pin) {
            tracing::info!(error = %crate::chain(&error), "{unknown}");
        }
        self.sensor = Some(sensor);
    }

    fn touched(&mut self, touched: Touched) {
        let of = self.touched.entry(touched.by.pid);
        of.or_insert((touched, 0)).1 += 1;
    }

    fn look(&mut self) {
        for (touched, count) in std::mem::take(&mut self.touched).into_values() {
            self.tell(touched_in_words(&touched, count), false, Some(touched.by));
        }
        let Some(sensor) = &mut self.sensor else {
            return;
        };
        let (signals, altered) = (sensor.signals(), sensor.tampering());
        for note in signals.iter().filter(|note| !is_heard(note)) {
            let by = sender(note);
            let who = actor::in_words(&by);
            let signal = signal_name(note.signal);
            self.signals.add(
                format!("{who} sent the agent {signal}; it runs on"),
                Some(by),
            );
        }
        if let Some(report) = self.signals.due(Instant::now()) {
            self.tell(report.what, report.repaired, report.by);
        }
        for one in altered {
            self.tell(one.what, one.repaired, None);
        }
    }

    fn tell(&self, what: String, repaired: bool, by: Option<Actor>) {
        tracing::warn!(what, repaired, "tampering");
        self.recorder.record(RecordBody::Tamper(TamperReport {
            what,
            repaired,
            micros: 0,
            by,
        }));
    }
}

fn touched_in_words(touched: &Touched, count: u64) -> String {
    let Touched { by, change } = touched;
    let act = match change.op {
        FileOp::Create => "made",
        FileOp::Write => "wrote to",
        FileOp::Rename => "renamed",
        FileOp::Unlink => "removed",
        FileOp::Link => "linked to",
        FileOp::Chmod => "changed the mode of",
        FileOp::Read => "read",
    };
    let who = actor::in_words(by);
    let more = match count {
        0 | 1 => String::new(),
        _ => format!(", and {} times more a file of the agent's", count - 1),
    };
    format!("{who} {act} the agent's {}{more}", change.path)
}

/// The engine hears it by itself, and says what became of it.
fn is_heard(note: &SignalNote) -> bool {
    HEARD.iter().any(|heard| *heard as i32 == note.signal)
}

fn sender(note: &SignalNote) -> Actor {
    Actor {
        pid: note.pid,
        uid: Some(note.uid),
        exe: note.exe.clone(),
    }
}

/// Real-time signals have numbers only.
fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(
        |_| format!("signal {signal}"),
        |signal| signal.as_str().to_owned(),
    )
}
