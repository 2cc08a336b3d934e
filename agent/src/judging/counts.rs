//! How much went through the bench, and how full its caches are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cordon_behavior::Limits;
use cordon_behavior::event::{FileIdentity, ProcessKey};
use cordon_judge::{Queue, Risks, StoryPrint};
use cordon_rules::Use;
use cordon_sensor::Digests;
use serde::{Deserialize, Serialize};

use super::{Bench, REMEMBERED, TREES, WAITING, Waits};
use crate::metrics::{CacheStatus, Gauge, Lag};
use crate::recent::Recent;

/// The queue before the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Stories that wait for their turn now.
    pub waiting: u64,
    /// Stories that had to wait because the share of the CPU was used up, and were judged later.
    pub caught_up: u64,
    /// Stories that nobody judged: there was no room to wait among riskier ones, or their process was forgotten before their turn.
    pub shed: u64,
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
    /// Stories that nobody judged, because there were too many riskier ones.
    pub shed: AtomicU64,
    /// Stories that waited for their turn and were judged.
    pub caught_up: AtomicU64,
    /// How late stories reach the judge.
    pub lag: Lag,
    waiting: Gauge,
    quiet: Gauge,
    excepting: Mutex<(u64, Vec<Use>)>,
    graph: Gauge,
    verdicts: Gauge,
    last_judged: Gauge,
    images: Gauge,
    trees: Gauge,
    pub(crate) digests: Digests,
}

impl Counts {
    /// How full the judging thread's caches are.
    pub fn caches(&self) -> [CacheStatus; 8] {
        let verdicts = cordon_judge::Options::default().cache_bytes;
        let last_judged = Recent::<ProcessKey, StoryPrint>::bytes_of(REMEMBERED + 1);
        let images = Recent::<ProcessKey, FileIdentity>::bytes_of(REMEMBERED + 1);
        [
            self.graph.read("process_graph", Limits::default().bytes),
            self.verdicts.read("verdicts", verdicts),
            self.last_judged.read("last_judged", last_judged),
            self.images.read("judged_images", images),
            self.trees
                .read("tree_risks", Risks::<ProcessKey>::bytes_of(TREES)),
            self.quiet.read("quiet_stories", cordon_judge::QUIET_BYTES),
            self.digests.usage().into(),
            self.waiting.read(
                "waiting_stories",
                Queue::<ProcessKey, Waits>::bytes_of(WAITING),
            ),
        ]
    }

    /// The queue before the network.
    pub fn queue(&self) -> QueueStatus {
        QueueStatus {
            waiting: self.waiting.entries(),
            caught_up: self.caught_up.load(Ordering::Relaxed),
            shed: self.shed.load(Ordering::Relaxed),
        }
    }

    /// What exceptions kept from counting, and how often each was used.
    pub fn excepting(&self) -> (u64, Vec<Use>) {
        let excepting = self.excepting.lock();
        excepting.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes down how full the bench is.
    pub(super) fn take(&self, bench: &Bench) {
        let behavior = &bench.behavior;
        self.graph.set(behavior.bytes(), behavior.len(), 0);
        take(&self.last_judged, &bench.last_judged);
        take(&self.images, &bench.images);
        let remembered = bench.risks.len();
        let bytes = Risks::<ProcessKey>::bytes_of(remembered);
        self.trees.set(bytes, remembered, bench.risks.forgotten());
        let waiting = bench.waiting.len();
        let bytes = Queue::<ProcessKey, Waits>::bytes_of(waiting);
        let shed = self.shed.load(Ordering::Relaxed);
        self.waiting.set(bytes, waiting, shed);
        let Some(judge) = &bench.judge else {
            return;
        };
        let (bytes, entries) = judge.quiet();
        self.quiet.set(bytes, entries, 0);
        let mut excepting = self
            .excepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // There may be thousands of exceptions: they are told anew when one was used.
        if excepting.0 != judge.excepted() {
            *excepting = (judge.excepted(), judge.uses());
        }
        let judge = judge.counters();
        self.verdicts
            .set(judge.cache_bytes, judge.cache_entries, judge.forgotten);
    }
}

fn take<K: Clone + Eq + std::hash::Hash, V>(gauge: &Gauge, cache: &Recent<K, V>) {
    let remembered = cache.len();
    gauge.set(
        Recent::<K, V>::bytes_of(remembered),
        remembered,
        cache.forgotten(),
    );
}
