//! From a verdict to an action. Every action names the policy that allowed or held it back.

use cordon_proto::policy::{BlockRemote, Mode, Policy, Stop, Thresholds};
use cordon_proto::verdict::{Verdict, VerdictKind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What to do about a verdict, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Keep it; tell nobody.
    Record,
    /// Report it to the controller.
    Alert,
    /// Report it, and say that isolation would have been (or should be) the answer.
    RecommendIsolate,
    /// Isolate as soon as a person or the controller says yes.
    AwaitApproval,
    /// Isolate now.
    Isolate,
}

impl Action {
    /// The name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Alert => "alert",
            Self::RecommendIsolate => "recommend_isolate",
            Self::AwaitApproval => "await_approval",
            Self::Isolate => "isolate",
        }
    }
}

/// An action and why the policy leads to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// What to do first to the judged process and everything that descends from it.
    pub stop: Stop,
    /// Whether they are cut off the network.
    pub cut_off: bool,
    /// What to do about its remote ends; who they are says [`crate::block::choose`].
    pub block: Option<BlockRemote>,
    /// Why, for records and people.
    pub reason: String,
}

/// What the verdict is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Path of the judged process's image; empty when unknown.
    pub exe: String,
}

/// Where the host stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// An isolation is in force or under way.
    pub isolated: bool,
    /// Isolations that this agent started by itself in the last hour.
    pub isolations_last_hour: u32,
    /// What led to the verdict happened before the host was last opened: who opened it has decided about that.
    pub is_from_before_opening: bool,
}

/// What the policy makes of `verdict`.
///
/// Without a policy nothing is allowed but telling. An expired policy still protects: it is named
/// as stale in the reason and otherwise obeyed.
pub fn decide(
    verdict: &Verdict,
    subject: &Subject,
    policy: Option<&Policy>,
    standing: &Standing,
    now: Timestamp,
) -> Decision {
    let kind = effective_kind(verdict, policy.and_then(|p| p.thresholds));
    let (action, mut why) = match kind {
        VerdictKind::NotEvaluable => (
            Action::Record,
            "not evaluable: telemetry is missing, so nothing is concluded".to_owned(),
        ),
        VerdictKind::Benign => (Action::Record, "benign".to_owned()),
        VerdictKind::Suspicious => (
            Action::Alert,
            "suspicious: below the threshold for action".to_owned(),
        ),
        VerdictKind::Malicious => on_malicious(subject, policy, *standing),
    };
    let Steps {
        stop,
        cut_off,
        block,
    } = match (kind, policy) {
        (VerdictKind::Malicious, Some(policy)) => milder_steps(subject, policy),
        _ => Steps::default(),
    };
    why += match stop {
        Stop::None => "",
        Stop::Freeze => "; it and what descends from it are frozen",
        Stop::Kill => "; it and what descends from it are killed",
    };
    if cut_off {
        why += "; it and what descends from it are cut off the network";
    }
    if let Some(BlockRemote { seconds }) = block {
        why = format!("{why}; its remote ends are blocked for {seconds} s");
    }
    Decision {
        action,
        stop,
        cut_off,
        block,
        reason: with_policy(why, policy, now),
    }
}

/// Steps short of an isolation.
#[derive(Default)]
struct Steps {
    stop: Stop,
    cut_off: bool,
    block: Option<BlockRemote>,
}

/// Also in a host that is isolated, where an attack can go on within. The cap is on isolations alone: a policy with a
/// cap of 0 stops processes, blocks remote ends, and leaves the host open.
fn milder_steps(subject: &Subject, policy: &Policy) -> Steps {
    if policy.mode != Mode::Autonomous || is_protected(subject, policy) {
        return Steps::default();
    }
    Steps {
        stop: policy.stop,
        // The dead call nobody.
        cut_off: policy.cut_off && policy.stop != Stop::Kill,
        block: policy.block_remote,
    }
}

fn is_protected(subject: &Subject, policy: &Policy) -> bool {
    policy.protected_processes.contains(&subject.exe)
}

/// The verdict's own name, never milder or harsher than the policy's thresholds make its score.
///
/// The judge names verdicts with the thresholds it was given, which may have been those of an
/// older policy. A score that is not a number is no judgement at all.
fn effective_kind(verdict: &Verdict, thresholds: Option<Thresholds>) -> VerdictKind {
    if verdict.verdict == VerdictKind::NotEvaluable || !verdict.score.is_finite() {
        return VerdictKind::NotEvaluable;
    }
    match thresholds {
        None => verdict.verdict,
        Some(t) if verdict.score >= t.malicious => VerdictKind::Malicious,
        Some(t) if verdict.score >= t.suspicious => VerdictKind::Suspicious,
        Some(_) => VerdictKind::Benign,
    }
}

fn on_malicious(
    subject: &Subject,
    policy: Option<&Policy>,
    standing: Standing,
) -> (Action, String) {
    let Some(policy) = policy else {
        return (
            Action::Alert,
            "malicious, but no policy is in force: no automatic action is allowed".to_owned(),
        );
    };
    if policy.mode == Mode::Observe {
        return (Action::Alert, "malicious; mode observe never acts".into());
    }
    if standing.isolated {
        return (
            Action::Alert,
            "malicious; the host is already isolated".into(),
        );
    }
    if standing.is_from_before_opening {
        return (
            Action::Alert,
            "malicious, but from before the host was opened".into(),
        );
    }
    if policy.mode == Mode::Recommend {
        return (
            Action::RecommendIsolate,
            "malicious; mode recommend leaves the act to a person".into(),
        );
    }
    if is_protected(subject, policy) {
        return (
            Action::RecommendIsolate,
            "malicious, but the executable is on the policy's protected list".into(),
        );
    }
    let cap = policy.caps.isolations_per_hour;
    if standing.isolations_last_hour >= cap {
        return (
            Action::RecommendIsolate,
            format!(
                "malicious, but {} isolations in the last hour reach the cap of {cap}",
                standing.isolations_last_hour
            ),
        );
    }
    if policy.mode == Mode::Approve {
        return (
            Action::AwaitApproval,
            "malicious; mode approve waits for a yes".into(),
        );
    }
    (
        Action::Isolate,
        "malicious; mode autonomous, within the caps".into(),
    )
}

fn with_policy(why: String, policy: Option<&Policy>, now: Timestamp) -> String {
    match policy {
        None => why,
        Some(policy) if policy.expires_at <= now => format!(
            "{why} (policy version {}, stale since {})",
            policy.version, policy.expires_at
        ),
        Some(policy) => format!("{why} (policy version {})", policy.version),
    }
}
