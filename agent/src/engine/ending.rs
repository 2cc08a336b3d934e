//! What ends the agent: signals, and people at the machine. Whether it may end the policy says; that it ends, and each
//! attempt that is refused, is reported.

use std::time::Instant;

use cordon_proto::record::{AgentAct, AgentReport, RecordBody, TamperReport};
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::Engine;
use crate::actor;
use crate::blocking::Blocker;
use crate::local::{Answer, reply};
use crate::signals::Signalled;
use crate::stop_codes::{self, NEEDS_CODE};
use crate::stopping::Stopper;

/// Why an isolated host's agent is not removed.
pub(crate) const ISOLATED: &str = "this host is isolated, and nothing would let go of it afterwards: release it first, with \
     `cordonctl release HOST` or `cordon-agent release`";

/// How the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As any program does. Whoever started it may start it again.
    Signalled,
    /// By leave of whoever may stop it: it is to stay stopped.
    ByLeave,
}

/// A removal for which the host is as it was, or as much as could be done.
pub(super) struct Undone {
    left: Vec<String>,
    reason: String,
    to: oneshot::Sender<Answer>,
}

impl Engine {
    /// A signal that asks the agent to end.
    pub(super) fn signalled(&mut self, signalled: Signalled) {
        let Signalled {
            signal,
            mut by,
            going_down,
        } = signalled;
        if let Some(by) = &mut by {
            self.parts.guard.complete(by);
        }
        let who = by.as_ref().map_or("the kernel".to_owned(), actor::in_words);
        if !going_down && stop_codes::keys(self.parts.policy.policy()).is_some() {
            tracing::warn!(%signal, %who, "refused: the policy takes a stop code");
            let what = format!(
                "{signal} to the agent by {who} was refused: the policy takes a stop code for that"
            );
            self.attempts.add(what, by);
            return self.tell_attempts();
        }
        let why = if going_down {
            "the system goes down, "
        } else {
            ""
        };
        self.end_with(
            AgentAct::Stopped,
            format!("{why}{signal} by {who}"),
            End::Signalled,
        );
    }

    /// Reports refused signals when it is time.
    pub(super) fn tell_attempts(&mut self) {
        if let Some(report) = self.attempts.due(Instant::now()) {
            self.parts.recorder.record(RecordBody::Tamper(report));
        }
    }

    /// Somebody at the machine wants the agent to stop, or, when `removes`, off the host.
    pub(super) fn stop_asked(
        &mut self,
        reason: &str,
        code: Option<&str>,
        removes: bool,
        to: oneshot::Sender<Answer>,
        now: Timestamp,
    ) {
        if removes && !self.parts.isolation.is_open() {
            return refuse(to, ISOLATED.to_owned());
        }
        let policy = self.parts.policy.policy();
        let leave = match (stop_codes::keys(policy), code) {
            (None, _) if reason.is_empty() => {
                return refuse(to, "say why: --reason TEXT".to_owned());
            }
            (None, _) => format!("at the machine: {reason}"),
            (Some(keys), None) => {
                let challenge = self.parts.stop_codes.challenge(keys, now);
                let detail = NEEDS_CODE.to_owned();
                return reply(to, Answer::NeedsCode { challenge, detail });
            }
            (Some(keys), Some(code)) => match self.parts.stop_codes.admit(code, keys, now) {
                Ok(holder) => stop_codes::leave_of(&holder, reason),
                Err(refusal) => {
                    tracing::warn!(why = %crate::chain(&refusal), "stop refused");
                    if let Some(what) = refusal.report() {
                        self.parts.recorder.record(guess(what));
                    }
                    return refuse(to, crate::chain(&refusal));
                }
            },
        };
        if removes {
            self.undo(leave, to);
        } else {
            self.end_with(AgentAct::Stopped, leave, End::ByLeave);
            done(
                to,
                "the agent stops; what it did to the host stays in force".to_owned(),
            );
        }
    }

    /// Lets everybody go on, back to the network and be reached again; [`Self::undone`] follows.
    fn undo(&mut self, reason: String, to: oneshot::Sender<Answer>) {
        let (stopper, blocker) = (self.parts.stopper.clone(), self.parts.blocker.clone());
        let undone = self.undoing.clone();
        tokio::spawn(async move {
            let left = undo_all(&stopper, &blocker, &reason).await;
            // The engine is gone only when the daemon ends.
            drop(undone.send(Undone { left, reason, to }).await);
        });
    }

    pub(super) fn undone(&mut self, undone: Undone) {
        let Undone { left, reason, to } = undone;
        if !self.parts.isolation.is_open() {
            // Isolated meanwhile: the agent has to stay for its way back.
            return refuse(to, ISOLATED.to_owned());
        }
        let mut detail = "the agent stops, and nothing that it did is in force".to_owned();
        let mut said = reason;
        if !left.is_empty() {
            let left = left.join("; ");
            detail = format!("the agent stops; not undone: {left}");
            said = format!("{said}; not undone: {left}");
        }
        self.end_with(AgentAct::Removed, said, End::ByLeave);
        done(to, detail);
    }

    fn end_with(&mut self, act: AgentAct, reason: String, end: End) {
        tracing::info!(?act, %reason, "the agent ends");
        let policy_version = self.parts.policy.version();
        self.parts.recorder.record(RecordBody::Agent(AgentReport {
            act,
            reason,
            policy_version,
        }));
        self.ending = Some(end);
    }
}

/// How a wrong code is recorded.
pub(crate) fn guess(what: String) -> RecordBody {
    RecordBody::Tamper(TamperReport {
        what,
        repaired: true,
        micros: 0,
        by: None,
    })
}

fn refuse(to: oneshot::Sender<Answer>, detail: String) {
    reply(to, Answer::Failed { detail });
}

fn done(to: oneshot::Sender<Answer>, detail: String) {
    let isolation = None;
    reply(to, Answer::Done { detail, isolation });
}

/// What could not be undone.
async fn undo_all(stopper: &Stopper, blocker: &Blocker, reason: &str) -> Vec<String> {
    let mut left = Vec::new();
    left.extend(refused(|to| stopper.thaw(reason.to_owned(), to)).await);
    left.extend(refused(|to| stopper.rejoin(reason.to_owned(), to)).await);
    for block in blocker.in_force(Timestamp::now()) {
        let unblock = |to| blocker.unblock(block.address, reason.to_owned(), to);
        left.extend(refused(unblock).await);
    }
    left
}

/// Why it was not done, if it was not.
async fn refused(ask: impl FnOnce(oneshot::Sender<Answer>)) -> Option<String> {
    let (to, answer) = oneshot::channel();
    ask(to);
    match answer.await {
        Ok(Answer::Failed { detail }) => Some(detail),
        Ok(_) => None,
        Err(_) => Some("the thread that does it is gone".to_owned()),
    }
}
