//! Cgroups that make more events than are taken: `bpf/throttle.h` decides, this finds the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cordon_behavior::event::{Event, EventBody};
use libbpf_rs::{ProgramInput, ProgramMut};

use crate::CacheUse;
use crate::cache::Bounded;
use crate::out::Out;

/// What a cgroup that was quiet for this long may make at once.
pub(super) const BURST: Duration = Duration::from_secs(10);
/// A throttled cgroup that has saved up this much of [`BURST`] has calmed down. So it is told once
/// that a storm began and once that it ended, however long it lasts.
pub(super) const CALM: Duration = Duration::from_secs(1);
const CHECK_EVERY: Duration = Duration::from_millis(200);
/// As many as the programs keep count of: `BUCKETS`.
const MOST: usize = 4096;
const ENTRY_BYTES: u64 = 48;

/// How much of a second one event is worth; 0: there is no limit.
pub(super) fn event_ns(events_per_second: u32) -> u64 {
    1_000_000_000_u64
        .checked_div(u64::from(events_per_second))
        .unwrap_or(0)
}

/// The cgroups that are throttled now, with what each had dropped when it was last looked at.
pub(super) struct Throttles {
    dropped: HashMap<u64, u64>,
    usage: Arc<Usage>,
    checked: Instant,
}

#[derive(Default)]
struct Usage {
    entries: AtomicU64,
    evicted: AtomicU64,
}

impl Throttles {
    pub(super) fn new(out: &Out) -> Self {
        let usage = Arc::new(Usage::default());
        out.register(usage.clone());
        Self {
            dropped: HashMap::new(),
            usage,
            checked: Instant::now(),
        }
    }

    /// Notes beginnings and ends on their way out.
    pub(super) fn note(&mut self, event: &Event) {
        let EventBody::Throttle {
            cgroup, started, ..
        } = event.body
        else {
            return;
        };
        if !started {
            self.dropped.remove(&cgroup);
        } else if self.dropped.len() < MOST {
            self.dropped.insert(cgroup, 0);
        } else {
            // Its end will not be told; what it loses is counted all the same.
            self.usage.evicted.fetch_add(1, Ordering::Relaxed);
        }
        let entries = self.dropped.len() as u64;
        self.usage.entries.store(entries, Ordering::Relaxed);
    }

    /// Has the kernel look whether a storm is over. What is over comes through the ring.
    pub(super) fn check(&mut self, program: &ProgramMut<'_>) {
        if self.dropped.is_empty() || self.checked.elapsed() < CHECK_EVERY {
            return;
        }
        self.checked = Instant::now();
        for (&cgroup, dropped) in &mut self.dropped {
            // `struct throttle_check`
            let mut check = [cgroup.to_ne_bytes(), dropped.to_ne_bytes()];
            let input = ProgramInput {
                context_in: Some(check.as_flattened_mut()),
                ..ProgramInput::default()
            };
            if let Err(error) = program.test_run(input) {
                tracing::error!(%error, cgroup, "cannot look whether its throttle is over");
            }
            *dropped = u64::from_ne_bytes(check[1]);
        }
    }
}

impl Bounded for Usage {
    fn usage(&self) -> CacheUse {
        let entries = self.entries.load(Ordering::Relaxed);
        CacheUse {
            name: "throttled cgroups",
            bytes: entries * ENTRY_BYTES,
            limit_bytes: MOST as u64 * ENTRY_BYTES,
            entries,
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}
