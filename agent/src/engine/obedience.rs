//! What orders and people at the machine ask for, and what becomes of it.

use cordon_contain::Recovered;
use cordon_proto::envelope::Envelope;
use cordon_proto::id::{IsolationId, OrderId};
use cordon_proto::order::{Order, Verb};
use cordon_proto::policy::WithoutProof;
use cordon_proto::record::{IsolationReport, IsolationState, RecordBody};
use cordon_respond::isolation::Intent;
use cordon_respond::order::{Refusal, admit};
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::Engine;
use super::detections::new_intent;
use crate::isolation::{Circumstances, INTERRUPTED_RELEASE, News, found_tampered};
use crate::local::{Answer, reply};
use crate::orders::{Fate, Goal, fate};

/// Lease of an isolation by a person at the machine when no policy says another.
const LOCAL_LEASE_SECONDS: u64 = 3600;

/// Somebody who waits for the isolation to come to something.
pub(super) struct Waiter {
    goal: Goal,
    who: Who,
}

impl Waiter {
    pub(super) fn order(goal: Goal, order: OrderId) -> Self {
        let who = Who::Order(order);
        Self { goal, who }
    }
}

enum Who {
    Order(OrderId),
    Person(oneshot::Sender<Answer>),
}

impl Engine {
    /// Takes up what a start found: an isolation in force, orders that were begun.
    pub(super) fn take_up(&mut self, recovered: &Recovered, now: Timestamp) {
        self.policy_changed(now);
        if let Some(report) = found_tampered(recovered) {
            let (what, repaired) = (&report.what, report.repaired);
            tracing::warn!(what, repaired, "found at the start");
            self.parts.recorder.record(RecordBody::Tamper(report));
        }
        match recovered {
            Recovered::Released(spec) => self.released_before(spec, now),
            Recovered::ShutUnknown { why } => self.adopt_unknown(why, now),
            _ => {}
        }
        if let Some(intent) = self.parts.isolation.intent()
            && intent.tree.is_some()
        {
            self.parts.caps.count(intent.id, intent.started_at);
        }
        if self.parts.isolation.is_open() {
            self.forget_challenge();
        }
        self.renew_challenge(now);
        for (order, goal) in self.parts.orders.unsettled() {
            match goal {
                Goal::Elsewhere => {
                    let fate = Fate::Failed("the agent was started anew meanwhile".to_owned());
                    self.settle(Who::Order(order), fate, None, now);
                }
                Goal::Step(step) => self.step_again(&step, now),
                goal => self.waiters.push(Waiter::order(goal, order)),
            }
        }
        self.take_up_proposals(now);
        if self.waiters.iter().any(|waiter| waiter.goal == Goal::Open) {
            let news = self.parts.isolation.release(INTERRUPTED_RELEASE, now);
            self.tell(news, now);
        }
        self.settle_waiters(&[], now);
        self.publish();
    }

    fn released_before(&mut self, spec: &cordon_contain::IsolationSpec, now: Timestamp) {
        let report = IsolationReport {
            id: spec.id,
            state: IsolationState::Released,
            reason: INTERRUPTED_RELEASE.to_owned(),
            tree: spec.tree.clone(),
            lease_expires_at: spec.lease_expires_at,
            rules_sha256: None,
            probes: Vec::new(),
            event_to_drop_micros: None,
            policy_version: spec.policy_version,
            release: None,
        };
        let news = News {
            reports: vec![report],
            tamper: None,
        };
        self.tell(news, now);
    }

    /// The kernel drops by rules that are ours and do not say for whom: they become a new isolation, which
    /// has a lease and can be released.
    fn adopt_unknown(&mut self, why: &str, now: Timestamp) {
        let intent = Intent {
            reason: format!("rules without state were found in the kernel: {why}"),
            ..new_intent(self.lease_seconds(), self.parts.isolation.time(now))
        };
        let news = self.isolate(intent, now);
        self.tell(news, now);
    }

    pub(super) fn ordered(&mut self, json: &[u8], now: Timestamp) {
        let envelope = match Envelope::from_json(json) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::error!(error = %crate::chain(&error), "an order could not be read");
                return;
            }
        };
        let orders = &self.parts.orders;
        let seen = |id| orders.is_taken(id);
        let policy = self.parts.policy.policy();
        match admit(&envelope, policy, self.parts.identity.host, &seen, now) {
            Ok(order) => match &order.verb {
                Verb::Isolate { lease_seconds } => {
                    let intent = self.ordered_intent(&order, *lease_seconds, now);
                    self.obey(&order, Some(intent), now);
                }
                Verb::Release => self.obey(&order, None, now),
                Verb::BlockHost {
                    peer,
                    addresses,
                    seconds,
                } => self.block_host(&order, *peer, addresses, *seconds, now),
                Verb::UnblockHost { peer } => self.unblock_host(&order, *peer, now),
                Verb::Approve { proposal } => self.approve(&order, *proposal, now),
                Verb::Refuse { proposal } => self.refuse_proposal(&order, *proposal, now),
                Verb::KillTree { .. }
                | Verb::FreezeTree { .. }
                | Verb::ThawTree { .. }
                | Verb::CutOff { .. }
                | Verb::Rejoin { .. }
                | Verb::BlockRemote { .. }
                | Verb::UnblockRemote { .. }
                | Verb::QuarantineFile { .. }
                | Verb::RestoreFile { .. } => self.take_step(order, now),
            },
            Err(Refusal::Seen { order }) => self.repeat_receipts(order),
            Err(refusal) => self.refuse(&refusal, now),
        }
    }

    fn repeat_receipts(&self, order: OrderId) {
        tracing::info!(%order, "order was taken before, answering with its receipts");
        for receipt in self.parts.orders.receipts(order) {
            self.parts.recorder.record(RecordBody::Receipt(receipt));
        }
    }

    fn refuse(&self, refusal: &Refusal, now: Timestamp) {
        let why = crate::chain(refusal);
        tracing::warn!(%why, "order refused");
        // An envelope that nobody trusted signed names no order that a receipt could be about.
        if let Some(order) = refusal.order() {
            let receipt = self.parts.orders.refuse(order, why, now);
            self.parts.recorder.record(RecordBody::Receipt(receipt));
        }
    }

    /// Without an intent it is a release.
    fn obey(&mut self, order: &Order, intent: Option<Intent>, now: Timestamp) {
        let goal = intent.as_ref().map_or(Goal::Open, goal_of);
        let isolation = self
            .isolation_id()
            .or(intent.as_ref().map(|intent| intent.id));
        self.begin_in_any_case(order, goal.clone(), isolation, now);
        let waiter = Waiter::order(goal, order.id);
        self.carry_out(intent, &order.reason, waiter, now);
    }

    /// Takes an order and says so; false when the disk does not take it, which is its end.
    pub(super) fn begin(
        &mut self,
        order: &Order,
        goal: Goal,
        isolation: Option<IsolationId>,
        now: Timestamp,
    ) -> bool {
        let began = self.parts.orders.begin(order, goal, isolation, now);
        let is_begun = began.is_ok();
        let receipt = began.unwrap_or_else(|error| {
            let why = format!("the order could not be kept: {}", crate::chain(&error));
            self.parts.orders.refuse(order.id, why, now)
        });
        tracing::info!(
            order = %order.id, verb = order.verb.name(), by = %order.requested_by, is_begun, "order"
        );
        self.parts.recorder.record(RecordBody::Receipt(receipt));
        is_begun
    }

    /// Takes an order that shuts or opens this host, whether the disk takes it or not: what is on disk for an isolation
    /// has room of its own, and a way back must need none. Forgotten and given again, either changes nothing.
    fn begin_in_any_case(
        &mut self,
        order: &Order,
        goal: Goal,
        isolation: Option<IsolationId>,
        now: Timestamp,
    ) {
        let orders = &mut self.parts.orders;
        let began = orders.begin(order, goal.clone(), isolation, now);
        let receipt = began.unwrap_or_else(|error| {
            tracing::error!(error = %crate::chain(&error), "an order is not on the disk");
            orders.begin_unkept(order, goal, isolation, &error, now)
        });
        tracing::info!(
            order = %order.id, verb = order.verb.name(), by = %order.requested_by, "order"
        );
        self.parts.recorder.record(RecordBody::Receipt(receipt));
    }

    fn ordered_intent(&self, order: &Order, lease_seconds: u64, now: Timestamp) -> Intent {
        let policy = self.parts.policy.policy();
        Intent {
            reason: order.reason.clone(),
            policy_version: self.parts.policy.version(),
            without_proof: policy.map_or(WithoutProof::StayShut, |policy| {
                policy.isolation.without_proof
            }),
            ..new_intent(lease_seconds, self.parts.isolation.time(now))
        }
    }

    pub(super) fn isolate_locally(
        &mut self,
        reason: &str,
        lease_seconds: Option<u64>,
        to: oneshot::Sender<Answer>,
        now: Timestamp,
    ) {
        let lease = lease_seconds.unwrap_or_else(|| self.lease_seconds());
        let intent = Intent {
            reason: reason.to_owned(),
            ..new_intent(lease, self.parts.isolation.time(now))
        };
        let waiter = Waiter {
            goal: goal_of(&intent),
            who: Who::Person(to),
        };
        self.carry_out(Some(intent), reason, waiter, now);
    }

    pub(super) fn release_locally(
        &mut self,
        reason: &str,
        to: oneshot::Sender<Answer>,
        now: Timestamp,
    ) {
        let waiter = Waiter {
            goal: Goal::Open,
            who: Who::Person(to),
        };
        self.carry_out(None, reason, waiter, now);
    }

    /// `None` is a release.
    fn carry_out(&mut self, intent: Option<Intent>, reason: &str, waiter: Waiter, now: Timestamp) {
        self.waiters.push(waiter);
        let news = match intent {
            Some(intent) => self.isolate(intent, now),
            None => self.parts.isolation.release(reason, now),
        };
        self.tell(news, now);
    }

    fn isolate(&mut self, intent: Intent, now: Timestamp) -> News {
        let circumstances = Circumstances {
            ends: self.ends(),
            controller_is_reachable: self.parts.vitals.is_connected(),
            ..Circumstances::default()
        };
        self.parts.isolation.isolate(intent, circumstances, now)
    }

    pub(super) fn lease_seconds(&self) -> u64 {
        let policy = self.parts.policy.policy();
        policy.map_or(LOCAL_LEASE_SECONDS, |policy| policy.isolation.lease_seconds)
    }

    pub(super) fn isolation_id(&self) -> Option<IsolationId> {
        self.parts.isolation.intent().map(|intent| intent.id)
    }

    /// Answers everybody whose goal is reached, or out of reach.
    pub(super) fn settle_waiters(&mut self, news: &[IsolationReport], now: Timestamp) {
        let state = self.parts.isolation.state();
        let mut settled = Vec::new();
        for index in (0..self.waiters.len()).rev() {
            if let Some(fate) = fate(&self.waiters[index].goal, state, news) {
                settled.push((self.waiters.remove(index), fate));
            }
        }
        let isolation = self.isolation_id().or(news.last().map(|report| report.id));
        for (waiter, fate) in settled.into_iter().rev() {
            self.settle(waiter.who, fate, isolation, now);
        }
    }

    /// An order that is not about the isolation came to something.
    pub(super) fn settled(&mut self, order: OrderId, fate: Fate, now: Timestamp) {
        self.settle(Who::Order(order), fate, None, now);
    }

    fn settle(&mut self, who: Who, fate: Fate, isolation: Option<IsolationId>, now: Timestamp) {
        match (who, fate) {
            (Who::Order(order), fate) => {
                tracing::info!(%order, ?fate, "order settled");
                let receipt = self.parts.orders.settle(order, fate, isolation, now);
                self.parts.recorder.record(RecordBody::Receipt(receipt));
            }
            (Who::Person(to), Fate::Done(detail)) => {
                reply(to, Answer::Done { detail, isolation });
            }
            (Who::Person(to), Fate::Failed(detail)) => reply(to, Answer::Failed { detail }),
        }
    }
}

fn goal_of(intent: &Intent) -> Goal {
    Goal::Shut {
        id: intent.id,
        lease: intent.lease_expires_at,
    }
}
