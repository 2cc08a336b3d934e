//! How often a process is judged again.
//!
//! Programs that are executed are judged at once, each of them. What a process does afterwards is a
//! reason to judge it again at most [`BURST`] times in a second; what comes above that is put off to
//! the end of that second and judged once, however much it was.

use super::{Behavior, TRIGGERS, Trigger};
use crate::event::ProcessKey;

/// Times that one process is judged again at once in one [`WINDOW_NS`].
pub(crate) const BURST: u8 = 4;
/// A second.
pub(crate) const WINDOW_NS: u64 = 1_000_000_000;
/// What an entry of the due list costs, at half-full leaves.
const DUE_BYTES: usize = 80;

/// The pace of one process.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    began_ns: u64,
    judged: u8,
    /// When it is due, if something was put off.
    due_ns: Option<u64>,
}

/// When a story is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Now,
    /// At that time, for which it has to be put on the list.
    At(u64),
    /// It is on the list already.
    Waits,
}

impl Pace {
    fn turn(&mut self, mono_ns: u64) -> Turn {
        if self.due_ns.is_some() {
            return Turn::Waits;
        }
        if self.allows(mono_ns) {
            return Turn::Now;
        }
        let due_ns = self.began_ns.saturating_add(WINDOW_NS);
        self.due_ns = Some(due_ns);
        Turn::At(due_ns)
    }

    /// It was put off, and its time has come.
    fn comes_due(&mut self, mono_ns: u64) {
        self.due_ns = None;
        (self.began_ns, self.judged) = (mono_ns, 1);
    }

    fn allows(&mut self, mono_ns: u64) -> bool {
        if self.judged == 0 || mono_ns.saturating_sub(self.began_ns) >= WINDOW_NS {
            (self.began_ns, self.judged) = (mono_ns, 0);
        }
        let is_allowed = self.judged < BURST;
        self.judged += u8::from(is_allowed);
        is_allowed
    }
}

impl Behavior {
    /// Stories that were put off and are due now, at most eight; ask again for more.
    pub fn due(&mut self, now_mono_ns: u64) -> Vec<Trigger> {
        let mut triggers = Vec::new();
        self.add_due(now_mono_ns, &mut triggers);
        triggers
    }

    /// As many as there is room for beside those that are there.
    pub(super) fn add_due(&mut self, now_mono_ns: u64, triggers: &mut Vec<Trigger>) {
        while triggers.len() < TRIGGERS
            && let Some(entry) = self.due.first_entry()
            && entry.key().0 <= now_mono_ns
        {
            let ((_, process), cause_mono_ns) = entry.remove_entry();
            self.bytes -= DUE_BYTES;
            self.with_doings(process, |doings, _| doings.pace.comes_due(now_mono_ns));
            triggers.push(Trigger {
                process,
                cause_mono_ns,
                put_off: true,
            });
        }
    }

    /// Whether something was put off: [`Self::due`] has it a second later at the latest.
    pub fn is_waiting(&self) -> bool {
        !self.due.is_empty()
    }

    /// Of processes worth judging again those that may be judged now; the others are put off.
    pub(super) fn paced(&mut self, processes: &[ProcessKey], mono_ns: u64) -> Vec<Trigger> {
        let mut now = Vec::new();
        for &process in processes {
            match self.with_doings(process, |doings, _| doings.pace.turn(mono_ns)) {
                Some(Turn::Now) => now.push(Trigger {
                    process,
                    cause_mono_ns: mono_ns,
                    put_off: false,
                }),
                Some(Turn::At(due_ns)) => {
                    self.due.insert((due_ns, process), mono_ns);
                    self.bytes += DUE_BYTES;
                }
                Some(Turn::Waits) | None => {}
            }
        }
        now
    }

    /// A process that is forgotten is not due.
    pub(super) fn cancel(&mut self, process: ProcessKey, pace: &Pace) {
        if let Some(due_ns) = pace.due_ns
            && self.due.remove(&(due_ns, process)).is_some()
        {
            self.bytes -= DUE_BYTES;
        }
    }
}
