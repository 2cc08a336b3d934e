//! From a verdict to what is done about it: at once, or when the controller said whether the group has a place for this host.

use cordon_proto::id::IsolationId;
use cordon_proto::policy::{BlockRemote, Stop};
use cordon_proto::record::{Detection, StopAct};
use cordon_respond::{Action, Decision, Place, Standing, Subject, decide};
use jiff::Timestamp;

use super::Engine;
use super::detections::{Called, Unexplained, reason_of};
use super::places::Waiting;
use crate::judging::{Explained, Judged, Wanted};

/// A verdict, as far as it was dealt with.
pub(super) struct Case {
    judged: Judged,
    /// Name of its tree in records.
    pub tree: String,
    /// When it was decided about first.
    at: Timestamp,
    /// Whether it is told though nothing is done.
    is_news: bool,
    /// Whether it is in the journal.
    journaled: bool,
    /// What was found out of it while it waited.
    pub explained: Option<Explained>,
}

impl Engine {
    /// What is not reported again needs no reasons.
    pub(super) fn judged(&mut self, judged: Judged, wanted: Wanted, now: Timestamp) {
        let tree = self.parts.facts.tree_name(judged.tree);
        let decision = self.decide(&judged, &tree, self.place_at_hand(), now);
        let waits = decision.asks_for_place.is_some();
        // Whatever the answer is, it is told that the host should be isolated.
        let least = if waits {
            Action::RecommendIsolate
        } else {
            decision.action
        };
        let kind = judged.verdict.verdict;
        let is_news = self.reported.is_news(&tree, kind, least);
        self.take_milder_steps(&judged, &tree, &decision, is_news, now);
        let mut case = Case {
            judged,
            tree,
            at: now,
            is_news,
            journaled: false,
            explained: None,
        };
        if !waits {
            return self.conclude(case, Some(wanted), &decision, None, now);
        }
        // One more of a tree would come to the same.
        if !self.asking.is_about_tree(&case.tree) {
            wanted.say();
            if case.is_news {
                self.journal_waiting(&mut case, &decision);
            }
            let waiting = Waiting::Verdict(Box::new(case));
            self.ask_for_place(waiting, IsolationId::generate());
        }
    }

    /// The controller answered about a place for the host, or did not in time. Milder steps were taken.
    pub(super) fn decide_again(
        &mut self,
        mut case: Case,
        isolation: IsolationId,
        place: Place,
        now: Timestamp,
    ) {
        let decision = self.decide(&case.judged, &case.tree, place, now);
        let kind = case.judged.verdict.verdict;
        case.is_news |= self.reported.is_news(&case.tree, kind, decision.action);
        self.conclude(case, None, &decision, Some(isolation), now);
    }

    /// An agent that is killed while it waits has told of the verdict, and of no isolation.
    fn journal_waiting(&self, case: &mut Case, decision: &Decision) {
        let mut detection = self.detection(case.judged.clone(), case.tree.clone(), decision);
        Action::RecommendIsolate
            .name()
            .clone_into(&mut detection.decision);
        self.journal(&detection, case.at);
        case.journaled = true;
    }

    fn decide(&self, judged: &Judged, tree: &str, place: Place, now: Timestamp) -> Decision {
        let standing = Standing {
            isolated: !self.parts.isolation.is_open(),
            isolations_last_hour: self.parts.caps.last_hour(now),
            is_from_before_opening: judged.cause_mono_ns < self.opened_mono_ns,
            asking: self.parts.proposals.asking(tree, judged.process),
            place,
        };
        let policy = self.parts.policy.policy();
        decide(&judged.verdict, &subject_of(judged), policy, &standing, now)
    }

    fn take_milder_steps(
        &self,
        judged: &Judged,
        tree: &str,
        decision: &Decision,
        is_news: bool,
        now: Timestamp,
    ) {
        // Off the network first: to walk and signal a tree takes longer.
        if decision.cut_off {
            self.stop_tree(judged, tree, StopAct::CutOff, is_news);
        }
        match decision.stop {
            Stop::None => {}
            Stop::Freeze => self.stop_tree(judged, tree, StopAct::Frozen, is_news),
            Stop::Kill => self.stop_tree(judged, tree, StopAct::Killed, is_news),
        }
        if let Some(BlockRemote { seconds }) = decision.block {
            let called = Called {
                connections: &judged.story.connections,
                name: tree,
                reason: reason_of(&judged.story, &judged.verdict),
                event_mono_ns: judged.cause_mono_ns,
            };
            self.block_remotes(called, seconds, now);
        }
    }

    /// Proposes or isolates, and tells of it. `wanted` is gone when the reasons were asked for before; an isolation for
    /// which a place was asked for has an id already.
    fn conclude(
        &mut self,
        case: Case,
        wanted: Option<Wanted>,
        decision: &Decision,
        isolation: Option<IsolationId>,
        now: Timestamp,
    ) {
        let Case {
            judged,
            tree,
            at,
            is_news,
            journaled,
            explained,
        } = case;
        let proposed = decision.propose;
        let proposed = proposed.map(|steps| self.proposal(&judged, &tree, steps, now));
        let (proposal, new) = proposed.unzip();
        let new = new.flatten();
        let is_acted_upon = decision.action == Action::Isolate || new.is_some();
        // What the journal has is told, whatever a policy that came meanwhile makes of it.
        let is_told = decision.action != Action::Record && (is_news || is_acted_upon);
        if !(is_told || journaled) {
            return;
        }
        if let Some(wanted) = wanted {
            wanted.say();
        }
        tracing::warn!(
            %tree, exe = %subject_of(&judged).exe, score = judged.verdict.score, verdict = ?judged.verdict.verdict,
            micros = judged.verdict.micros, decision = decision.action.name(), reason = %decision.reason,
            "detection"
        );
        let mut detection = Detection {
            proposal,
            ..self.detection(judged, tree, decision)
        };
        if journaled {
            self.journal_again(&detection, at);
        } else if is_acted_upon {
            self.journal(&detection, at);
        }
        if decision.action == Action::Isolate {
            self.isolate_by_itself(&detection, isolation, now);
        }
        if let Some(new) = new {
            self.keep(new, &mut detection);
        }
        self.unexplained = Some(Unexplained {
            at,
            detection,
            journaled: journaled || is_acted_upon,
        });
        if let Some(explained) = explained {
            self.explained(explained);
        }
    }
}

fn subject_of(judged: &Judged) -> Subject {
    let process = judged.story.process.as_ref();
    Subject {
        exe: process.map_or_else(String::new, |process| process.exe.clone()),
    }
}
