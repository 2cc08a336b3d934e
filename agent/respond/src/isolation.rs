//! The isolation of one host, from intent to release, as a state machine.
//!
//! ```text
//!            Isolate            Persisted            Dropped              proved
//!   Open ------------> Persisting -------> Applying --------> Shut/Pending ------> Shut/Proved
//!    ^                     |                  |                 |  ^  |               |  |
//!    |    PersistFailed    |                  |   failed, stay  |  |  | Tampered,     |  |
//!    |<--------------------'                  |   shut          v  |  | new rules     |  |
//!    |                                        |       Shut/Unproven<-'<--------------'  |
//!    |                                        | DropFailed      |                       |
//!    |   Opened                               v                 v                       |
//!    `------------------------------------ Releasing <----------'<---- Release, lease --'
//!                                           |    ^                     over, roll-back
//!                                           `----' OpenFailed: tried again on Tick
//! ```
//!
//! The machine does nothing itself: it returns [`Effect`]s, which the caller carries out one after
//! the other in the order given, and whose outcome comes back as the next [`Input`]. That order is
//! what makes a late outcome harmless: an `Open` asked for after a `Drop` also runs after it.
//!
//! What always holds (tested as properties): no `Drop` before its intent and lease are on disk; no
//! `Confirmed` without proof of this very rule set; once the lease is over the host opens, and not before, however the
//! wall clock is set; a release ends in `Open`; whatever is on disk at a restart leads to `Open` or to the isolation re-adopted.

mod intent;
mod report;
mod shut;
mod timeline;

use cordon_proto::record::{IsolationReport, IsolationState};
use jiff::{SignedDuration, Timestamp};

pub use intent::{Intent, Lease, Persisted};
pub use report::{Cause, UNTIL_RESTART};
pub use shut::Shut;
pub use timeline::Timeline;

use crate::proof::Evidence;
use crate::proposal::Clocks;
use intent::{is_past, longest};
use report::report;

/// How long to wait before an effect that failed is tried again.
pub const RETRY: SignedDuration = SignedDuration::from_secs(5);

/// Whether the isolation in force is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not yet tried.
    Pending,
    /// Proved.
    Proved,
    /// Tried and failed; policy says stay shut.
    Unproven,
}

/// Where the isolation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is dropped, nothing is on disk.
    Open,
    /// Intent and lease are being written to disk. Nothing is dropped.
    Persisting(Intent),
    /// Intent and lease are on disk; the rules are going in.
    Applying(Intent),
    /// The rules are in the kernel.
    Shut(Shut),
    /// The rules and the state on disk are being removed.
    Releasing {
        /// What is being opened.
        intent: Intent,
        /// Why.
        cause: Cause,
        /// When to try again, if the last try failed.
        retry_at: Option<Timestamp>,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An isolation is wanted. In a host that is already shut it can only lengthen the lease. Its times are by
    /// [`Machine::time`].
    Isolate(Intent),
    /// [`Effect::Persist`] is done.
    Persisted,
    /// [`Effect::Persist`] failed.
    PersistFailed(String),
    /// [`Effect::Drop`] is done.
    Dropped {
        /// SHA-256 of the rules as listed by the kernel.
        rules_sha256: String,
        /// CLOCK_MONOTONIC when they were in force, nanoseconds.
        dropped_at_mono_ns: u64,
    },
    /// [`Effect::Drop`] failed; the transaction left the kernel as it was.
    DropFailed(String),
    /// [`Effect::Probe`] is done.
    Probed(Evidence),
    /// The kernel's rules are gone or not ours any more.
    Tampered,
    /// The host is to be opened.
    Release(String),
    /// [`Effect::Open`] is done.
    Opened,
    /// The rules are out, and the disk takes nothing, so that a restart would shut the host again; why.
    OpenedUntilRestart(String),
    /// [`Effect::Open`] failed.
    OpenFailed(String),
    /// Time passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write intent and lease to disk, durably. Answer: `Persisted` or `PersistFailed`.
    Persist(Intent),
    /// Put the rules in by one transaction. Answer: `Dropped` or `DropFailed`.
    Drop(Intent),
    /// Prove the effect. Answer: `Probed`.
    Probe(Intent),
    /// Remove the rules, then the state on disk. Answer: `Opened`, `OpenedUntilRestart` or `OpenFailed`.
    Open(Intent),
    /// Tell the controller.
    Report(IsolationReport),
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    state: State,
    /// The longest lease that anybody asked for since the host was open.
    wanted: Option<Lease>,
    /// Of the isolation in force or under way.
    timeline: Timeline,
}

impl Machine {
    /// An open host.
    pub fn new(now: Clocks) -> Self {
        Self {
            state: State::Open,
            wanted: None,
            timeline: Timeline::starting(now),
        }
    }

    /// A host as found on disk after a restart, and what to do about it.
    pub fn restart(found: Option<Persisted>, now: Clocks) -> (Self, Vec<Effect>) {
        let mut machine = Self::new(now);
        let Some(found) = found else {
            return (machine, Vec::new());
        };
        let Persisted {
            intent,
            releasing,
            anchor,
        } = found;
        machine.timeline = Timeline::resumed(anchor, intent.started_at, now);
        let now = machine.timeline.at(now);
        let effects = if releasing {
            machine.open(
                intent,
                Cause::Release("release interrupted by a restart".into()),
            )
        } else if intent.is_over(now) {
            machine.open(intent, Cause::Lease)
        } else {
            let effect = Effect::Drop(intent.clone());
            machine.state = State::Shut(Shut {
                settled: true,
                ..Shut::new(intent)
            });
            vec![effect]
        };
        (machine, effects)
    }

    /// Where the isolation stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The isolation in force or under way.
    pub fn intent(&self) -> Option<&Intent> {
        match &self.state {
            State::Open => None,
            State::Persisting(intent)
            | State::Applying(intent)
            | State::Shut(Shut { intent, .. })
            | State::Releasing { intent, .. } => Some(intent),
        }
    }

    /// Nothing is dropped, nothing is on disk, nothing is under way.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// What time it is for leases: of an open host the wall clock's, and from the beginning of an isolation on by a clock
    /// that nobody sets.
    pub fn time(&self, now: Clocks) -> Timestamp {
        if self.is_open() {
            now.wall
        } else {
            self.timeline.at(now)
        }
    }

    /// A moment of that time, to be kept with an isolation, so that a restart goes on from it.
    pub fn anchor(&self) -> Clocks {
        self.timeline.anchor()
    }

    /// Takes one input and says what is to be done.
    pub fn step(&mut self, input: Input, now: Clocks) -> Vec<Effect> {
        if self.is_open() {
            self.timeline = Timeline::starting(now);
        }
        let now = self.timeline.at(now);
        if let Some(effects) = self.lease_or_release(&input, now) {
            return effects;
        }
        match std::mem::replace(&mut self.state, State::Open) {
            State::Open => self.in_open(input, now),
            State::Persisting(intent) => self.in_persisting(intent, input),
            State::Applying(intent) => self.in_applying(intent, input, now),
            State::Shut(shut) => self.in_shut(shut, input, now),
            State::Releasing {
                intent,
                cause,
                retry_at,
            } => self.in_releasing(intent, cause, retry_at, input, now),
        }
    }

    /// Releases and leases come first in every state but `Open` and `Releasing`.
    fn lease_or_release(&mut self, input: &Input, now: Timestamp) -> Option<Vec<Effect>> {
        let intent = match &self.state {
            State::Open | State::Releasing { .. } => return None,
            State::Persisting(intent) | State::Applying(intent) => intent.clone(),
            State::Shut(shut) => shut.intent.clone(),
        };
        match input {
            Input::Release(reason) => Some(self.open(intent, Cause::Release(reason.clone()))),
            // An extension asked for before the lease ended is waited for.
            Input::Tick if intent.is_over(now) && self.wanted.is_none_or(|l| is_past(l, now)) => {
                Some(self.open(intent, Cause::Lease))
            }
            _ => None,
        }
    }

    fn in_open(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        let Input::Isolate(intent) = input else {
            return Vec::new();
        };
        if intent.is_over(now) {
            let why = "lease was over before the isolation began".to_owned();
            return vec![report(&intent, IsolationState::Failed, why)];
        }
        self.wanted = Some(intent.lease_expires_at);
        self.state = State::Persisting(intent.clone());
        vec![Effect::Persist(intent)]
    }

    fn in_persisting(&mut self, intent: Intent, input: Input) -> Vec<Effect> {
        match input {
            Input::Persisted => {
                self.state = State::Applying(intent.clone());
                vec![Effect::Drop(intent)]
            }
            Input::PersistFailed(why) => {
                self.wanted = None;
                vec![report(&intent, IsolationState::Failed, why)]
            }
            other => {
                self.lengthen(&other);
                self.state = State::Persisting(intent);
                Vec::new()
            }
        }
    }

    fn in_applying(&mut self, intent: Intent, input: Input, now: Timestamp) -> Vec<Effect> {
        match input {
            Input::Dropped { .. } => self.in_shut(Shut::new(intent), input, now),
            Input::DropFailed(why) => self.open(intent, Cause::ApplyFailed(why)),
            other => {
                self.lengthen(&other);
                self.state = State::Applying(intent);
                Vec::new()
            }
        }
    }

    fn in_shut(&mut self, mut shut: Shut, input: Input, now: Timestamp) -> Vec<Effect> {
        self.lengthen(&input);
        let mut effects = match input {
            Input::Dropped {
                rules_sha256,
                dropped_at_mono_ns,
            } => shut.dropped(rules_sha256, dropped_at_mono_ns, now),
            Input::DropFailed(why) => shut.repair_failed(why, now),
            Input::Probed(evidence) => match shut.probed(evidence, now) {
                Ok(effects) => effects,
                Err(why) => return self.open(shut.intent, Cause::RollBack(why)),
            },
            Input::Tampered => shut.repair(),
            Input::Tick => shut.retry(now),
            Input::Persisted => shut.lengthened(),
            Input::PersistFailed(why) => {
                shut.extending = None;
                self.wanted = Some(shut.intent.lease_expires_at);
                let probes = shut.probes.clone();
                vec![shut.report(format!("lease could not be lengthened: {why}"), probes)]
            }
            Input::Isolate(_)
            | Input::Release(_)
            | Input::Opened
            | Input::OpenedUntilRestart(_)
            | Input::OpenFailed(_) => Vec::new(),
        };
        effects.extend(shut.extend_to(self.wanted));
        self.state = State::Shut(shut);
        effects
    }

    fn in_releasing(
        &mut self,
        intent: Intent,
        cause: Cause,
        mut retry_at: Option<Timestamp>,
        input: Input,
        now: Timestamp,
    ) -> Vec<Effect> {
        let effects = match input {
            Input::Opened => {
                self.wanted = None;
                return vec![cause.report(&intent, None)];
            }
            Input::OpenedUntilRestart(why) => {
                self.wanted = None;
                return vec![cause.report(&intent, Some(&why))];
            }
            Input::OpenFailed(_) => {
                retry_at = Some(later(now));
                Vec::new()
            }
            Input::Tick | Input::Release(_) if retry_at.is_some_and(|at| at <= now) => {
                retry_at = None;
                vec![Effect::Open(intent.clone())]
            }
            Input::Isolate(refused) => vec![report(
                &refused,
                IsolationState::Failed,
                "a release is under way; ask again when the host is open".into(),
            )],
            _ => Vec::new(),
        };
        self.state = State::Releasing {
            intent,
            cause,
            retry_at,
        };
        effects
    }

    fn open(&mut self, intent: Intent, cause: Cause) -> Vec<Effect> {
        let effect = Effect::Open(intent.clone());
        self.state = State::Releasing {
            intent,
            cause,
            retry_at: None,
        };
        vec![effect]
    }

    fn lengthen(&mut self, input: &Input) {
        if let (Input::Isolate(intent), Some(wanted)) = (input, &mut self.wanted) {
            *wanted = longest(*wanted, intent.lease_expires_at);
        } else if let Input::Isolate(intent) = input {
            self.wanted = Some(intent.lease_expires_at);
        }
    }
}

/// A clock at the end of time must not make a retry a panic.
fn later(now: Timestamp) -> Timestamp {
    now.checked_add(RETRY).unwrap_or(Timestamp::MAX)
}
