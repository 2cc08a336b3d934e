//! Where every source's events go: through one door, which learns who is who on the way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cordon_behavior::event::{Credentials, Event, EventBody, ProcessKey};

use crate::cache::Bounded;
use crate::facts::Facts;
use crate::keys::{Keys, Known};
use crate::{CLASSES, CacheUse, Counters, clock, coverage};

/// Sources of loss that are told apart; what comes from yet another one is counted under `other`.
const SOURCES: usize = 64;

/// The way out, one for all sources. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Out(Arc<Shared>);

struct Shared {
    door: Mutex<Door>,
    seen: AtomicU64,
    lost: AtomicU64,
    by_class: [AtomicU64; CLASSES.len()],
    losses: Mutex<BTreeMap<String, u64>>,
    ids_are_told: AtomicBool,
    caches: Mutex<Vec<Arc<dyn Bounded>>>,
}

struct Door {
    sink: Box<dyn FnMut(Event) + Send>,
    keys: Keys,
    facts: Facts,
}

impl Out {
    pub(crate) fn new(sink: impl FnMut(Event) + Send + 'static, facts: Facts) -> Self {
        Self(Arc::new(Shared {
            door: Mutex::new(Door {
                sink: Box::new(sink),
                keys: Keys::default(),
                facts,
            }),
            seen: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            by_class: Default::default(),
            losses: Mutex::default(),
            ids_are_told: AtomicBool::new(false),
            caches: Mutex::default(),
        }))
    }

    /// Hands one event over, with what this host knows of it.
    pub(crate) fn event(&self, event: Event) {
        self.events([event]);
    }

    /// Hands several over at the price of one lock, in their order.
    pub(crate) fn events(&self, events: impl IntoIterator<Item = Event>) {
        let mut guard = self.door();
        let door = &mut *guard;
        let ids_are_told = self.0.ids_are_told.load(Ordering::Relaxed);
        for mut event in events {
            if door.keys.is_repeated(&event) {
                continue;
            }
            self.count(&event);
            door.facts.enrich(&mut event);
            let raised = door.keys.raised(&event, ids_are_told);
            door.keys.learn(&event);
            let raised = raised.map(|raised| with_body(&event, raised));
            (door.sink)(event);
            if let Some(raised) = raised {
                self.count(&raised);
                (door.sink)(raised);
            }
        }
    }

    fn count(&self, event: &Event) {
        self.0.seen.fetch_add(1, Ordering::Relaxed);
        if let Some(row) = coverage::row_of(event) {
            self.0.by_class[row].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From here on a source tells changes of user and group ids as they happen, so that none is
    /// made of what an exec shows.
    pub(crate) fn ids_are_told(&self) {
        self.0.ids_are_told.store(true, Ordering::Relaxed);
    }

    /// An event of now by the process that has `pid`. The key of a process that nobody told of has
    /// the start time 0.
    pub(crate) fn event_of_pid(&self, pid: u32, body: EventBody) {
        self.event_of_pid_at(pid, clock::mono_ns(), body);
    }

    /// The same, at a time of CLOCK_MONOTONIC.
    pub(crate) fn event_of_pid_at(&self, pid: u32, mono_ns: u64, body: EventBody) {
        let known = self.known(pid);
        let process = known
            .as_ref()
            .map_or(ProcessKey { pid, start_ns: 0 }, |known| known.key);
        self.event(Event {
            cgroup_id: known.as_ref().map_or(0, |known| known.cgroup_id),
            container: known.and_then(|known| known.container),
            ..notice(mono_ns, process, body)
        });
    }

    /// Who has this pid, as far as the stream told.
    pub(crate) fn known(&self, pid: u32) -> Option<Known> {
        self.door().keys.get(pid).cloned()
    }

    /// Who made the process that has this pid, as far as the stream told, and who made that one if it is younger than
    /// `young_ns`; 0 for nobody. `None`: the process is not known, or not yet.
    pub(crate) fn makers(&self, pid: u32, young_ns: u64) -> Option<[u32; 2]> {
        self.door().keys.makers(pid, clock::boot_ns(), young_ns)
    }

    /// A loss is an event too, so that it reaches the disk and the controller.
    pub(crate) fn loss(&self, source: &str, count: u64) {
        if count == 0 {
            return;
        }
        self.0.lost.fetch_add(count, Ordering::Relaxed);
        let source = self.add_loss(source, count);
        let body = EventBody::Loss { source, count };
        (self.door().sink)(notice(clock::mono_ns(), ProcessKey::NONE, body));
    }

    fn add_loss(&self, source: &str, count: u64) -> String {
        let losses = self.0.losses.lock();
        let mut losses = losses.unwrap_or_else(PoisonError::into_inner);
        let is_known = losses.len() < SOURCES || losses.contains_key(source);
        let source = if is_known { source } else { "other" }.to_owned();
        *losses.entry(source.clone()).or_default() += count;
        source
    }

    pub(crate) fn losses(&self) -> Vec<(String, u64)> {
        let losses = self.0.losses.lock();
        let losses = losses.unwrap_or_else(PoisonError::into_inner);
        losses
            .iter()
            .map(|(source, count)| (source.clone(), *count))
            .collect()
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters {
            seen: self.0.seen.load(Ordering::Relaxed),
            lost: self.0.lost.load(Ordering::Relaxed),
            by_class: std::array::from_fn(|row| self.0.by_class[row].load(Ordering::Relaxed)),
        }
    }

    /// Makes a source's cache show in [`Self::caches`].
    pub(crate) fn register(&self, cache: Arc<dyn Bounded>) {
        let caches = self.0.caches.lock();
        caches.unwrap_or_else(PoisonError::into_inner).push(cache);
    }

    pub(crate) fn caches(&self) -> Vec<CacheUse> {
        let mut all = {
            let mut door = self.door();
            let mut all = vec![door.keys.usage()];
            all.extend(door.facts.usage());
            all
        };
        let caches = self.0.caches.lock();
        let caches = caches.unwrap_or_else(PoisonError::into_inner);
        all.extend(caches.iter().map(|cache| cache.usage()));
        all
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.0.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the same process did at the same time.
fn with_body(event: &Event, raised: Credentials) -> Event {
    Event {
        mono_ns: event.mono_ns,
        wall_ns: event.wall_ns,
        process: event.process,
        cgroup_id: event.cgroup_id,
        container: event.container.clone(),
        body: EventBody::Credential(Box::new(raised)),
    }
}

fn notice(mono_ns: u64, process: ProcessKey, body: EventBody) -> Event {
    Event {
        mono_ns,
        wall_ns: mono_ns.saturating_add_signed(clock::wall_offset_ns()),
        process,
        cgroup_id: 0,
        container: None,
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_behavior::event::Exec;

    fn out() -> Out {
        Out::new(|_| {}, Facts::default())
    }

    fn exec(snapshot: bool) -> Event {
        let exec = Exec {
            snapshot,
            ..Exec::default()
        };
        notice(1, ProcessKey::NONE, EventBody::Exec(Box::new(exec)))
    }

    #[test]
    fn events_are_counted_by_class_and_notices_in_none() {
        let out = out();
        out.events([exec(true), exec(false), exec(false)]);
        out.event(notice(
            2,
            ProcessKey::NONE,
            EventBody::Throttle {
                cgroup: 1,
                started: true,
                dropped: 0,
            },
        ));
        let counters = out.counters();
        let of = |class: &str| {
            let row = CLASSES.iter().position(|known| *known == class);
            counters.by_class[row.expect("a class")]
        };
        assert_eq!((of("exec"), of("snapshot")), (2, 1));
        assert_eq!(counters.by_class.iter().sum::<u64>(), 3);
        assert_eq!(counters.seen, 4);
    }

    #[test]
    fn losses_add_up_however_many_sources_there_are() {
        let out = out();
        for source in 0..200 {
            out.loss(&format!("ring/{source}"), 2);
        }
        out.loss("ring/0", 5);
        out.loss("ring/1", 0);
        let losses = out.losses();
        assert!(losses.len() <= SOURCES + 1);
        assert!(losses.contains(&("ring/0".to_owned(), 7)));
        let sum: u64 = losses.iter().map(|(_, count)| count).sum();
        assert_eq!((sum, out.counters().lost), (405, 405));
    }
}
