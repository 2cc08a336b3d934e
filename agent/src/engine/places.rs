//! Before this host isolates itself, where the policy caps how many of the group may be isolated at one time, the
//! controller is asked for a place.
//!
//! What was decided waits here meanwhile, and is decided anew with the answer. It waits for [`PATIENCE`] at most, and not
//! at all without a session: protection comes before the cap. One question is asked at a time, for one host needs one
//! place; what comes meanwhile waits for the same answer.

use std::time::Duration;

use cordon_proto::id::{IsolationId, ProposalId};
use cordon_respond::proposal::TimeOver;
use cordon_respond::{Place, Taken};
use jiff::Timestamp;
use tokio::time::Instant;

use super::Engine;
use super::verdicts::Case;

/// How long an isolation waits for the controller's word.
pub const PATIENCE: Duration = Duration::from_millis(300);
/// A refusal holds for what follows in this time: an attack makes hundreds of verdicts a second.
const REFUSAL_HOLDS: Duration = Duration::from_secs(5);

/// Who waits for an answer.
pub(super) enum Waiting {
    /// A verdict on which the host would be isolated.
    Verdict(Box<Case>),
    /// A proposal whose time is over.
    Proposal(ProposalId, TimeOver),
}

/// What is asked, and what was answered last.
#[derive(Default)]
pub(super) struct Asking {
    question: Option<Question>,
    refused: Option<(Taken, Instant)>,
}

struct Question {
    /// The isolation that it would become.
    isolation: IsolationId,
    until: Instant,
    /// Bounded by how many different trees are judged malicious in so short a time.
    waiting: Vec<Waiting>,
}

impl Asking {
    /// When the question is given up; `None`: nothing is asked.
    pub(super) fn until(&self) -> Option<Instant> {
        self.question.as_ref().map(|question| question.until)
    }

    /// Whether this proposal waits for the answer.
    pub(super) fn is_about(&self, proposal: ProposalId) -> bool {
        let waits = |one: &Waiting| matches!(one, Waiting::Proposal(id, _) if *id == proposal);
        self.waiting().any(waits)
    }

    /// Whether a verdict on this tree waits for the answer: one more of it would come to the same.
    pub(super) fn is_about_tree(&self, tree: &str) -> bool {
        let waits = |one: &Waiting| matches!(one, Waiting::Verdict(case) if case.tree == tree);
        self.waiting().any(waits)
    }

    /// The verdict that came last, if it waits for the answer.
    pub(super) fn last_case(&mut self) -> Option<&mut Case> {
        let waiting = self.question.as_mut()?.waiting.iter_mut().rev();
        let mut verdicts = waiting.filter_map(|one| match one {
            Waiting::Verdict(case) => Some(case.as_mut()),
            Waiting::Proposal(..) => None,
        });
        verdicts.next()
    }

    fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.question.iter().flat_map(|question| &question.waiting)
    }
}

/// Until a question is given up; for ever without one.
pub(super) async fn given_up(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

impl Engine {
    /// Whether an isolation that nobody said yes to needs a place.
    pub(super) fn needs_place(&self) -> bool {
        let policy = self.parts.policy.policy();
        let is_capped = policy.is_some_and(|policy| policy.caps.hosts_at_once.is_some());
        is_capped && self.parts.isolation.is_open()
    }

    /// What is known of a place without asking; [`Place::NotAsked`]: it is to be asked for.
    pub(super) fn place_at_hand(&self) -> Place {
        if !self.parts.vitals.is_connected() {
            return Place::Unknown;
        }
        match &self.asking.refused {
            Some((taken, at)) if at.elapsed() < REFUSAL_HOLDS => Place::Refused(taken.clone()),
            _ => Place::NotAsked,
        }
    }

    /// Asks, unless that is done already, and keeps who waits for the answer. `isolation` is what it would become.
    pub(super) fn ask_for_place(&mut self, waiting: Waiting, isolation: IsolationId) {
        if let Some(question) = &mut self.asking.question {
            return question.waiting.push(waiting);
        }
        self.asking.question = Some(Question {
            isolation,
            until: Instant::now() + PATIENCE,
            waiting: vec![waiting],
        });
        self.parts.places.send_replace(Some(isolation));
    }

    /// The controller answered. What it says of a question that was given up is left alone.
    pub(super) fn place_answered(&mut self, isolation: IsolationId, place: &Place, now: Timestamp) {
        let question = self.asking.question.as_ref();
        if question.is_some_and(|question| question.isolation == isolation) {
            self.go_on(place, now);
        } else {
            tracing::info!(%isolation, ?place, "a place was answered that nobody waits for");
        }
    }

    /// It did not.
    pub(super) fn place_given_up(&mut self, now: Timestamp) {
        tracing::warn!(
            "the controller did not say in time how many hosts of the group are isolated"
        );
        self.go_on(&Place::Unknown, now);
    }

    /// The first of those who wait isolates, if that may be; for the others the host is isolated already.
    fn go_on(&mut self, place: &Place, now: Timestamp) {
        let Some(question) = self.asking.question.take() else {
            return;
        };
        self.parts.places.send_replace(None);
        self.asking.refused = match place {
            Place::Refused(taken) => Some((taken.clone(), Instant::now())),
            _ => None,
        };
        for waiting in question.waiting {
            match waiting {
                Waiting::Verdict(case) => {
                    self.decide_again(*case, question.isolation, place.clone(), now);
                }
                Waiting::Proposal(id, over) => {
                    // Somebody may have answered it meanwhile.
                    if let Ok(kept) = self.parts.proposals.answerable(id).cloned() {
                        self.end_in_time(&kept, over, place.clone(), now);
                    }
                }
            }
        }
    }
}
