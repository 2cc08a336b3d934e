//! Orders that this host took, on disk with their receipts: none is carried out twice, and each that
//! was begun gets its final receipt, over restarts too.

use std::path::{Path, PathBuf};

use cordon_proto::envelope::{Envelope, sign};
use cordon_proto::id::{HostId, IsolationId, OrderId};
use cordon_proto::order::{Order, OrderState, Receipt};
use cordon_proto::record::{IsolationReport, IsolationState};
use cordon_respond::isolation::{Lease, Standing, State, UNTIL_RESTART};
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::durable::{self, DiskError};
use crate::filing::HeldFile;

const FILE: &str = "orders.json";
const MAX_BYTES: u64 = 16 << 20;
/// An order is remembered this long after its expiry, from which on it is refused anyway.
const KEEP: SignedDuration = SignedDuration::from_hours(24);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// What an order, or a person at the machine, wants of the isolation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "goal", rename_all = "snake_case")]
pub enum Goal {
    /// Shut, with proof, at least for this lease.
    Shut {
        /// The isolation that was asked for; a host that was shut already keeps its own.
        id: IsolationId,
        /// The lease that was asked for.
        lease: Lease,
    },
    /// Open.
    Open,
    /// Not about this host's isolation: it is settled by whoever does it, and begun anew by the controller when a
    /// restart comes between.
    Elsewhere,
    /// About processes, a remote end or a file: settled by whoever does it, and done again when a restart comes between,
    /// which changes nothing that is so already.
    Step(Box<Step>),
}

/// An order about processes, a remote end or a file that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is wanted, by whom.
    pub order: Order,
    /// When it was begun: what it asks for lasts from then on.
    pub at: Timestamp,
    /// The file that it puts back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<HeldFile>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The effect is there; what proves it.
    Done(String),
    /// The effect is not there, or not proved; why.
    Failed(String),
}

/// Whether a goal is reached, given where the isolation stands and what was just reported of it.
/// `None`: not decided yet.
pub fn fate(goal: &Goal, state: &State, news: &[IsolationReport]) -> Option<Fate> {
    match goal {
        Goal::Open => (*state == State::Open).then(|| Fate::Done(open(news))),
        Goal::Shut { id, lease } => fate_of_shut(*id, *lease, state, news),
        Goal::Elsewhere | Goal::Step(_) => None,
    }
}

/// The host is open; and until when, if the disk was not told.
fn open(news: &[IsolationReport]) -> String {
    let why = news
        .iter()
        .rev()
        .find_map(|report| report.reason.split_once(UNTIL_RESTART));
    let until = why.map_or_else(String::new, |(_, why)| format!("{UNTIL_RESTART}{why}"));
    format!("the host is open{until}")
}

fn fate_of_shut(
    id: IsolationId,
    lease: Lease,
    state: &State,
    news: &[IsolationReport],
) -> Option<Fate> {
    let said = |wanted| news.iter().rev().find(|report| report.state == wanted);
    if let Some(report) = news
        .iter()
        .find(|r| r.id == id && r.state == IsolationState::Failed)
    {
        return Some(Fate::Failed(report.reason.clone()));
    }
    match state {
        State::Shut(shut) if shut.standing == Standing::Proved => {
            if is_long_enough(shut.intent.lease_expires_at, lease) {
                return Some(Fate::Done(shut_and_proved(id, shut.intent.id, news)));
            }
            let answered = said(IsolationState::Confirmed).is_some();
            let short = "the host is shut, but the lease could not be lengthened";
            answered.then(|| Fate::Failed(short.to_owned()))
        }
        State::Shut(shut) if shut.standing == Standing::Unproven => {
            let why = said(IsolationState::Unproven).map(|report| format!(": {}", report.reason));
            let stays = "the rules are in place and the host stays shut, but without proof";
            Some(Fate::Failed(format!("{stays}{}", why.unwrap_or_default())))
        }
        State::Open => {
            let why = news
                .last()
                .map_or("the isolation ended", |report| &report.reason);
            Some(Fate::Failed(format!("the host is open: {why}")))
        }
        State::Shut(_) | State::Persisting(_) | State::Applying(_) | State::Releasing { .. } => {
            None
        }
    }
}

fn shut_and_proved(asked: IsolationId, found: IsolationId, news: &[IsolationReport]) -> String {
    let probes = news.iter().rev().find(|r| !r.probes.is_empty());
    let evidence = probes.map_or(String::new(), |report| {
        let told = report.probes.iter().map(|probe| {
            let outcome = if probe.reached {
                "reached"
            } else {
                "out of reach"
            };
            format!("{} {outcome}", probe.target)
        });
        format!(": {}", told.collect::<Vec<_>>().join(", "))
    });
    if asked == found {
        format!("isolated with proof{evidence}")
    } else {
        format!("the host was isolated already ({found}), with proof{evidence}")
    }
}

fn is_long_enough(found: Lease, wanted: Lease) -> bool {
    match (found, wanted) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(found), Some(wanted)) => found >= wanted,
    }
}

/// One order that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    id: OrderId,
    expires_at: Timestamp,
    /// `None` once it is settled.
    goal: Option<Goal>,
    receipts: Vec<Envelope>,
    /// When a step was begun that counts against the policy's cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capped_at: Option<Timestamp>,
}

/// The orders taken.
#[derive(Debug)]
pub struct Orders {
    path: PathBuf,
    host: HostId,
    key: SigningKey,
    taken: Vec<Taken>,
}

impl Orders {
    /// Reads what was taken before. A damaged file is set aside: orders that are still good might then be
    /// carried out again, which for this closed list of verbs changes nothing that is not so already.
    pub fn load(state_dir: &Path, host: HostId, key: &SigningKey) -> Result<Self, DiskError> {
        let path = state_dir.join(FILE);
        let json = durable::read(&path, MAX_BYTES)?;
        let taken = json.map_or(Ok(Vec::new()), |json| serde_json::from_slice(&json));
        let taken = taken.or_else(|error| {
            tracing::error!(%error, path = %path.display(), "the list of taken orders is damaged, set aside");
            set_aside(&path).map(|()| Vec::new())
        })?;
        Ok(Self {
            path,
            host,
            key: key.clone(),
            taken,
        })
    }

    /// Whether an order was taken before.
    pub fn is_taken(&self, id: OrderId) -> bool {
        self.taken.iter().any(|taken| taken.id == id)
    }

    /// The receipts given for an order before.
    pub fn receipts(&self, id: OrderId) -> Vec<Envelope> {
        let found = self.taken.iter().find(|taken| taken.id == id);
        found.map_or_else(Vec::new, |taken| taken.receipts.clone())
    }

    /// Steps begun in the hour before `now`. A time in the future is a clock that was set back since: it counts.
    pub fn steps_last_hour(&self, now: Timestamp) -> u32 {
        let is_recent = |at: &Timestamp| now.duration_since(*at) < HOUR;
        let begun = self.taken.iter().filter_map(|taken| taken.capped_at);
        begun.filter(is_recent).count() as u32
    }

    /// Orders that were begun and are not settled.
    pub fn unsettled(&self) -> Vec<(OrderId, Goal)> {
        let open = self.taken.iter();
        open.filter_map(|taken| Some((taken.id, taken.goal.clone()?)))
            .collect()
    }

    /// Takes an order, durably, and returns the receipt that says so.
    pub fn begin(
        &mut self,
        order: &Order,
        goal: Goal,
        isolation: Option<IsolationId>,
        now: Timestamp,
    ) -> Result<Envelope, DiskError> {
        let detail = format!("{} began", order.verb.name());
        let receipt = self.take(order, goal, isolation, detail, now);
        let saved = self.save();
        if saved.is_err() {
            self.taken.pop();
        }
        saved.map(|()| receipt)
    }

    /// Takes an order that the disk did not take, and returns the receipt that says so: until this process ends it is
    /// taken like any other.
    pub fn begin_unkept(
        &mut self,
        order: &Order,
        goal: Goal,
        isolation: Option<IsolationId>,
        why: &DiskError,
        now: Timestamp,
    ) -> Envelope {
        let detail = format!(
            "{} began; a restart of the agent forgets it, because it is not on the disk: {}",
            order.verb.name(),
            crate::chain(why)
        );
        self.take(order, goal, isolation, detail, now)
    }

    fn take(
        &mut self,
        order: &Order,
        goal: Goal,
        isolation: Option<IsolationId>,
        detail: String,
        now: Timestamp,
    ) -> Envelope {
        let receipt = self.receipt(order.id, OrderState::Started, detail, isolation, now);
        self.taken.retain(|taken| is_kept(taken, now));
        self.taken.push(Taken {
            id: order.id,
            expires_at: order.expires_at,
            goal: Some(goal),
            receipts: vec![receipt.clone()],
            capped_at: order.verb.is_step().then_some(now),
        });
        receipt
    }

    /// Settles an order and returns its final receipt. That it is not on disk is only logged: after a restart
    /// the order is settled again, and the controller keeps the first final receipt.
    pub fn settle(
        &mut self,
        id: OrderId,
        fate: Fate,
        isolation: Option<IsolationId>,
        now: Timestamp,
    ) -> Envelope {
        let (state, detail) = match fate {
            Fate::Done(detail) => (OrderState::Done, detail),
            Fate::Failed(detail) => (OrderState::Failed, detail),
        };
        let receipt = self.receipt(id, state, detail, isolation, now);
        if let Some(taken) = self.taken.iter_mut().find(|taken| taken.id == id) {
            taken.goal = None;
            taken.receipts.push(receipt.clone());
        }
        if let Err(error) = self.save() {
            tracing::error!(error = %crate::chain(&error), "an order's receipt is not on disk");
        }
        receipt
    }

    /// A signed refusal. It is not remembered: the same order is refused the same way again.
    pub fn refuse(&self, id: OrderId, why: String, now: Timestamp) -> Envelope {
        self.receipt(id, OrderState::Refused, why, None, now)
    }

    fn receipt(
        &self,
        order: OrderId,
        state: OrderState,
        detail: String,
        isolation: Option<IsolationId>,
        at: Timestamp,
    ) -> Envelope {
        let receipt = Receipt {
            order,
            host: self.host,
            state,
            at,
            detail,
            isolation,
        };
        sign(&receipt, &self.key)
    }

    fn save(&self) -> Result<(), DiskError> {
        let json = serde_json::to_vec(&self.taken).expect("orders have string keys only");
        durable::replace(&self.path, &json)
    }
}

fn is_kept(taken: &Taken, now: Timestamp) -> bool {
    let until = taken.expires_at.checked_add(KEEP).unwrap_or(Timestamp::MAX);
    taken.goal.is_some() || until > now
}

fn set_aside(path: &Path) -> Result<(), DiskError> {
    let aside = path.with_extension("json.damaged");
    std::fs::rename(path, aside).map_err(DiskError::of("set aside", path))
}
