//! Whose turn it is at the bench: its own thread's, or for a moment the sensor's.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use cordon_sensor::{Event, EventBody, ProcessKey};

use super::{Bench, Counts};

/// When events come faster than this the thread lets them gather for as long: to be woken for each of
/// them would cost more than to judge it. A host that is quiet has its events judged at once.
const GATHER: Duration = Duration::from_millis(2);
/// How often a story that was put off is looked after while nothing happens.
const PUT_OFF: Duration = Duration::from_millis(250);
/// Most events that the sensor's thread takes on before it looks at its ring again; more are left to the bench's own
/// thread.
const A_REST: usize = 128;

thread_local! {
    /// This thread comes to [`Intake::rest`] after what it puts in.
    static RESTS: Cell<bool> = const { Cell::new(false) };
}

/// Where the sensor puts events. Never waits.
pub struct Intake {
    events: SyncSender<Event>,
    counts: Arc<Counts>,
    shared: Arc<Shared>,
    thread: Thread,
    /// Events since the last rest.
    taken: AtomicUsize,
}

/// Asks the graph who descends from whom, for threads that may wait.
#[derive(Clone)]
pub struct Kin(Arc<Shared>);

impl Kin {
    /// Everybody known who descends from a process and lives.
    pub fn below(&self, process: ProcessKey) -> Vec<ProcessKey> {
        let bench = self.0.bench.lock();
        let bench = bench.unwrap_or_else(PoisonError::into_inner);
        bench.behavior.living_below(process)
    }

    /// Root of the tree that a process belongs to in records, where it is known.
    pub fn tree(&self, process: ProcessKey) -> Option<ProcessKey> {
        let bench = self.0.bench.lock();
        let bench = bench.unwrap_or_else(PoisonError::into_inner);
        bench.behavior.tree_root(process)
    }
}

struct Shared {
    bench: Mutex<Bench>,
    /// The thread comes by itself within [`PUT_OFF`].
    comes: AtomicBool,
    is_over: AtomicBool,
}

impl Intake {
    pub(super) fn start(bench: Bench, events: SyncSender<Event>) -> std::io::Result<Self> {
        let counts = Arc::clone(&bench.counts);
        let shared = Arc::new(Shared {
            bench: Mutex::new(bench),
            comes: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("cordon-judge".to_owned())
            .spawn(move || own.run())?;
        Ok(Self {
            events,
            counts,
            shared,
            thread: thread.thread().clone(),
            taken: AtomicUsize::new(0),
        })
    }

    /// To ask the graph. Does not keep the thread from its end.
    pub fn kin(&self) -> Kin {
        Kin(Arc::clone(&self.shared))
    }

    /// Takes one event, or counts it as lost. What the sensor lost it counts itself.
    pub fn take(&self, event: Event) {
        if matches!(event.body, EventBody::Loss { .. }) {
            return;
        }
        if self.events.try_send(event).is_err() {
            self.counts.overflowed.fetch_add(1, Ordering::Relaxed);
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        if !RESTS.get() {
            self.thread.unpark();
        }
    }

    /// To be called by a thread that has put in what there was, and may stay away from its own work for
    /// some milliseconds: judges what can be judged quickly, and wakes the bench's thread for the rest.
    pub fn rest(&self) {
        RESTS.set(true);
        let taken = self.taken.swap(0, Ordering::Relaxed);
        if taken > 0 && (taken > A_REST || !self.shared.work_quickly()) {
            self.thread.unpark();
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Shared {
    /// False when the bench's thread has to come: to go on, or because it is there and may have seen
    /// the queue empty just before.
    fn work_quickly(&self) -> bool {
        let mut bench = match self.bench.try_lock() {
            Ok(bench) => bench,
            Err(TryLockError::Poisoned(bench)) => bench.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let is_done = bench.work_quickly();
        is_done && (!bench.behavior.is_waiting() || self.comes.load(Ordering::Relaxed))
    }

    /// Until the intake or the engine is gone.
    fn run(&self) {
        let mut worked = Instant::now();
        loop {
            // Asked first: what was put in before the end is still judged.
            let is_over = self.is_over.load(Ordering::Acquire);
            // Also when events came while the thread let them gather.
            let is_busy = worked.elapsed() < 2 * GATHER;
            let again = {
                let mut bench = self.bench.lock().unwrap_or_else(PoisonError::into_inner);
                let Ok(again) = bench.work() else {
                    return;
                };
                let has_put_off = bench.behavior.is_waiting().then_some(PUT_OFF);
                let again = [again, has_put_off].into_iter().flatten().min();
                self.comes.store(again.is_some(), Ordering::Relaxed);
                again
            };
            if again == Some(Duration::ZERO) {
                continue;
            }
            // What only waits for its share is not judged any more.
            if is_over {
                return;
            }
            worked = Instant::now();
            if is_busy {
                std::thread::sleep(GATHER);
            }
            // No longer than that while a story is put off or waits for the network, for nobody else may do
            // anything on this host that would bring it up.
            match again {
                Some(again) => std::thread::park_timeout(again.min(PUT_OFF)),
                None => std::thread::park(),
            }
        }
    }
}
