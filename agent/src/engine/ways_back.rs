//! Opening this host without the controller: what it shows for that, and what it takes.

use cordon_proto::record::{RecordBody, TamperReport};
use cordon_respond::isolation::State;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::Engine;
use crate::local::{Answer, reply};
use crate::release_codes::{NEEDS_PERMIT, Permit, root_may_release};

impl Engine {
    /// Shows and reports what opens the isolation in force. Called when the rules are in: the drop does not wait.
    pub(super) fn keep_challenge(&mut self, now: Timestamp) {
        let Some(isolation) = self.isolation_id() else {
            return;
        };
        let policy = self.parts.policy.policy();
        let keys = policy.map(|policy| policy.release_keys.as_slice());
        if let Err(error) = self.parts.release_codes.keep(isolation, keys, now) {
            tracing::error!(error = %crate::chain(&error), "the release challenge is not on disk");
        }
        let challenge = self.parts.release_codes.challenge(isolation);
        if let Some(report) = self.parts.isolation.show(challenge) {
            let body = RecordBody::Isolation(Box::new(report));
            self.parts.recorder.record(body);
            self.publish();
        }
    }

    /// A challenge ends, and so may the keys that it is for.
    pub(super) fn renew_challenge(&mut self, now: Timestamp) {
        if matches!(self.parts.isolation.state(), State::Shut(_)) {
            self.keep_challenge(now);
        }
    }

    /// Nothing is left to be answered in an open host.
    pub(super) fn forget_challenge(&mut self) {
        if let Err(error) = self.parts.release_codes.forget() {
            tracing::warn!(error = %crate::chain(&error), "a release challenge that is over stays on disk");
        }
    }

    pub(super) fn release_by_root(
        &mut self,
        reason: &str,
        to: oneshot::Sender<Answer>,
        now: Timestamp,
    ) {
        if self.parts.isolation.is_open() || root_may_release(self.parts.policy.policy()) {
            self.release_locally(&format!("at the machine: {reason}"), to, now);
        } else {
            refuse(to, NEEDS_PERMIT.to_owned());
        }
    }

    pub(super) fn release_by_permit(
        &mut self,
        permit: &Permit,
        to: oneshot::Sender<Answer>,
        now: Timestamp,
    ) {
        let Some(isolation) = self.isolation_id() else {
            return refuse(to, "this host is not isolated".to_owned());
        };
        self.keep_challenge(now);
        match self.parts.release_codes.admit(isolation, permit, now) {
            Ok(reason) => self.release_locally(&reason, to, now),
            Err(refusal) => {
                tracing::warn!(why = %crate::chain(&refusal), "release refused");
                if let Some(what) = refusal.report() {
                    self.parts.recorder.record(RecordBody::Tamper(TamperReport {
                        what,
                        repaired: true,
                        micros: 0,
                        by: None,
                    }));
                }
                refuse(to, crate::chain(&refusal));
            }
        }
    }
}

fn refuse(to: oneshot::Sender<Answer>, detail: String) {
    reply(to, Answer::Failed { detail });
}
