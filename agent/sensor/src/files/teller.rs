//! Handing file events over: whose they are, whether they are told, and when.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cordon_behavior::event::{EventBody, FileChange, FileOp};

use super::gauge::Gauge;
use super::seen::Seen;
use crate::out::Out;
use crate::{Scope, clock};

/// The stream of processes is at most this far behind: a fork may lie in its ring for 50 ms, and at the
/// start it waits for the snapshot.
const HOLD_NS: u64 = 3_000_000_000;
/// Between two tries: at first, and when the oldest has waited for longer than [`SOON_NS`].
const TRY: Duration = Duration::from_millis(5);
const TRY_LATER: Duration = Duration::from_millis(50);
const SOON_NS: u64 = 100_000_000;
/// Most events held.
const HELD: usize = 4096;
const HELD_BYTES: usize = 512;
/// A process that reads the same secret again within this time is not told again.
const READ_AGAIN_NS: u64 = 600_000_000_000;
/// Most changes told in a second; a loop that rewrites a watched file is not worth more.
const A_SECOND: u32 = 2000;
const SECOND: u64 = 1_000_000_000;

struct Held {
    pid: u32,
    mono_ns: u64,
    body: EventBody,
}

/// The way from here to [`Out`].
pub(super) struct Teller {
    out: Out,
    scope: Scope,
    own: u32,
    held: VecDeque<Held>,
    held_gauge: Arc<Gauge>,
    tried_at: Instant,
    reads: Seen,
    young: Seen,
    second_ns: u64,
    told: u32,
    /// Not told yet: in a storm, one notice a second of each kind is enough.
    losses: BTreeMap<&'static str, u64>,
    losses_at: Instant,
}

impl Teller {
    pub(super) fn new(out: Out, scope: Scope) -> Self {
        let reads = Seen::new("secret reads told", READ_AGAIN_NS);
        let young = Seen::new("changes in new directories", 2 * SECOND);
        out.register(young.gauge.clone());
        let held_gauge = Gauge::new("file events held", HELD_BYTES, HELD);
        out.register(reads.gauge.clone());
        out.register(held_gauge.clone());
        Self {
            out,
            scope,
            own: std::process::id(),
            held: VecDeque::new(),
            held_gauge,
            tried_at: Instant::now(),
            reads,
            young,
            second_ns: 0,
            told: 0,
            losses: BTreeMap::new(),
            losses_at: Instant::now(),
        }
    }

    /// Whether anything of this process is wanted: not this agent's own, nor those outside the
    /// namespace, which have no pid here.
    pub(super) fn is_wanted(&self, pid: u32) -> bool {
        pid != self.own && (pid != 0 || self.scope == Scope::Host)
    }

    /// See [`Out::makers`].
    pub(super) fn makers(&self, pid: u32, young_ns: u64) -> Option<[u32; 2]> {
        self.out.makers(pid, young_ns)
    }

    /// Tells a change of now. `is_young`: it may have been told already.
    pub(super) fn change(&mut self, pid: u32, change: FileChange, is_young: bool) {
        let now_ns = clock::mono_ns();
        let what = (pid, &change.path, change.op);
        if is_young && !self.young.is_new(what, now_ns) {
            return;
        }
        if now_ns.saturating_sub(self.second_ns) >= SECOND {
            self.second_ns = now_ns;
            self.told = 0;
        }
        self.told += 1;
        if self.told > A_SECOND {
            return self.loss("fanotify/throttle", 1);
        }
        self.body(pid, EventBody::File(Box::new(change)));
    }

    /// Tells an event of now, as soon as the process is known.
    pub(super) fn body(&mut self, pid: u32, body: EventBody) {
        let held = Held {
            pid,
            mono_ns: clock::mono_ns(),
            body,
        };
        // What a process did first is told first.
        let is_first = |held: &VecDeque<Held>| held.iter().all(|earlier| earlier.pid != pid);
        if !is_first(&self.held) {
            self.release();
        }
        let is_first = is_first(&self.held);
        if pid == 0 || (is_first && self.out.known(pid).is_some()) {
            return self.hand_over(held);
        }
        if self.held.len() >= HELD {
            self.held_gauge.evicted(1);
            return self.give_up(held);
        }
        self.held.push_back(held);
        self.held_gauge.set(self.held.len());
    }

    /// Hands over what is held of processes that are known by now, and what was held for long enough.
    pub(super) fn release(&mut self) {
        if self.held.is_empty() {
            return;
        }
        self.tried_at = Instant::now();
        let now_ns = clock::mono_ns();
        for held in std::mem::take(&mut self.held) {
            if self.out.known(held.pid).is_some() {
                self.hand_over(held);
            } else if now_ns.saturating_sub(held.mono_ns) >= HOLD_NS {
                self.give_up(held);
            } else {
                self.held.push_back(held);
            }
        }
        self.held_gauge.set(self.held.len());
    }

    /// When to try again to hand over what is held.
    pub(super) fn release_at(&self) -> Option<Instant> {
        let waited_ns = clock::mono_ns().saturating_sub(self.held.front()?.mono_ns);
        let pause = if waited_ns < SOON_NS { TRY } else { TRY_LATER };
        Some(self.tried_at + pause)
    }

    pub(super) fn loss(&mut self, source: &'static str, count: u64) {
        if count > 0 {
            *self.losses.entry(source).or_default() += count;
        }
    }

    /// When losses are to be told, if there are any.
    pub(super) fn losses_at(&self) -> Option<Instant> {
        (!self.losses.is_empty()).then_some(self.losses_at)
    }

    /// Tells the losses since the last time.
    pub(super) fn tell_losses(&mut self) {
        for (source, count) in std::mem::take(&mut self.losses) {
            self.out.loss(source, count);
        }
        self.losses_at = Instant::now() + Duration::from_nanos(SECOND);
    }

    /// Of a cgroup's scope the stream knows every process, so a stranger is outside.
    fn give_up(&mut self, held: Held) {
        if !matches!(self.scope, Scope::Cgroup(_)) {
            self.hand_over(held);
        }
    }

    fn hand_over(&mut self, held: Held) {
        if let EventBody::File(change) = &held.body
            && change.op == FileOp::Read
        {
            let known = self.out.known(held.pid).map(|known| known.key.start_ns);
            let who = (held.pid, known, &change.path);
            if !self.reads.is_new(who, held.mono_ns) {
                return;
            }
        }
        self.out.event_of_pid_at(held.pid, held.mono_ns, held.body);
    }
}
