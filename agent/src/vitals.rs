//! How the agent does: what heartbeats and `status` tell, gathered in one place that anybody may read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cordon_sensor::{CLASSES, Counters, Sensor};
use cordon_spool::{Spool, Stats};

use crate::host::{Meter, Usage};
use crate::judging::{Counts, QueueStatus};
use crate::metrics::{CacheStatus, LagSummary};
use crate::rules::RulesStatus;

/// What watches and what judges, once both have started.
pub struct Watching {
    /// `None` where it could not start.
    pub sensor: Option<Sensor>,
    /// The model's id; `None` where there is none.
    pub model: Option<String>,
    /// Rules, indicators and exceptions, as they were read.
    pub rules: RulesStatus,
    /// What does not work, each with its remedy.
    pub degraded: Vec<String>,
}

/// How the agent does.
pub struct Vitals {
    watching: OnceLock<Watching>,
    counts: Arc<Counts>,
    spool: Arc<Spool>,
    spool_max_bytes: u64,
    meter: Meter,
    /// Overflowed events that were reported already.
    overflowed: AtomicU64,
    /// What the sensor lost and was reported already, by source.
    told: Mutex<BTreeMap<String, u64>>,
    connected: AtomicBool,
    uplink_error: Mutex<Option<String>>,
}

impl Vitals {
    /// Of a daemon that does not watch yet.
    pub fn new(counts: Arc<Counts>, spool: Arc<Spool>, spool_max_bytes: u64) -> Self {
        Self {
            watching: OnceLock::new(),
            counts,
            spool,
            spool_max_bytes,
            meter: Meter::default(),
            overflowed: AtomicU64::new(0),
            told: Mutex::default(),
            connected: AtomicBool::new(false),
            uplink_error: Mutex::new(None),
        }
    }

    /// Sensor and judge have started, each as far as it could. Only the first call counts.
    pub fn watches(&self, watching: Watching) {
        if self.watching.set(watching).is_err() {
            tracing::error!("the sensor was started twice");
        }
    }

    /// `ebpf` or `proc`; `none` where the sensor could not start, `starting` before it has.
    pub fn sensor_mode(&self) -> String {
        let none = || "none".to_owned();
        self.of_watching(|watching| {
            let sensor = watching.sensor.as_ref();
            sensor.map_or_else(none, |sensor| sensor.mode().to_string())
        })
    }

    /// The model's id; `none` where there is none, `starting` before it is loaded.
    pub fn model(&self) -> String {
        self.of_watching(|watching| watching.model.clone().unwrap_or_else(|| "none".to_owned()))
    }

    /// What does not work, each with its remedy.
    pub fn degraded(&self) -> Vec<String> {
        self.watching
            .get()
            .map_or_else(Vec::new, |watching| watching.degraded.clone())
    }

    /// Rules, indicators and exceptions; nothing before they are loaded.
    pub fn rules(&self) -> RulesStatus {
        let read = self.watching.get().map(|watching| watching.rules.clone());
        let mut status = read.unwrap_or_default();
        let (excepted, uses) = self.counts.excepting();
        status.excepted = excepted;
        // Before the first story nothing is known of uses.
        if uses.len() == status.exceptions.len() {
            status.exceptions = uses;
        }
        status
    }

    fn of_watching(&self, tell: impl FnOnce(&Watching) -> String) -> String {
        self.watching
            .get()
            .map_or_else(|| "starting".to_owned(), tell)
    }

    /// Events handed over by the sensor and events known to be missing, over the whole run.
    pub fn events(&self) -> Counters {
        let sensor = self.sensor().map(Sensor::counters).unwrap_or_default();
        Counters {
            lost: sensor.lost + self.all_overflowed(),
            ..sensor
        }
    }

    fn sensor(&self) -> Option<&Sensor> {
        let watching = self.watching.get();
        watching.and_then(|watching| watching.sensor.as_ref())
    }

    fn all_overflowed(&self) -> u64 {
        let told = self.overflowed.load(Ordering::Relaxed);
        told + self.counts.overflowed.load(Ordering::Relaxed)
    }

    /// Events handed over by the sensor, by class.
    pub fn events_by_class(&self) -> BTreeMap<String, u64> {
        let counts = self.sensor().map(Sensor::counters).unwrap_or_default();
        let names = CLASSES.iter().map(|class| (*class).to_owned());
        names.zip(counts.by_class).collect()
    }

    /// Events known to be missing, by source, over the whole run.
    pub fn losses(&self) -> BTreeMap<String, u64> {
        let losses = self.sensor().map(Sensor::losses).unwrap_or_default();
        let overflowed = ("judge/queue".to_owned(), self.all_overflowed());
        let all = losses.into_iter().chain([overflowed]);
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// How full each cache is: the sensor's, the judging thread's, the outbox.
    pub fn caches(&self) -> Vec<CacheStatus> {
        let stats = self.spool.stats();
        let outbox = CacheStatus {
            name: "outbox".to_owned(),
            bytes: stats.bytes,
            limit_bytes: self.spool_max_bytes,
            entries: stats.records,
            evicted: 0,
        };
        let sensor = self.sensor().map(Sensor::caches).unwrap_or_default();
        let sensor = sensor.into_iter().map(CacheStatus::from);
        sensor.chain(self.counts.caches()).chain([outbox]).collect()
    }

    /// How late stories reach the judge.
    pub fn judge_lag(&self) -> LagSummary {
        self.counts.lag.summary()
    }

    /// Events that found the judge's queue full since the last call.
    pub fn take_overflowed(&self) -> u64 {
        let new = self.counts.overflowed.swap(0, Ordering::Relaxed);
        self.overflowed.fetch_add(new, Ordering::Relaxed);
        new
    }

    /// The queue before the network.
    pub fn judge_queue(&self) -> QueueStatus {
        self.counts.queue()
    }

    /// What the sensor lost and what the judge shed since the last call, by source.
    pub fn take_losses(&self) -> Vec<(String, u64)> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.sensor().map(Sensor::losses).unwrap_or_default();
        let shed = ("judge/share".to_owned(), self.judge_queue().shed);
        let new = all.into_iter().chain([shed]).map(|(source, count)| {
            let before = told.insert(source.clone(), count).unwrap_or(0);
            (source, count.saturating_sub(before))
        });
        new.filter(|(_, count)| *count > 0).collect()
    }

    /// Stories judged so far.
    pub fn stories_judged(&self) -> u64 {
        self.counts.judged.load(Ordering::Relaxed)
    }

    /// What waits for the controller.
    pub fn spool_stats(&self) -> Stats {
        self.spool.stats()
    }

    /// What this process costs.
    pub fn usage(&self) -> Usage {
        self.meter.read()
    }

    /// There is a session in which the controller said something.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Why the last session ended, or did not come about; `None` while there is one.
    pub fn uplink_error(&self) -> Option<String> {
        let error = self.uplink_error.lock();
        error.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The controller answers.
    pub fn connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
        self.set_uplink_error(None);
    }

    /// The session is over.
    pub fn disconnected(&self, why: String) {
        self.connected.store(false, Ordering::Relaxed);
        self.set_uplink_error(Some(why));
    }

    fn set_uplink_error(&self, why: Option<String>) {
        let error = self.uplink_error.lock();
        *error.unwrap_or_else(PoisonError::into_inner) = why;
    }
}
