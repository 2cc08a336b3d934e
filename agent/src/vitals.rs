//! How the agent does: what heartbeats and `status` tell, gathered in one place that anybody may read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cordon_sensor::{Counters, Sensor};
use cordon_spool::{Spool, Stats};

use crate::host::{Meter, Usage};
use crate::judging::Counts;

/// What watches and what judges, once both have started.
pub struct Watching {
    /// `None` where it could not start.
    pub sensor: Option<Sensor>,
    /// The model's id; `None` where there is none.
    pub model: Option<String>,
    /// What does not work, each with its remedy.
    pub degraded: Vec<String>,
}

/// How the agent does.
pub struct Vitals {
    watching: OnceLock<Watching>,
    counts: Arc<Counts>,
    spool: Arc<Spool>,
    meter: Meter,
    /// Overflowed events that were reported already.
    overflowed: AtomicU64,
    connected: AtomicBool,
    uplink_error: Mutex<Option<String>>,
}

impl Vitals {
    /// Of a daemon that does not watch yet.
    pub fn new(counts: Arc<Counts>, spool: Arc<Spool>) -> Self {
        Self {
            watching: OnceLock::new(),
            counts,
            spool,
            meter: Meter::default(),
            overflowed: AtomicU64::new(0),
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

    fn of_watching(&self, tell: impl FnOnce(&Watching) -> String) -> String {
        self.watching
            .get()
            .map_or_else(|| "starting".to_owned(), tell)
    }

    /// Events handed over by the sensor and events known to be missing, over the whole run.
    pub fn events(&self) -> Counters {
        let sensor = self
            .watching
            .get()
            .and_then(|watching| watching.sensor.as_ref());
        let sensor = sensor.map(Sensor::counters).unwrap_or_default();
        let overflowed = self.overflowed.load(Ordering::Relaxed)
            + self.counts.overflowed.load(Ordering::Relaxed);
        Counters {
            seen: sensor.seen,
            lost: sensor.lost + overflowed,
        }
    }

    /// Events that found the judge's queue full since the last call.
    pub fn take_overflowed(&self) -> u64 {
        let new = self.counts.overflowed.swap(0, Ordering::Relaxed);
        self.overflowed.fetch_add(new, Ordering::Relaxed);
        new
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
