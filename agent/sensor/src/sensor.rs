//! Starting, stopping and asking a sensor.

use std::io::{PipeReader, PipeWriter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use cordon_behavior::event::{Event, EventBody, ProcessKey};

use crate::coverage::{self, Coverage};
use crate::{Scope, SensorError, clock, ebpf, proc};

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
}

impl Default for SensorConfig {
    fn default() -> Self {
        Self {
            scope: Scope::default(),
            mode: Mode::default(),
            ring_bytes: 4 * 1024 * 1024,
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
}

/// A running sensor. Dropping it detaches from the kernel and waits for its thread.
#[derive(Debug)]
pub struct Sensor {
    mode: Mode,
    fallback_reason: Option<String>,
    counts: Arc<Counts>,
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Sensor {
    /// Attaches to the kernel; returns when events are being recorded.
    ///
    /// `sink` is called on the sensor's own thread, first for each process that was there before, as
    /// snapshot events, then for what happens, in the order of time. While it runs nothing else is
    /// read, so it must not wait: what no longer fits into the ring is counted and reported as loss.
    pub fn start(
        config: SensorConfig,
        sink: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, SensorError> {
        let (stopped, stop) = std::io::pipe().map_err(SensorError::Thread)?;
        let (ready, is_ready) = sync_channel(1);
        let counts = Arc::new(Counts::default());
        let out = Out {
            sink: Box::new(sink),
            counts: Arc::clone(&counts),
        };
        let thread = std::thread::Builder::new()
            .name("cordon-sensor".to_owned())
            .spawn(move || watch(&config, out, &stopped, &ready))
            .map_err(SensorError::Thread)?;
        match is_ready.recv().map_err(|_| SensorError::Died)? {
            Started::Failed(error) => Err(error),
            Started::As(mode, fallback_reason) => Ok(Self {
                mode,
                fallback_reason,
                counts,
                stop: Some(stop),
                thread: Some(thread),
            }),
        }
    }

    /// How the kernel is watched in fact: [`Mode::Ebpf`] or [`Mode::Proc`].
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Why [`Mode::Auto`] fell back to `/proc`.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// How many events went through so far.
    pub fn counters(&self) -> Counters {
        Counters {
            seen: self.counts.seen.load(Ordering::Relaxed),
            lost: self.counts.lost.load(Ordering::Relaxed),
        }
    }

    /// What this sensor sees and does not see.
    pub fn coverage(&self) -> Vec<Coverage> {
        coverage::of(self.mode, self.fallback_reason.as_deref())
    }

    /// What a sensor started here would see: tries to load the programs and changes nothing.
    pub fn probe() -> Vec<Coverage> {
        match ebpf::probe() {
            Ok(()) => coverage::of(Mode::Ebpf, None),
            Err(error) => coverage::of(Mode::Proc, Some(&error.chain())),
        }
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        // The thread sees the pipe close.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("sensor thread panicked");
        }
    }
}

/// What the thread tells the starter.
pub(crate) enum Started {
    As(Mode, Option<String>),
    Failed(SensorError),
}

pub(crate) type Ready = SyncSender<Started>;

/// Tells the starter; it cannot have gone, it waits for exactly this.
pub(crate) fn tell(ready: &Ready, started: Started) {
    if ready.send(started).is_err() {
        tracing::warn!("nobody waits for the sensor that started");
    }
}

fn watch(config: &SensorConfig, mut out: Out, stopped: &PipeReader, ready: &Ready) {
    let mut reason = None;
    if config.mode != Mode::Proc {
        match ebpf::watch(config, &mut out, stopped, ready) {
            Ok(()) => return,
            Err(error) if config.mode == Mode::Ebpf => return tell(ready, Started::Failed(error)),
            Err(error) => reason = Some(error.chain()),
        }
    }
    if let Err(error) = proc::watch(&config.scope, &mut out, stopped, ready, reason) {
        tell(ready, Started::Failed(error));
    }
}

#[derive(Debug, Default)]
struct Counts {
    seen: AtomicU64,
    lost: AtomicU64,
}

/// Where events go.
pub(crate) struct Out {
    sink: Box<dyn FnMut(Event) + Send>,
    counts: Arc<Counts>,
}

impl Out {
    pub(crate) fn event(&mut self, event: Event) {
        self.counts.seen.fetch_add(1, Ordering::Relaxed);
        (self.sink)(event);
    }

    /// A loss is an event too, so that it reaches the disk and the controller.
    pub(crate) fn loss(&mut self, source: &str, count: u64) {
        self.counts.lost.fetch_add(count, Ordering::Relaxed);
        let mono_ns = clock::mono_ns();
        (self.sink)(Event {
            mono_ns,
            wall_ns: mono_ns.saturating_add_signed(clock::wall_offset_ns()),
            process: ProcessKey {
                pid: 0,
                start_ns: 0,
            },
            cgroup_id: 0,
            body: EventBody::Loss {
                source: source.to_owned(),
                count,
            },
        });
    }
}
