//! The watching thread: reads both groups, keeps the marks up to date, tells.

use std::fs::File;
use std::io::PipeReader;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::count::Count;
use super::decode::{FileNotice, file_notices};
use super::halves::Halves;
use super::kept::Kept;
use super::marks::Marks;
use super::teller::Teller;
use crate::out::Out;
use crate::pace::{NAP, Pace};
use crate::{Scope, clock};

/// Counted events are read in batches of this time: to be woken for each would cost more than all
/// the rest, on both sides.
const BATCH: Duration = Duration::from_millis(10);
/// But in this after a quiet time, as long as the pace allows it, and while files are being encrypted: who does that is
/// to be told of before he is far.
const SHORT_BATCH: Duration = Duration::from_millis(2);
const SWEEP: Duration = Duration::from_secs(1);
/// Holds about 2,500 events.
const BUFFER: usize = 256 * 1024;
/// Most buffers read before something else is seen to.
const BUFFERS: usize = 8;

/// All that the thread owns.
pub(super) struct Run {
    marks: Marks,
    count: Count,
    teller: Teller,
    halves: Halves,
    buffer: Vec<u8>,
    sweep_at: Instant,
    /// Counted events are read then.
    batch_at: Option<Instant>,
    kept: Kept,
    pace: Pace,
    /// Of batches: whether the next one may be short.
    batches: Pace,
    /// The last batch had encrypted files.
    is_urgent: bool,
    /// Too much was told: what the watching group has is not waited for before.
    watch_at: Option<Instant>,
}

impl Run {
    pub(super) fn new(marks: Marks, out: &Out, scope: Scope) -> Self {
        out.register(marks.watch.gauge.clone());
        out.register(marks.watch.set_id_gauge());
        Self {
            marks,
            count: Count::new(out),
            teller: Teller::new(out.clone(), scope),
            halves: Halves::default(),
            buffer: vec![0; BUFFER],
            sweep_at: Instant::now() + SWEEP,
            batch_at: None,
            kept: Kept::default(),
            pace: Pace::new(Instant::now()),
            batches: Pace::new(Instant::now()),
            is_urgent: false,
            watch_at: None,
        }
    }

    /// Until `stopped` closes.
    pub(super) fn watch(mut self, stopped: &PipeReader) {
        // Urgent to read when something was mounted or unmounted.
        let mountinfo = File::open("/proc/self/mountinfo").ok();
        while let Some(ready) = self.sleep(stopped, mountinfo.as_ref()) {
            if ready.mounts {
                self.marks.mounts_changed();
            }
            let now = Instant::now();
            if ready.counted {
                let is_short = self.is_urgent || self.batches.allows(now);
                self.batch_at = Some(now + if is_short { SHORT_BATCH } else { BATCH });
                self.batches.read(now);
            }
            if ready.watched {
                if !self.pace.allows(now) {
                    self.watch_at = Some(now + NAP);
                }
                self.pace.read(now);
            }
            self.step();
        }
        self.teller.tell_losses();
    }

    /// Sleeps until something is to be done; `None` when it is time to stop. Counted events do not
    /// wake while a batch of them is waited for.
    fn sleep(&self, stopped: &PipeReader, mountinfo: Option<&File>) -> Option<Ready> {
        let always = [
            Some((stopped.as_fd(), PollFlags::POLLIN)),
            self.watch_at
                .is_none()
                .then(|| (self.marks.watch.group.as_fd(), PollFlags::POLLIN)),
            mountinfo.map(|file| (file.as_fd(), PollFlags::POLLPRI)),
        ];
        let counted = self.batch_at.is_none().then(|| self.marks.counting.as_fd());
        let counted = counted.map(|fd| (fd, PollFlags::POLLIN));
        let wanted = always.into_iter().chain([counted]).enumerate();
        let (places, mut fds): (Vec<usize>, Vec<PollFd<'_>>) = wanted
            .filter_map(|(place, one)| one.map(|(fd, flags)| (place, PollFd::new(fd, flags))))
            .unzip();
        // An interrupted poll is an early wake-up, and that harms nobody.
        let woken = poll(&mut fds, self.limit()).is_ok();
        let is_ready = |place: usize| {
            let index = places.iter().position(|known| *known == place);
            woken && index.is_some_and(|index| fds[index].any().unwrap_or(false))
        };
        (!is_ready(0)).then(|| Ready {
            watched: is_ready(1),
            mounts: is_ready(2),
            counted: is_ready(3),
        })
    }

    /// Everything that is due.
    fn step(&mut self) {
        let now = Instant::now();
        let is_batch = self.batch_at.is_some_and(|at| at <= now);
        // What the counting group has was read before what the other has: so a directory of which
        // the other tells is marked before it is asked what was done in it.
        let counted = if is_batch {
            self.halves.ask();
            self.read_counted()
        } else {
            Vec::new()
        };
        self.watch_at = self.watch_at.filter(|at| *at > now);
        self.read_watched();
        self.marks.plan_if_due();
        self.catch_up();
        if is_batch {
            self.batch_at = None;
            let is_all = counted.len() < BUFFERS;
            self.count(&counted);
            if self.marks.watch.is_stale {
                let over = self.kept.keep(counted);
                self.teller.loss("fanotify/early", over);
            }
            // Where more is queued than a step reads, the other place may be in what is left.
            if is_all {
                for told in self.halves.unanswered() {
                    self.teller.change(told.pid, told.change, told.is_young);
                }
            }
        }
        if !self.halves.is_empty() && self.batch_at.is_none() {
            self.batch_at = Some(now + BATCH);
        }
        self.marks.look_if_due();
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP;
            self.count.tell_all(&mut self.teller);
        }
        if self.teller.release_at().is_some_and(|at| at <= now) {
            self.teller.release();
        }
        if self.teller.losses_at().is_some_and(|at| at <= now) {
            self.teller.tell_losses();
        }
    }

    fn limit(&self) -> PollTimeout {
        let batch_at = self.batch_at;
        let sweep_at = (!self.count.is_empty()).then_some(self.sweep_at);
        let release_at = self.teller.release_at();
        let losses_at = self.teller.losses_at();
        let sooner = [batch_at, self.watch_at, sweep_at, release_at, losses_at];
        let next = sooner
            .into_iter()
            .flatten()
            .fold(self.marks.due_at(), Instant::min);
        let left = next.saturating_duration_since(Instant::now());
        // Rounded up: a sleep that ends too early would be begun again at once.
        let left_ms = left.as_micros().div_ceil(1000);
        PollTimeout::try_from(left_ms).unwrap_or(PollTimeout::MAX)
    }

    fn read_watched(&mut self) {
        let mut told = Vec::new();
        for _ in 0..BUFFERS {
            let bytes = self.marks.watch.group.read(&mut self.buffer);
            if bytes == 0 {
                break;
            }
            let now_ns = clock::mono_ns();
            for notice in file_notices(&self.buffer[..bytes]) {
                let Ok(notice) = notice else {
                    self.teller.loss("fanotify/malformed", 1);
                    break;
                };
                if notice.mask & libc::FAN_Q_OVERFLOW != 0 {
                    self.teller.loss("fanotify/overflow", 1);
                }
                // The agent's own doings make another plan, but no event.
                let before = told.len();
                self.marks.watch.read(&notice, now_ns, &mut told);
                if !self.teller.is_wanted(notice.pid) {
                    told.truncate(before);
                }
            }
        }
        for one in told {
            if let Some(one) = self.halves.keep(one) {
                self.teller.change(one.pid, one.change, one.is_young);
            }
        }
    }

    /// Whole buffers of counted events.
    fn read_counted(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for _ in 0..BUFFERS {
            let bytes = self.marks.counting.read(&mut self.buffer);
            if bytes == 0 {
                break;
            }
            all.push(self.buffer[..bytes].to_vec());
        }
        all
    }

    fn count(&mut self, buffers: &[Vec<u8>]) {
        let now_ns = clock::mono_ns();
        self.count.again(now_ns, &mut self.teller);
        self.is_urgent = false;
        let has_young = self.marks.watch.has_young(now_ns);
        for notice in buffers.iter().flat_map(|buffer| file_notices(buffer)) {
            let Ok(notice) = notice else {
                self.teller.loss("fanotify/malformed", 1);
                continue;
            };
            if notice.mask & libc::FAN_Q_OVERFLOW != 0 {
                self.teller.loss("fanotify/overflow", 1);
                continue;
            }
            if !self.halves.is_empty() && notice.mask & libc::FAN_RENAME != 0 {
                self.complete(&notice);
            }
            if !self.teller.is_wanted(notice.pid) {
                continue;
            }
            if has_young {
                self.early(&notice, now_ns);
            }
            let systems = &self.marks.systems;
            self.is_urgent |= self.count.one(&notice, now_ns, systems, &mut self.teller);
        }
    }

    /// What was done in directories that are marked now and were not when it was counted.
    fn catch_up(&mut self) {
        if self.marks.watch.is_stale {
            return;
        }
        let now_ns = clock::mono_ns();
        for notice in self
            .kept
            .take()
            .iter()
            .flat_map(|buffer| file_notices(buffer))
            .flatten()
        {
            if self.teller.is_wanted(notice.pid) {
                self.early(&notice, now_ns);
            }
        }
    }

    /// What was done in a directory between its making and its mark is only in the counting group.
    fn early(&mut self, notice: &FileNotice<'_>, now_ns: u64) {
        let dirs = [notice.at, notice.to];
        let is_early = dirs
            .iter()
            .flatten()
            .any(|place| self.marks.watch.is_young(place.dir, now_ns));
        if is_early {
            let mut told = Vec::new();
            self.marks.watch.read(notice, now_ns, &mut told);
            for one in told {
                self.teller.change(one.pid, one.change, true);
            }
        }
    }

    /// Gives a rename of which one place was told the other.
    fn complete(&mut self, notice: &FileNotice<'_>) {
        let Some((mut told, other)) = self.halves.take(notice) else {
            return;
        };
        let other = self.marks.watch.locate(&self.marks.systems, other);
        let other = other.map(|path| path.to_string_lossy().into_owned());
        if told.half.is_some_and(|half| half.is_new) {
            told.change.path = other.unwrap_or(told.change.path);
        } else {
            told.change.to = other;
        }
        self.teller.change(told.pid, told.change, told.is_young);
    }
}

/// Why the thread woke up.
struct Ready {
    watched: bool,
    mounts: bool,
    counted: bool,
}
