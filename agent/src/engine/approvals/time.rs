//! What becomes of a proposal whose time is over.

use std::time::Duration;

use cordon_proto::policy::AfterTime;
use cordon_proto::record::ApprovalOutcome;
use cordon_respond::Place;
use cordon_respond::proposal::{Ending, LINE_DOUBT, Line, TimeOver, time_over};
use jiff::Timestamp;

use crate::engine::Engine;
use crate::engine::places::Waiting;
use crate::proposals::{Kept, clocks};

impl Engine {
    /// Time passed.
    pub(in crate::engine) fn look_after_proposals(&mut self, now: Timestamp) {
        self.parts.proposals.flush();
        self.end_what_is_carried_out();
        let policy = self.parts.policy.policy();
        let approve = policy.and_then(|policy| policy.approve).unwrap_or_default();
        let (line, clocks) = (self.line(), clocks(now));
        let waiting = self.parts.proposals.waiting();
        let waiting = waiting.filter(|kept| !self.asking.is_about(kept.id));
        let over = waiting.filter_map(|kept| {
            let over = time_over(&kept.terms, approve, line, clocks)?;
            Some((kept.clone(), over))
        });
        for (kept, over) in over.collect::<Vec<_>>() {
            self.time_is_over(&kept, over, now);
        }
    }

    fn line(&self) -> Line {
        let doubt = Duration::try_from(LINE_DOUBT).unwrap_or_default();
        match self.parts.vitals.is_connected() {
            true => Line::Up,
            false if self.began.elapsed() < doubt => Line::Unknown,
            false => Line::Down,
        }
    }

    /// To isolate the host without a yes may need a place.
    fn time_is_over(&mut self, kept: &Kept, over: TimeOver, now: Timestamp) {
        let isolates = over.rule == AfterTime::Act && kept.steps.isolate;
        if !isolates || !self.needs_place() {
            return self.end_in_time(kept, over, Place::NotAsked, now);
        }
        match self.place_at_hand() {
            Place::NotAsked => {
                self.ask_for_place(Waiting::Proposal(kept.id, over), kept.isolation);
            }
            place => self.end_in_time(kept, over, place, now),
        }
    }

    /// What its rule says is done, as far as that may be.
    pub(in crate::engine) fn end_in_time(
        &mut self,
        kept: &Kept,
        over: TimeOver,
        place: Place,
        now: Timestamp,
    ) {
        let TimeOver { outcome, rule } = over;
        let who = match outcome {
            ApprovalOutcome::Offline => "nobody could answer in time",
            _ => "nobody answered in time",
        };
        let ending = |reason| Ending {
            outcome,
            rule: Some(rule),
            at: now,
            order: None,
            by: None,
            reason,
        };
        if rule == AfterTime::Nothing {
            return self.end(kept, ending(format!("{who}: nothing is done")));
        }
        let is_unknown = place == Place::Unknown;
        let plan = self.plan(kept, place, now);
        if plan.steps.is_none() {
            let why = format!("{who}, and nothing may be done now: {}", plan.left_out);
            let ending = ending(why);
            return self.end(
                kept,
                Ending {
                    rule: Some(AfterTime::Nothing),
                    ..ending
                },
            );
        }
        let unasked = if is_unknown && plan.steps.isolate {
            "; the controller did not say how many hosts of the group are isolated, so the cap on them is not kept to"
        } else {
            ""
        };
        self.carry_out_proposal(kept, &plan, ending(format!("{who}{unasked}")), now);
    }
}
