//! What waits for a yes: made here, answered by orders, and ended by time.

mod plan;
mod time;

use cordon_contain::Tree;
use cordon_proto::id::ProposalId;
use cordon_proto::order::Order;
use cordon_proto::policy::{BlockRemote, Policy, Stop};
use cordon_proto::record::{
    ApprovalOutcome, ApprovalReport, Proposal, RecordBody, Steps, StopAct, TamperReport,
};
use cordon_respond::isolation::{Intent, State as Isolation};
use cordon_respond::proposal::{Ending, State, Terms};
use cordon_respond::{Place, Standing};
use jiff::Timestamp;

use super::Engine;
use super::detections::{Called, new_intent, reason_of};
use super::obedience::Waiter;
use crate::host;
use crate::isolation::{Circumstances, forbidden_ends};
use crate::judging::Judged;
use crate::orders::{Fate, Goal};
use crate::proposals::{Kept, Target, clocks};
use crate::stopping::StopJob;
use plan::Plan;
pub(crate) use plan::in_words;

impl Engine {
    /// The proposal for a judged process: one that waits and has all of it, or a new one, to be kept.
    pub(super) fn proposal(
        &mut self,
        judged: &Judged,
        tree: &str,
        steps: Steps,
        now: Timestamp,
    ) -> (Proposal, Option<Kept>) {
        let process = judged.story.process.as_ref();
        let target = Target {
            root: judged.process,
            exe: process.map_or_else(String::new, |process| process.exe.clone()),
            below: judged.below.clone(),
            connections: judged.story.connections.clone(),
            event_mono_ns: judged.cause_mono_ns,
            reason: reason_of(&judged.story, &judged.verdict),
        };
        if let Some(joined) = self.parts.proposals.join(tree, steps, &target) {
            return (joined, None);
        }
        let policy = self.parts.policy.policy();
        let approve = policy.and_then(|policy| policy.approve).unwrap_or_default();
        let terms = Terms::new(approve, clocks(now));
        let kept = Kept::new(tree, &self.parts.facts.boot_id, steps, terms, target);
        (kept.proposal(), Some(kept))
    }

    /// An order to carry out what was proposed.
    pub(super) fn approve(&mut self, order: &Order, id: ProposalId, now: Timestamp) {
        let planned = self.answerable(id).and_then(|kept| {
            let plan = self.plan(&kept, Place::NotAsked, now);
            if plan.steps.is_none() {
                return Err(format!(
                    "nothing of proposal {id} may be done now: {}",
                    plan.left_out
                ));
            }
            Ok((kept, plan))
        });
        let (kept, plan) = match planned {
            Ok(planned) => planned,
            Err(why) => return self.decline(order, why, now),
        };
        let intent = plan
            .steps
            .isolate
            .then(|| self.approved_intent(&kept, &order.reason, now));
        let goal = intent
            .as_ref()
            .map_or(Goal::Elsewhere, |intent| Goal::Shut {
                id: intent.id,
                lease: intent.lease_expires_at,
            });
        let isolation = intent
            .is_some()
            .then(|| self.isolation_id().unwrap_or(kept.isolation));
        if !self.begin(order, goal.clone(), isolation, now) {
            return;
        }
        let is_elsewhere = goal == Goal::Elsewhere;
        if !is_elsewhere {
            self.waiters.push(Waiter::order(goal, order.id));
        }
        let ending = answer(ApprovalOutcome::Approved, order, now);
        let (said, besides) = (in_words(plan.steps), plan.besides());
        self.carry_out_proposal(&kept, &plan, ending, now);
        if is_elsewhere {
            let done = format!("began to {said}; each has a report of its own{besides}");
            self.settled(order.id, Fate::Done(done), now);
        }
    }

    /// An order not to.
    pub(super) fn refuse_proposal(&mut self, order: &Order, id: ProposalId, now: Timestamp) {
        let kept = match self.answerable(id) {
            Ok(kept) => kept,
            Err(why) => return self.decline(order, why, now),
        };
        if !self.begin(order, Goal::Elsewhere, None, now) {
            return;
        }
        let ending = answer(ApprovalOutcome::Refused, order, now);
        self.end(&kept, ending);
        let said = "nothing of it is done, and nothing more is proposed about these processes";
        self.settled(order.id, Fate::Done(said.to_owned()), now);
    }

    fn answerable(&self, id: ProposalId) -> Result<Kept, String> {
        let kept = self.parts.proposals.answerable(id);
        kept.cloned().map_err(|error| error.to_string())
    }

    pub(super) fn decline(&self, order: &Order, why: String, now: Timestamp) {
        tracing::warn!(order = %order.id, verb = order.verb.name(), %why, "order refused");
        let receipt = self.parts.orders.refuse(order.id, why, now);
        self.parts.recorder.record(RecordBody::Receipt(receipt));
    }

    /// Whoever opened the host has decided about what waits.
    pub(super) fn withdraw_proposals(&mut self, now: Timestamp) {
        let waiting: Vec<Kept> = self.parts.proposals.waiting().cloned().collect();
        for kept in waiting {
            self.end(&kept, withdrawn(now));
        }
        // Done and undone: a start has nothing to finish.
        self.end_carried_out();
    }

    /// What a killed agent left.
    pub(super) fn take_up_proposals(&mut self, now: Timestamp) {
        if self.parts.proposals.was_damaged() {
            self.parts.recorder.record(RecordBody::Tamper(TamperReport {
                what: "the file of proposals was damaged: what waited for a yes is forgotten"
                    .to_owned(),
                repaired: false,
                micros: 0,
                by: None,
            }));
        }
        let carrying: Vec<Kept> = self.parts.proposals.carrying().cloned().collect();
        for kept in carrying {
            let State::Carrying(ending) = kept.state.clone() else {
                continue;
            };
            let plan = self.plan(&kept, Place::NotAsked, now);
            self.carry_out_proposal(&kept, &plan, ending, now);
        }
    }

    fn end(&mut self, kept: &Kept, ending: Ending) {
        self.tell_ending(kept, Steps::default(), &ending, "");
        self.parts.proposals.set(kept.id, State::Ended(ending));
    }

    fn tell_ending(&self, kept: &Kept, steps: Steps, ending: &Ending, besides: &str) {
        tracing::warn!(proposal = %kept.id, tree = %kept.tree, outcome = ?ending.outcome, ?steps, "proposal");
        let report = ApprovalReport {
            steps,
            reason: format!("{}{besides}", ending.reason),
            policy_version: self.parts.policy.version(),
            ..kept.report(ending)
        };
        self.parts
            .recorder
            .record(RecordBody::Approval(Box::new(report)));
    }

    /// Off the network first, as with a verdict. That it began is on disk before anything is done.
    fn carry_out_proposal(&mut self, kept: &Kept, plan: &Plan, ending: Ending, now: Timestamp) {
        self.tell_ending(kept, plan.steps, &ending, &plan.besides());
        self.parts
            .proposals
            .set(kept.id, State::Carrying(ending.clone()));
        if plan.steps.isolate {
            self.isolate_as_proposed(kept, &ending, now);
        }
        let Some(policy) = self.parts.policy.policy().cloned() else {
            return;
        };
        for (target, steps) in &plan.targets {
            let reason = format!("{}; {}", target.reason, who(&ending));
            if steps.cut_off {
                self.stop_target(kept, target, StopAct::CutOff, &reason, &policy);
            }
            match steps.stop {
                Stop::None => {}
                Stop::Freeze => self.stop_target(kept, target, StopAct::Frozen, &reason, &policy),
                Stop::Kill => self.stop_target(kept, target, StopAct::Killed, &reason, &policy),
            }
            if let Some(BlockRemote { seconds }) = steps.block {
                let called = Called {
                    connections: &target.connections,
                    name: &kept.tree,
                    reason,
                    event_mono_ns: target.event_mono_ns,
                };
                self.block_remotes(called, seconds, now);
            }
        }
        if !plan.steps.isolate {
            self.parts.proposals.set(kept.id, State::Ended(ending));
        }
    }

    fn isolate_as_proposed(&mut self, kept: &Kept, ending: &Ending, now: Timestamp) {
        let intent = self.approved_intent(kept, &who(ending), now);
        let ends = self.ends();
        let connections = kept.targets.iter().flat_map(|target| &target.connections);
        let connections: Vec<_> = connections.cloned().collect();
        let circumstances = Circumstances {
            forbidden: forbidden_ends(&connections, &ends, &host::addresses()),
            ends,
            controller_is_reachable: self.parts.vitals.is_connected(),
        };
        let (id, was_open) = (intent.id, self.parts.isolation.is_open());
        let news = self.parts.isolation.isolate(intent, circumstances, now);
        if was_open {
            self.parts.caps.count(id, now);
        }
        self.tell(news, now);
    }

    fn approved_intent(&self, kept: &Kept, why: &str, now: Timestamp) -> Intent {
        let intent = new_intent(self.lease_seconds(), self.parts.isolation.time(now));
        let policy = self.parts.policy.policy();
        Intent {
            id: kept.isolation,
            reason: format!("{}; {why}", kept.reason()),
            tree: Some(kept.tree.clone()),
            policy_version: self.parts.policy.version(),
            without_proof: policy.map_or(intent.without_proof, |policy| {
                policy.isolation.without_proof
            }),
            ..intent
        }
    }

    fn stop_target(
        &self,
        kept: &Kept,
        target: &Target,
        act: StopAct,
        reason: &str,
        policy: &Policy,
    ) {
        self.parts.stopper.stop(StopJob {
            act,
            tree: Tree {
                root: target.root,
                known: target.below.clone(),
                protected: policy.protected_processes.clone(),
            },
            name: Some(kept.tree.clone()),
            reason: reason.to_owned(),
            event_mono_ns: target.event_mono_ns,
            policy_version: policy.version,
            // That there was nobody left is what somebody who said yes wants to know.
            tell_always: true,
            ordered: None,
        });
    }

    /// An isolation is in the hands of its own state machine when its intent is on disk.
    fn end_what_is_carried_out(&mut self) {
        if matches!(self.parts.isolation.state(), Isolation::Persisting(_)) {
            return;
        }
        self.end_carried_out();
    }

    fn end_carried_out(&mut self) {
        let carrying: Vec<Kept> = self.parts.proposals.carrying().cloned().collect();
        for kept in carrying {
            if let State::Carrying(ending) = kept.state {
                self.parts.proposals.set(kept.id, State::Ended(ending));
            }
        }
    }

    /// Where no person said yes, `place` is what the controller said of one.
    fn plan(&self, kept: &Kept, place: Place, now: Timestamp) -> Plan {
        let standing = Standing {
            isolated: !self.parts.isolation.is_open(),
            isolations_last_hour: self.parts.caps.last_hour(now),
            place,
            ..Standing::default()
        };
        let is_of_this_boot = self.parts.proposals.is_of_this_boot(kept);
        let policy = self.parts.policy.policy();
        Plan::new(kept, policy, &standing, is_of_this_boot)
    }
}

fn answer(outcome: ApprovalOutcome, order: &Order, now: Timestamp) -> Ending {
    Ending {
        outcome,
        rule: None,
        at: now,
        order: Some(order.id),
        by: Some(order.requested_by.clone()),
        reason: order.reason.clone(),
    }
}

/// How a proposal ends when the host is opened.
pub(crate) fn withdrawn(now: Timestamp) -> Ending {
    Ending {
        outcome: ApprovalOutcome::Withdrawn,
        rule: None,
        at: now,
        order: None,
        by: None,
        reason: "the host was opened, which decided about it".to_owned(),
    }
}

/// Who let it be done.
fn who(ending: &Ending) -> String {
    match &ending.by {
        Some(by) => format!("approved by {by}: {}", ending.reason),
        None => ending.reason.clone(),
    }
}
