//! The one loop that owns policy, orders and isolation: it selects an action, then applies it.
//!
//! Everything slow is elsewhere: the kernel's rules and probes in [`crate::hands`], processes in
//! [`crate::stopping`], the outbox in [`crate::recorder`], judging in [`crate::judging`], the network in
//! [`crate::uplink`]. What the loop writes itself are the small files that must be on disk before it acts: a policy,
//! an order. Those are rare.

mod approvals;
mod asked;
mod caps;
mod detections;
mod ending;
mod obedience;
mod peers;
mod places;
mod policies;
mod steps;
mod verdicts;
mod ways_back;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cordon_contain::Recovered;
use cordon_proto::id::{IsolationId, OrderId};
use cordon_proto::policy::Thresholds;
use cordon_proto::record::{IsolationReport, IsolationState, RecordBody};
use cordon_respond::Place;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

pub(crate) use approvals::{in_words, withdrawn};
pub use caps::Caps;
use detections::{Reported, Unexplained};
pub use ending::End;
use ending::Undone;
pub(crate) use ending::{ISOLATED, guess};
use obedience::Waiter;
pub(crate) use places::PATIENCE;

use crate::attempts::Attempts;
use crate::blocking::Blocker;
use crate::filing::Filer;
use crate::guard::Guard;
use crate::hands::Outcome;
use crate::host::HostFacts;
use crate::identity::Identity;
use crate::isolation::{Isolation, News};
use crate::judging::{Explained, Finding, Judged, Wanted};
use crate::local::Request;
use crate::losses::Losses;
use crate::orders::{Fate, Orders};
use crate::pins::Pins;
use crate::policy_store::PolicyStore;
use crate::prevention::Prevention;
use crate::proposals::Proposals;
use crate::recorder::Recorder;
use crate::release_codes::ReleaseCodes;
use crate::signals::Signalled;
use crate::stop_codes::StopCodes;
use crate::stopping::Stopper;
use crate::uplink::{Downlink, Presence};
use crate::vitals::Vitals;

/// Orders that ended and are not settled yet; more wait.
const SETTLED: usize = 16;
const TICK: Duration = Duration::from_millis(500);
/// Losses are summed up this many ticks before they are reported.
const TICKS_A_LOSS_REPORT: u32 = 10;

/// What happened, and is to be dealt with.
enum Action {
    CameBack(Outcome),
    Judged(Box<Judged>, Wanted),
    Explained(Box<Explained>),
    PolicyOffered(Vec<u8>),
    Ordered(Vec<u8>),
    Placed(IsolationId, Place),
    Unplaced,
    Asked(Request),
    Settled(OrderId, Fate),
    Undone(Undone),
    Tick,
    Signalled(Signalled),
}

/// Where actions come from. The first ones are the most urgent.
pub struct Inbox {
    /// From the threads that change and probe.
    pub outcomes: mpsc::Receiver<Outcome>,
    /// From the judging thread.
    pub findings: mpsc::Receiver<Finding>,
    /// From the controller.
    pub downlink: mpsc::Receiver<Downlink>,
    /// From commands at this machine.
    pub requests: mpsc::Receiver<Request>,
    /// The daemon is to end.
    pub signals: mpsc::Receiver<Signalled>,
    ticks: Interval,
}

/// The parts that the engine works with.
pub struct Parts {
    /// The host.
    pub facts: HostFacts,
    /// Who it is.
    pub identity: Identity,
    /// The last good policy.
    pub policy: PolicyStore,
    /// The orders taken.
    pub orders: Orders,
    /// The isolation.
    pub isolation: Isolation,
    /// What opens it without the controller.
    pub release_codes: ReleaseCodes,
    /// What stops the agent where the policy takes a code for it.
    pub stop_codes: StopCodes,
    /// What waits for a yes.
    pub proposals: Proposals,
    /// The way to the thread that stops processes.
    pub stopper: Stopper,
    /// The way to the thread that blocks remote ends.
    pub blocker: Blocker,
    /// Takes files and puts them back.
    pub filer: Filer,
    /// The way to the thread that keeps programs from running.
    pub prevention: Prevention,
    /// The way to the thread that watches over the agent itself.
    pub guard: Guard,
    /// What this agent did by itself in the last hour.
    pub caps: Caps,
    /// The way to the outbox.
    pub recorder: Recorder,
    /// The controller's addresses.
    pub pins: Arc<Pins>,
    /// What the uplink tells of this host.
    pub presence: watch::Sender<Presence>,
    /// The isolation for which the uplink asks the controller for a place.
    pub places: watch::Sender<Option<IsolationId>>,
    /// What the judge names verdicts by.
    pub thresholds: watch::Sender<Option<Thresholds>>,
    /// Counters for status and heartbeats.
    pub vitals: Arc<Vitals>,
}

/// The engine.
pub struct Engine {
    parts: Parts,
    inbox: Inbox,
    reported: Reported,
    /// When the host was last opened: a story may be judged up to seconds after what it tells of.
    opened_mono_ns: u64,
    unexplained: Option<Unexplained>,
    asking: places::Asking,
    losses: Losses,
    waiters: Vec<Waiter>,
    /// Where those who do what is not about the isolation say how it ended.
    settling: mpsc::Sender<(OrderId, Fate)>,
    ended: mpsc::Receiver<(OrderId, Fate)>,
    /// Where removals come back to that are carried out.
    undoing: mpsc::Sender<Undone>,
    undone: mpsc::Receiver<Undone>,
    attempts: Attempts,
    ending: Option<End>,
    ticks: u32,
    began: Instant,
}

impl Inbox {
    /// Channels to hear from.
    pub fn new(
        outcomes: mpsc::Receiver<Outcome>,
        findings: mpsc::Receiver<Finding>,
        downlink: mpsc::Receiver<Downlink>,
        requests: mpsc::Receiver<Request>,
        signals: mpsc::Receiver<Signalled>,
    ) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            outcomes,
            findings,
            downlink,
            requests,
            signals,
            ticks,
        }
    }

    async fn select(&mut self) -> Action {
        tokio::select! {
            biased;
            Some(outcome) = self.outcomes.recv() => Action::CameBack(outcome),
            Some(signalled) = self.signals.recv() => Action::Signalled(signalled),
            _ = self.ticks.tick() => Action::Tick,
            Some(request) = self.requests.recv() => Action::Asked(request),
            Some(down) = self.downlink.recv() => match down {
                Downlink::Policy(json) => Action::PolicyOffered(json),
                Downlink::Order(json) => Action::Ordered(json),
                Downlink::Place(isolation, place) => Action::Placed(isolation, place),
            },
            Some(finding) = self.findings.recv() => match finding {
                Finding::Judged(judged, wanted) => Action::Judged(judged, wanted),
                Finding::Explained(explained) => Action::Explained(explained),
            },
        }
    }
}

impl Engine {
    /// An engine that has not yet begun. `recovered` is what the start found of an isolation.
    pub fn new(parts: Parts, inbox: Inbox, recovered: &Recovered) -> Self {
        let (settling, ended) = mpsc::channel(SETTLED);
        let (undoing, undone) = mpsc::channel(1);
        let mut engine = Self {
            parts,
            inbox,
            reported: Reported::default(),
            opened_mono_ns: 0,
            unexplained: None,
            asking: places::Asking::default(),
            losses: Losses::default(),
            waiters: Vec::new(),
            settling,
            ended,
            undoing,
            undone,
            attempts: Attempts::default(),
            ending: None,
            ticks: 0,
            began: Instant::now(),
        };
        engine.take_up(recovered, Timestamp::now());
        engine
    }

    /// Runs until it is told to end. The session with the controller goes on until it is dropped.
    pub async fn run(&mut self) -> End {
        loop {
            let action = tokio::select! {
                action = self.inbox.select() => action,
                Some((order, fate)) = self.ended.recv() => Action::Settled(order, fate),
                Some(undone) = self.undone.recv() => Action::Undone(undone),
                () = places::given_up(self.asking.until()) => Action::Unplaced,
            };
            self.apply(action, Timestamp::now());
            if let Some(end) = self.ending {
                self.report_losses();
                return end;
            }
        }
    }

    fn apply(&mut self, action: Action, now: Timestamp) {
        match action {
            Action::CameBack(outcome) => {
                if matches!(outcome, Outcome::Dropped(_)) {
                    self.keep_challenge(now);
                }
                let news = self.parts.isolation.came_back(outcome, now);
                self.tell(news, now);
            }
            Action::Judged(judged, wanted) => self.judged(*judged, wanted, now),
            Action::Explained(explained) => self.explained(*explained),
            Action::PolicyOffered(json) => self.offered(&json, now),
            Action::Ordered(json) => self.ordered(&json, now),
            Action::Placed(isolation, place) => self.place_answered(isolation, &place, now),
            Action::Unplaced => self.place_given_up(now),
            Action::Asked(request) => self.asked(request, now),
            Action::Settled(order, fate) => self.settled(order, fate, now),
            Action::Undone(undone) => self.undone(undone),
            Action::Tick => self.tick(now),
            Action::Signalled(signalled) => self.signalled(signalled),
        }
    }

    fn tick(&mut self, now: Timestamp) {
        let news = self.parts.isolation.tick(now);
        self.tell(news, now);
        self.renew_challenge(now);
        self.look_after_proposals(now);
        self.tell_attempts();
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(TICKS_A_LOSS_REPORT) {
            self.report_losses();
        }
    }

    /// Records what became of the isolation, lets the uplink know, and settles who waits for it.
    fn tell(&mut self, news: News, now: Timestamp) {
        let changed = !news.reports.is_empty();
        for report in &news.reports {
            tracing::info!(id = %report.id, state = ?report.state, reason = %report.reason, "isolation");
        }
        if let Some(tamper) = news.tamper {
            self.parts.recorder.record(RecordBody::Tamper(tamper));
        }
        for report in &news.reports {
            let body = RecordBody::Isolation(Box::new(report.clone()));
            self.parts.recorder.record(body);
        }
        self.settle_waiters(&news.reports, now);
        let is_opened = |report: &IsolationReport| report.state == IsolationState::Released;
        if news.reports.iter().any(is_opened) {
            self.opened_mono_ns = cordon_contain::monotonic_ns();
            self.withdraw_proposals(now);
        }
        if changed && self.parts.isolation.is_open() {
            // What goes on in an opened host is news again.
            self.reported.clear();
            self.forget_challenge();
        }
        self.publish();
    }

    fn publish(&self) {
        let isolation = &self.parts.isolation;
        let policy = self.parts.policy.in_force();
        let presence = Presence {
            policy_version: self.parts.policy.version(),
            policy_sha256: policy.map_or_else(String::new, |policy| policy.sha256.clone()),
            isolated: !isolation.is_open(),
            isolation: isolation.latest().cloned(),
        };
        self.parts.presence.send_if_modified(|current| {
            let is_new = *current != presence;
            *current = presence;
            is_new
        });
    }

    fn report_losses(&mut self) {
        for (source, count) in self.parts.vitals.take_losses() {
            self.losses.add(&source, reason_of_loss(&source), count);
        }
        let overflowed = self.parts.vitals.take_overflowed();
        self.losses
            .add("judge", "the queue before the judge was full", overflowed);
        let unrecorded = self.parts.recorder.take_lost();
        self.losses
            .add("spool", "the disk did not keep up", unrecorded);
        for report in self.losses.take() {
            tracing::warn!(source = %report.source, count = report.count, reason = %report.reason, "telemetry lost");
            let body = RecordBody::Loss(report.clone());
            if !self.parts.recorder.offer(body) {
                self.losses.put_back(&report);
            }
        }
    }
}

/// Why a sensor's source loses, by how it names itself.
fn reason_of_loss(source: &str) -> &'static str {
    match source.split('/').next() {
        Some("ring") => "the ring between kernel and agent was full",
        Some("program") => "the kernel left out runs of a program",
        Some("judge") => {
            "stories waited for the network until there was no room, or nothing to judge"
        }
        Some("throttle") => "one cgroup made more events than are taken",
        _ => "the source had more than it could hold",
    }
}
