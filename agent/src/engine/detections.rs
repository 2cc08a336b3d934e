//! What is told of a verdict, and the steps that it may lead to.

use std::net::IpAddr;

use cordon_behavior::story::{Connection, Story};
use cordon_contain::Tree;
use cordon_proto::id::IsolationId;
use cordon_proto::policy::WithoutProof;
use cordon_proto::record::{Detection, Record, RecordBody, StopAct};
use cordon_proto::verdict::{Verdict, VerdictKind};
use cordon_respond::block;
use cordon_respond::isolation::Intent;
use cordon_respond::{Action, Decision};
use jiff::{SignedDuration, Timestamp};

use super::Engine;
use crate::blocking::{self, BlockJob};
use crate::hands::Ends;
use crate::host;
use crate::isolation::{Circumstances, forbidden_ends};
use crate::judging::{Explained, Judged};
use crate::proposals::Kept;
use crate::recent::Recent;
use crate::stopping::StopJob;

/// Trees whose worst report is remembered.
const TREES: usize = 4096;

/// What was reported of each tree: a tree is reported again when it is worse, or when more is done about it.
#[derive(Debug)]
pub(super) struct Reported(Recent<String, (VerdictKind, Action)>);

impl Default for Reported {
    fn default() -> Self {
        Self(Recent::new(TREES))
    }
}

impl Reported {
    /// Whether this is news. If so, it is not the next time.
    pub(super) fn is_news(&mut self, tree: &str, kind: VerdictKind, action: Action) -> bool {
        let key = tree.to_owned();
        let (known_kind, known_action) = match self.0.get(&key) {
            Some(known) => *known,
            None => (VerdictKind::NotEvaluable, Action::Record),
        };
        let is_news = kind > known_kind || action > known_action;
        if is_news {
            self.0
                .put(key, (kind.max(known_kind), action.max(known_action)));
        }
        is_news
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Whom a judged process and its descendants called.
pub(super) struct Called<'a> {
    pub connections: &'a [Connection],
    /// Name of its tree in records.
    pub name: &'a str,
    /// Why it was judged.
    pub reason: String,
    /// Kernel's stamp of the judged event.
    pub event_mono_ns: u64,
}

/// A detection that was acted upon, and is recorded when the verdict's reasons are there.
pub(super) struct Unexplained {
    /// When it was decided about.
    pub at: Timestamp,
    pub detection: Detection,
    /// Whether it is in the journal.
    pub journaled: bool,
}

impl Engine {
    /// In the journal before anything follows from it: see [`crate::recorder`].
    pub(super) fn journal(&self, detection: &Detection, at: Timestamp) {
        self.parts.recorder.journal(&record_of(detection, at));
    }

    /// What became of a detection that is in the journal.
    pub(super) fn journal_again(&self, detection: &Detection, at: Timestamp) {
        self.parts.recorder.journal_again(&record_of(detection, at));
    }

    /// A proposal that is not on disk is none: an answer to it could not be kept to.
    pub(super) fn keep(&mut self, new: Kept, detection: &mut Detection) {
        if let Err(error) = self.parts.proposals.keep(new) {
            let why = crate::chain(&error);
            tracing::error!(%why, "a proposal could not be kept");
            detection.proposal = None;
            Action::RecommendIsolate
                .name()
                .clone_into(&mut detection.decision);
            let reason = &mut detection.decision_reason;
            *reason = format!("{reason}; but it could not be kept: {why}");
            let reason = &mut detection.decision_reason_zh;
            *reason = format!("{reason}；但该处置建议无法保留：{why}");
        }
    }

    /// The reasons of the verdict before: the detection goes to the outbox, if it is one.
    pub(super) fn explained(&mut self, explained: Explained) {
        let Some(unexplained) = self.unexplained.take() else {
            // It is about the verdict that came last, which may wait for a place.
            if let Some(case) = self.asking.last_case() {
                case.explained.get_or_insert(explained);
            }
            return;
        };
        let Unexplained {
            at,
            mut detection,
            journaled,
        } = unexplained;
        // The policy's thresholds may have changed in between; the decision was made on the first one.
        detection.verdict.reasons = explained.verdict.reasons;
        detection.exe_sha256 = explained.exe_sha256;
        let body = RecordBody::Detection(Box::new(detection));
        let record = Record { at, body };
        if journaled {
            self.parts.recorder.record_journaled(&record);
        } else {
            self.parts.recorder.record_at(&record);
        }
    }

    pub(super) fn detection(&self, judged: Judged, tree: String, decision: &Decision) -> Detection {
        Detection {
            tree,
            pid: judged.process.pid,
            process: Some(self.parts.facts.process_name(judged.process).to_string()),
            story: judged.story,
            verdict: judged.verdict,
            policy_version: self.parts.policy.version(),
            decision: decision.action.name().to_owned(),
            decision_reason: decision.reason.clone(),
            decision_reason_zh: decision.reason_zh.clone(),
            event_mono_ns: judged.cause_mono_ns,
            exe_sha256: None,
            proposal: None,
        }
    }

    /// The judged process and what descends from it, and nobody above: whoever started it may be a login or a server.
    /// A maker that is judged malicious itself is the root of its own.
    pub(super) fn stop_tree(&self, judged: &Judged, name: &str, act: StopAct, tell_always: bool) {
        let Some(policy) = self.parts.policy.policy() else {
            return;
        };
        self.parts.stopper.stop(StopJob {
            act,
            tree: Tree {
                root: judged.process,
                known: judged.below.clone(),
                protected: policy.protected_processes.clone(),
            },
            name: Some(name.to_owned()),
            reason: reason_of(&judged.story, &judged.verdict),
            event_mono_ns: judged.cause_mono_ns,
            policy_version: policy.version,
            tell_always,
            ordered: None,
        });
    }

    /// Whom a judged process and its descendants called.
    pub(super) fn block_remotes(&self, of: Called<'_>, seconds: u64, now: Timestamp) {
        let Some(policy) = self.parts.policy.policy() else {
            return;
        };
        let called: Vec<_> = blocking::called(of.connections).collect();
        let never = blocking::never(policy, &self.parts.pins.known());
        let addresses = called.iter().map(|remote| remote.address.ip());
        let choice = block::choose(addresses, &never, block::MOST_REMOTES);
        let tried = |address: &IpAddr| called.iter().find(|r| r.address.ip() == *address).copied();
        let lasts = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        self.parts.blocker.block(BlockJob {
            remotes: choice.block.iter().filter_map(tried).collect(),
            spared: choice.spared,
            until: now.checked_add(lasts).unwrap_or(Timestamp::MAX),
            name: of.name.to_owned(),
            reason: of.reason,
            event_mono_ns: of.event_mono_ns,
            policy_version: policy.version,
        });
    }

    pub(super) fn isolate_by_itself(
        &mut self,
        detection: &Detection,
        isolation: Option<IsolationId>,
        now: Timestamp,
    ) {
        let Some(policy) = self.parts.policy.policy() else {
            return;
        };
        let ends = self.ends();
        let intent = Intent {
            id: isolation.unwrap_or_else(IsolationId::generate),
            reason: reason_of(&detection.story, &detection.verdict),
            tree: Some(detection.tree.clone()),
            policy_version: policy.version,
            without_proof: policy.isolation.without_proof,
            event_mono_ns: Some(detection.event_mono_ns),
            ..new_intent(
                policy.isolation.lease_seconds,
                self.parts.isolation.time(now),
            )
        };
        let circumstances = Circumstances {
            forbidden: forbidden_ends(&detection.story.connections, &ends, &host::addresses()),
            ends,
            controller_is_reachable: self.parts.vitals.is_connected(),
        };
        let id = intent.id;
        let news = self.parts.isolation.isolate(intent, circumstances, now);
        self.parts.caps.count(id, now);
        self.tell(news, now);
    }

    /// What stays reachable, by what is known now.
    pub(super) fn ends(&self) -> Ends {
        let policy = self.parts.policy.policy();
        Ends {
            controllers: self.parts.pins.known(),
            allow: policy.map_or_else(Vec::new, |policy| policy.isolation.allow.clone()),
        }
    }
}

fn record_of(detection: &Detection, at: Timestamp) -> Record {
    Record {
        at,
        body: RecordBody::Detection(Box::new(detection.clone())),
    }
}

/// An intent by nobody yet, at a moment of [`crate::isolation::Isolation::time`]. A lease of 0 seconds never ends.
pub(super) fn new_intent(lease_seconds: u64, now: Timestamp) -> Intent {
    let lease = SignedDuration::from_secs(i64::try_from(lease_seconds).unwrap_or(i64::MAX));
    Intent {
        id: IsolationId::generate(),
        reason: String::new(),
        tree: None,
        started_at: now,
        lease_expires_at: (lease_seconds > 0)
            .then(|| now.checked_add(lease).unwrap_or(Timestamp::MAX)),
        policy_version: 0,
        without_proof: WithoutProof::StayShut,
        event_mono_ns: None,
    }
}

pub(super) fn reason_of(story: &Story, verdict: &Verdict) -> String {
    let process = story.process.as_ref();
    let exe = process.map_or("a process", |process| process.exe.as_str());
    let techniques = verdict.techniques.join(", ");
    let named = if techniques.is_empty() {
        String::new()
    } else {
        format!(" ({techniques})")
    };
    format!("{exe} judged malicious, score {:.2}{named}", verdict.score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_news_once_for_each_step_up() {
        use VerdictKind::{Malicious, Suspicious};
        let mut reported = Reported::default();
        assert!(reported.is_news("t", Suspicious, Action::Alert));
        assert!(!reported.is_news("t", Suspicious, Action::Alert));
        assert!(reported.is_news("t", Malicious, Action::Alert));
        assert!(!reported.is_news("t", Suspicious, Action::Alert));
        assert!(reported.is_news("t", Malicious, Action::Isolate));
        assert!(reported.is_news("other", Suspicious, Action::Alert));
        reported.clear();
        assert!(reported.is_news("t", Suspicious, Action::Alert));
    }
}
