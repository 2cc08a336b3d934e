//! Starting, stopping and asking a sensor.

use std::io::PipeReader;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};

use cordon_behavior::event::Event;

use crate::coverage::{self, CLASSES, Coverage};
use crate::ebpf::{Attached, ExecGate, Guard};
use crate::facts::Facts;
use crate::out::Out;
use crate::task::Task;
use crate::{CacheUse, Scope, SensorError, changes, ebpf, files, logins, mounts, proc, sideband};

/// How the kernel is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// eBPF where it works, else `/proc`.
    #[default]
    Auto,
    /// eBPF or an error.
    Ebpf,
    /// The proc connector and `/proc`.
    Proc,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Ebpf => "ebpf",
            Self::Proc => "proc",
        })
    }
}

/// What to watch, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorConfig {
    /// Whose processes.
    pub scope: Scope,
    /// By which means.
    pub mode: Mode,
    /// Size of the ring between kernel and sensor; rounded up to a power of two of at least a page.
    /// The default holds about half a second of 20,000 exec/s.
    pub ring_bytes: u32,
    /// Events a second that one cgroup may make over ten seconds before some of them are counted
    /// and not handed over; 0: no limit. A cgroup that was quiet may make ten seconds' worth at once.
    /// The default lets 1,600 short processes a second (a fork, an exec and an exit each) pass with
    /// 3,200 other events, and a whole second of 20,000 processes; a machine without containers has
    /// most of its work in one cgroup, so less would cost sight on busy build hosts.
    pub events_per_cgroup: u32,
    /// Which files are watched.
    pub files: FilesConfig,
    /// Where logins are told.
    pub logins: LoginFiles,
    /// Where what was seen on this host is remembered over restarts; `None`: it is not.
    pub state_dir: Option<PathBuf>,
}

/// Which files are watched. A folder stands for everything in it, not below its subfolders, `*` in a
/// name for anything but a first dot; a path
/// that does not exist is watched for from its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesConfig {
    /// Also what is worth watching on any Linux server, homes included.
    pub defaults: bool,
    /// Changes to these are told.
    pub watched: Vec<PathBuf>,
    /// Reads of these are told too.
    pub secrets: Vec<PathBuf>,
    /// Whatever is done to these is told.
    pub decoys: Vec<PathBuf>,
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self {
            defaults: true,
            watched: Vec::new(),
            secrets: Vec::new(),
            decoys: Vec::new(),
        }
    }
}

/// Where logins are told. A file that is not there is read when it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginFiles {
    /// Sessions, records of utmp(5). Default `/var/log/wtmp`.
    pub sessions: PathBuf,
    /// Failures, records of utmp(5). Default `/var/log/btmp`.
    pub failures: PathBuf,
    /// Logs of authentication, as syslog writes them. Default `/var/log/auth.log` (Debian) and
    /// `/var/log/secure` (RHEL).
    pub logs: Vec<PathBuf>,
}

impl Default for LoginFiles {
    fn default() -> Self {
        Self {
            sessions: "/var/log/wtmp".into(),
            failures: "/var/log/btmp".into(),
            logs: vec!["/var/log/auth.log".into(), "/var/log/secure".into()],
        }
    }
}

impl Default for SensorConfig {
    fn default() -> Self {
        Self {
            scope: Scope::default(),
            mode: Mode::default(),
            ring_bytes: 4 * 1024 * 1024,
            events_per_cgroup: 8_000,
            files: FilesConfig::default(),
            logins: LoginFiles::default(),
            state_dir: None,
        }
    }
}

/// How many events went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Handed to the callback, loss notices not counted.
    pub seen: u64,
    /// Known to have happened and not handed over; each is in a loss event too.
    pub lost: u64,
    /// Of [`Counters::seen`], in the order of [`CLASSES`]; notices of throttling are in none.
    pub by_class: [u64; CLASSES.len()],
}

/// A running sensor. Dropping it detaches from the kernel and waits for its threads.
pub struct Sensor {
    mode: Mode,
    fallback_reason: Option<String>,
    coverage: Vec<Coverage>,
    exec_gate: Option<ExecGate>,
    guard: Option<Guard>,
    out: Out,
    /// The sources beside the main one go first.
    _tasks: Vec<Task>,
    _main: Task,
}

impl Sensor {
    /// Attaches to the kernel; returns when events are being recorded.
    ///
    /// `sink` is called on the sensor's own threads, one at a time: first for each process that was
    /// there before, as snapshot events, then for what happens, each source's events in the order of
    /// time. While it runs nothing else is read, so it must not wait: what no longer fits into the
    /// ring is counted and reported as loss.
    pub fn start(
        config: SensorConfig,
        sink: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, SensorError> {
        Self::start_with_rest(config, sink, || {})
    }

    /// The same, and `rest` is called on the thread that watches by eBPF whenever it has handed
    /// what there was to `sink`, and at least every 50 ms. No other source waits for `sink` meanwhile. What is done there saves the wake-up of
    /// another thread, which costs more than a few events; it must be over before the ring is full, so it
    /// may take a few milliseconds. Not called by any other source, nor where `/proc` is watched.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "made for this sensor, and read by all of its threads"
    )]
    pub fn start_with_rest(
        config: SensorConfig,
        sink: impl FnMut(Event) + Send + 'static,
        mut rest: impl FnMut() + Send + 'static,
    ) -> Result<Self, SensorError> {
        let (ready, is_ready) = sync_channel(1);
        let out = Out::new(sink, Facts::new(&config));
        let (main_config, main_out) = (config.clone(), out.clone());
        let main = Task::spawn("cordon-sensor", move |stopped| {
            watch(&main_config, &main_out, stopped, &ready, &mut rest);
        })
        .map_err(SensorError::Thread)?;
        let (mut set_ids, mut exec_gate, mut guard) = (None, None, None);
        let (mode, fallback_reason, mut coverage) =
            match is_ready.recv().map_err(|_| SensorError::Died)? {
                Started::Failed(error) => return Err(error),
                Started::Ebpf(mut attached) => {
                    set_ids = attached.set_ids.take();
                    exec_gate = attached.exec_gate.take();
                    guard = attached.guard.take();
                    (Mode::Ebpf, None, attached.rows())
                }
                Started::Proc { reason } => {
                    let rows = coverage::of(Mode::Proc, reason.as_deref(), &[]);
                    (Mode::Proc, reason, rows)
                }
            };
        let mut tasks = Vec::new();
        let mut sources = vec![
            files::start(&config, &out, set_ids),
            sideband::start(&config, &out),
            changes::start(&config, &out),
            mounts::start(&config, &out),
            logins::start(&config, &out),
        ];
        if mode == Mode::Proc {
            sources.push(proc::sockets::start(&out));
        }
        for source in sources {
            coverage::merge(&mut coverage, source.coverage);
            tasks.extend(source.task);
        }
        Ok(Self {
            mode,
            fallback_reason,
            coverage,
            exec_gate,
            guard,
            out,
            _tasks: tasks,
            _main: main,
        })
    }

    /// How the kernel is watched in fact: [`Mode::Ebpf`] or [`Mode::Proc`].
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Why [`Mode::Auto`] fell back to `/proc`.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// Where programs are kept from running, once; `None` where only `/proc` is watched, and the next times.
    pub fn take_exec_gate(&mut self) -> Option<ExecGate> {
        self.exec_gate.take()
    }

    /// What tells who meddles with this process and its programs, once; `None` where only `/proc` is watched, and the next
    /// times.
    pub fn take_guard(&mut self) -> Option<Guard> {
        self.guard.take()
    }

    /// How many events went through so far.
    pub fn counters(&self) -> Counters {
        self.out.counters()
    }

    /// What was lost so far, by source as in [`EventBody::Loss`](cordon_behavior::event::EventBody::Loss).
    /// The counts add up to [`Counters::lost`], whatever became of the loss events.
    pub fn losses(&self) -> Vec<(String, u64)> {
        self.out.losses()
    }

    /// How full each cache is.
    pub fn caches(&self) -> Vec<CacheUse> {
        self.out.caches()
    }

    /// What this sensor sees and does not see, a row for each class.
    pub fn coverage(&self) -> &[Coverage] {
        &self.coverage
    }

    /// What a sensor started here would see: loads and attaches the programs, and lets go of them.
    pub fn probe(config: &SensorConfig) -> Vec<Coverage> {
        let main = match config.mode {
            Mode::Proc => Err(None),
            _ => ebpf::probe().map_err(|error| Some(error.chain())),
        };
        let (mut rows, sockets, set_ids) = match main {
            Ok(mut attached) => {
                let set_ids = attached.set_ids.take();
                (attached.rows(), Vec::new(), set_ids)
            }
            Err(why) => {
                let rows = coverage::of(Mode::Proc, why.as_deref(), &[]);
                (rows, proc::sockets::seen(), None)
            }
        };
        let probes = [
            sockets,
            files::probe(set_ids),
            sideband::probe(),
            changes::probe(),
            mounts::probe(config),
            logins::probe(config),
        ];
        for said in probes {
            coverage::merge(&mut rows, said);
        }
        rows
    }
}

impl std::fmt::Debug for Sensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sensor")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// A source beside the main one: what it sees, and its thread unless it could not start.
pub(crate) struct Source {
    pub coverage: Vec<Coverage>,
    pub task: Option<Task>,
}

impl Source {
    /// Watches on a thread of its own; where that is refused nothing of `coverage` is seen.
    pub(crate) fn spawn(
        name: &str,
        coverage: Vec<Coverage>,
        work: impl FnOnce(&PipeReader) + Send + 'static,
    ) -> Self {
        match Task::spawn(name, work) {
            Ok(task) => Self {
                coverage,
                task: Some(task),
            },
            Err(error) => Self::refused(
                coverage
                    .into_iter()
                    .map(|row| row.without_thread(&error))
                    .collect(),
            ),
        }
    }

    /// Cannot watch here; `coverage` says why.
    pub(crate) fn refused(coverage: Vec<Coverage>) -> Self {
        Self {
            coverage,
            task: None,
        }
    }
}

/// What the main thread tells the starter.
pub(crate) enum Started {
    /// By eBPF.
    Ebpf(Box<Attached>),
    /// By `/proc`, because of what eBPF said.
    Proc {
        reason: Option<String>,
    },
    Failed(SensorError),
}

pub(crate) type Ready = SyncSender<Started>;

/// Tells the starter; it cannot have gone, it waits for exactly this.
pub(crate) fn tell(ready: &Ready, started: Started) {
    if ready.send(started).is_err() {
        tracing::warn!("nobody waits for the sensor that started");
    }
}

fn watch(
    config: &SensorConfig,
    out: &Out,
    stopped: &PipeReader,
    ready: &Ready,
    rest: &mut dyn FnMut(),
) {
    let mut reason = None;
    if config.mode != Mode::Proc {
        match ebpf::watch(config, out, stopped, ready, rest) {
            Ok(()) => return,
            Err(error) if config.mode == Mode::Ebpf => return tell(ready, Started::Failed(error)),
            Err(error) => reason = Some(error.chain()),
        }
    }
    if let Err(error) = proc::watch(&config.scope, out, stopped, ready, reason) {
        tell(ready, Started::Failed(error));
    }
}
