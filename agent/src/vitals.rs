//! How the agent does: what heartbeats and `status` tell, gathered in one place that anybody may read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cordon_sensor::{Counters, Sensor};
use cordon_spool::{Spool, Stats};

use crate::host::{Meter, Usage};
use crate::judging::Counts;

/// How the agent does.
pub struct Vitals {
    /// `ebpf`, `proc` or `none`.
    pub sensor_mode: String,
    /// The model's id, or `none`.
    pub model: String,
    /// What does not work, each with its remedy.
    pub degraded: Vec<String>,
    sensor: Option<Sensor>,
    counts: Arc<Counts>,
    spool: Arc<Spool>,
    meter: Meter,
    /// Overflowed events that were reported already.
    overflowed: AtomicU64,
    connected: AtomicBool,
    uplink_error: Mutex<Option<String>>,
}

impl Vitals {
    /// Of a daemon with these parts; `model` is `None` and says why in `degraded` when there is none.
    pub fn new(
        sensor: Option<Sensor>,
        model: Option<String>,
        degraded: Vec<String>,
        counts: Arc<Counts>,
        spool: Arc<Spool>,
    ) -> Self {
        let none = || "none".to_owned();
        Self {
            sensor_mode: sensor.as_ref().map_or_else(none, |s| s.mode().to_string()),
            model: model.unwrap_or_else(none),
            degraded,
            sensor,
            counts,
            spool,
            meter: Meter::default(),
            overflowed: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            uplink_error: Mutex::new(None),
        }
    }

    /// Events handed over by the sensor and events known to be missing, over the whole run.
    pub fn events(&self) -> Counters {
        let sensor = self
            .sensor
            .as_ref()
            .map(Sensor::counters)
            .unwrap_or_default();
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
        *self
            .uplink_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The session is over.
    pub fn disconnected(&self, why: String) {
        self.connected.store(false, Ordering::Relaxed);
        *self
            .uplink_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}
