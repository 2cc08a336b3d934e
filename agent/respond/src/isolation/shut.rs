//! The rules are in the kernel: proof, repair and lease of an isolation in force.

use cordon_proto::policy::WithoutProof;
use cordon_proto::record::{IsolationReport, IsolationState, Probe};
use jiff::Timestamp;

use super::intent::longest;
use super::report::bare_report;
use super::{Effect, Intent, Lease, Standing, later};
use crate::proof::{Evidence, Proof as Conclusion, weigh};

/// The rules are in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shut {
    /// What is in force.
    pub intent: Intent,
    /// Whether it is proved.
    pub standing: Standing,
    /// SHA-256 of the rules in force as the kernel lists them.
    pub rules_sha256: String,
    pub(super) event_to_drop_micros: Option<u64>,
    /// Of the last proof, good or bad, of these rules.
    pub(super) probes: Vec<Probe>,
    /// A failed proof rolls back only an isolation that was never proved or re-adopted: a controller
    /// that restarts while a host is isolated must not open the host.
    pub(super) settled: bool,
    pub(super) extending: Option<Lease>,
    pub(super) retry_at: Option<Timestamp>,
    /// What `retry_at` is about.
    pub(super) whole: bool,
}

impl Shut {
    pub(super) fn new(intent: Intent) -> Self {
        Self {
            intent,
            standing: Standing::Pending,
            rules_sha256: String::new(),
            event_to_drop_micros: None,
            probes: Vec::new(),
            settled: false,
            extending: None,
            retry_at: None,
            whole: false,
        }
    }

    pub(super) fn dropped(&mut self, rules: String, mono_ns: u64, now: Timestamp) -> Vec<Effect> {
        let first = self.rules_sha256.is_empty() && !self.settled;
        self.rules_sha256 = rules;
        self.standing = Standing::Pending;
        self.probes = Vec::new();
        self.whole = true;
        self.retry_at = Some(later(now));
        if first {
            self.event_to_drop_micros = self
                .intent
                .event_mono_ns
                .and_then(|event| mono_ns.checked_sub(event))
                .map(|ns| ns / 1000);
        }
        let reason = self.intent.reason.clone();
        vec![
            self.report(reason, Vec::new()),
            Effect::Probe(self.intent.clone()),
        ]
    }

    /// `Err`: roll back, and why.
    pub(super) fn probed(
        &mut self,
        evidence: Evidence,
        now: Timestamp,
    ) -> Result<Vec<Effect>, String> {
        // An answer to a question asked before the rules changed proves nothing about these.
        if !self.whole || self.rules_sha256.is_empty() {
            return Ok(Vec::new());
        }
        let conclusion = weigh(&evidence);
        let (next, reason) = match conclusion {
            Conclusion::Proved => (Standing::Proved, self.intent.reason.clone()),
            Conclusion::Failed(why) if self.rolls_back() => return Err(why),
            Conclusion::Failed(why) => (Standing::Unproven, why),
        };
        self.retry_at = (next == Standing::Unproven).then(|| later(now));
        self.settled |= next == Standing::Proved;
        let news = self.standing != next;
        self.standing = next;
        self.probes.clone_from(&evidence.probes);
        Ok(if news {
            vec![self.report(reason, evidence.probes)]
        } else {
            Vec::new()
        })
    }

    pub(super) fn rolls_back(&self) -> bool {
        !self.settled && self.intent.without_proof == WithoutProof::RollBack
    }

    pub(super) fn repair(&mut self) -> Vec<Effect> {
        self.standing = Standing::Pending;
        self.whole = false;
        self.retry_at = None;
        vec![Effect::Drop(self.intent.clone())]
    }

    pub(super) fn repair_failed(&mut self, why: String, now: Timestamp) -> Vec<Effect> {
        self.standing = Standing::Unproven;
        self.whole = false;
        self.retry_at = Some(later(now));
        vec![self.report(why, Vec::new())]
    }

    pub(super) fn retry(&mut self, now: Timestamp) -> Vec<Effect> {
        if self.retry_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.retry_at = Some(later(now));
        vec![if self.whole {
            Effect::Probe(self.intent.clone())
        } else {
            Effect::Drop(self.intent.clone())
        }]
    }

    /// One extension at a time, so that `Persisted` always speaks of the lease it wrote.
    pub(super) fn extend_to(&mut self, wanted: Option<Lease>) -> Option<Effect> {
        let wanted = wanted?;
        let longer = longest(self.intent.lease_expires_at, wanted);
        if self.extending.is_some() || longer == self.intent.lease_expires_at {
            return None;
        }
        self.extending = Some(longer);
        Some(Effect::Persist(Intent {
            lease_expires_at: longer,
            ..self.intent.clone()
        }))
    }

    /// The longer lease is on disk: from now on it holds, and everybody is told.
    pub(super) fn lengthened(&mut self) -> Vec<Effect> {
        let Some(lease) = self.extending.take() else {
            return Vec::new();
        };
        self.intent.lease_expires_at = lease;
        vec![self.report("lease lengthened".to_owned(), self.probes.clone())]
    }

    pub(super) fn report(&self, reason: String, probes: Vec<Probe>) -> Effect {
        let state = match self.standing {
            Standing::Pending => IsolationState::Applied,
            Standing::Proved => IsolationState::Confirmed,
            Standing::Unproven => IsolationState::Unproven,
        };
        Effect::Report(IsolationReport {
            rules_sha256: Some(self.rules_sha256.clone()).filter(|sha| !sha.is_empty()),
            probes,
            event_to_drop_micros: self.event_to_drop_micros,
            ..bare_report(&self.intent, state, reason)
        })
    }
}
