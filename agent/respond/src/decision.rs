//! From a verdict to an action. Every action names the policy that allowed or held it back.

mod words;

use cordon_proto::policy::{BlockRemote, Mode, Policy, Stop, Thresholds};
use cordon_proto::record::Steps;
use cordon_proto::verdict::{Verdict, VerdictKind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::quiet::quiet_at;
use words::Said;

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
    /// Do what is proposed as soon as a person says yes.
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
    /// How many hosts of the group may be isolated at one time: before this one is, the controller is asked for a place
    /// among them, and [`decide`] again with its answer. Nothing else waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks_for_place: Option<u32>,
    /// What waits for a yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propose: Option<Steps>,
    /// Why, for records and people, in English.
    pub reason: String,
    /// The same in Simplified Chinese.
    pub reason_zh: String,
}

/// What the verdict is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Path of the judged process's image; empty when unknown.
    pub exe: String,
}

/// Where the host stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// An isolation is in force or under way.
    pub isolated: bool,
    /// Isolations that this agent started by itself in the last hour.
    pub isolations_last_hour: u32,
    /// What led to the verdict happened before the host was last opened: who opened it has decided about that.
    pub is_from_before_opening: bool,
    /// Whether people can be asked.
    pub asking: Asking,
    /// Whether it has a place among the isolated hosts of its group, where the policy caps them.
    pub place: Place,
}

/// Whether people can be asked about a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asking {
    /// They can.
    #[default]
    Possible,
    /// They were, and said no.
    Refused,
    /// As many proposals wait as are kept, or the disk takes none.
    Full,
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
    let Resolved {
        action,
        steps,
        propose,
        asks_for_place,
        why,
    } = match kind {
        VerdictKind::NotEvaluable => Resolved::told(Action::Record, words::not_evaluable()),
        VerdictKind::Benign => Resolved::told(Action::Record, words::benign()),
        VerdictKind::Suspicious => Resolved::told(Action::Alert, words::suspicious()),
        VerdictKind::Malicious => on_malicious(subject, policy, standing, now),
    };
    let Said { en, zh } = why.under(policy, now);
    Decision {
        action,
        stop: steps.stop,
        cut_off: steps.cut_off,
        block: steps.block,
        asks_for_place,
        propose,
        reason: en,
        reason_zh: zh,
    }
}

/// A decision that does not say yet under which policy.
struct Resolved {
    action: Action,
    /// What is done at once; that the host is isolated says the action.
    steps: Steps,
    propose: Option<Steps>,
    asks_for_place: Option<u32>,
    why: Said,
}

impl Resolved {
    fn told(action: Action, why: Said) -> Self {
        Self {
            action,
            steps: Steps::default(),
            propose: None,
            asks_for_place: None,
            why,
        }
    }
}

/// What is done short of an isolation, also in a host that is isolated, where an attack can go on within. The cap is on
/// isolations alone: a policy with a cap of 0 stops processes, blocks remote ends, and leaves the host open. So are
/// quiet hours: what hits nobody but the judged processes does not wait.
pub(crate) fn milder_steps(subject: &Subject, policy: &Policy) -> Steps {
    if is_protected(subject, policy) {
        return Steps::default();
    }
    Steps {
        isolate: false,
        stop: policy.stop,
        // The dead call nobody.
        cut_off: policy.cut_off && policy.stop != Stop::Kill,
        block: policy.block_remote,
    }
}

pub(crate) fn is_protected(subject: &Subject, policy: &Policy) -> bool {
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
    standing: &Standing,
    now: Timestamp,
) -> Resolved {
    let Some(policy) = policy else {
        return Resolved::told(Action::Alert, words::without_policy());
    };
    match policy.mode {
        Mode::Observe => Resolved::told(Action::Alert, words::observed()),
        Mode::Recommend => match held_back(subject, policy, standing) {
            Some((Action::Alert, why)) => Resolved::told(Action::Alert, why),
            _ => Resolved::told(Action::RecommendIsolate, words::recommended()),
        },
        Mode::Approve => propose(subject, policy, standing),
        Mode::Autonomous => act(subject, policy, standing, now),
    }
}

/// Why the host is not isolated by itself, and what is done instead.
fn held_back(subject: &Subject, policy: &Policy, standing: &Standing) -> Option<(Action, Said)> {
    if standing.isolated {
        return Some((Action::Alert, words::isolated_already()));
    }
    if standing.is_from_before_opening {
        return Some((Action::Alert, words::from_before_opening()));
    }
    if is_protected(subject, policy) {
        return Some((Action::RecommendIsolate, words::protected()));
    }
    is_capped(policy, standing).then(|| {
        let why = words::capped(standing, policy.caps.isolations_per_hour);
        (Action::RecommendIsolate, why)
    })
}

pub(crate) fn is_capped(policy: &Policy, standing: &Standing) -> bool {
    standing.isolations_last_hour >= policy.caps.isolations_per_hour
}

/// Mode autonomous.
fn act(subject: &Subject, policy: &Policy, standing: &Standing, now: Timestamp) -> Resolved {
    let may_ask = policy.approve.is_some();
    let resolved = if let Some((action, why)) = held_back(subject, policy, standing) {
        Resolved::told(action, why)
    } else if let Some(window) = quiet_at(&policy.caps.quiet_hours, now) {
        after_a_yes(may_ask, standing, words::quiet(window, may_ask))
    } else {
        isolate(policy, standing)
    };
    let steps = milder_steps(subject, policy);
    Resolved {
        steps,
        why: resolved.why.and(&words::done(steps)),
        ..resolved
    }
}

/// At once, unless as many hosts of the group are isolated as the policy lets be. A controller that cannot say how many
/// that are holds nothing up.
fn isolate(policy: &Policy, standing: &Standing) -> Resolved {
    let within_caps = Resolved::told(Action::Isolate, words::within_caps());
    let Some(cap) = policy.caps.hosts_at_once else {
        return within_caps;
    };
    match &standing.place {
        Place::NotAsked => Resolved {
            asks_for_place: Some(cap),
            ..Resolved::told(Action::Isolate, words::place_asked(cap))
        },
        Place::Granted => within_caps,
        Place::Unknown => Resolved::told(Action::Isolate, words::place_unknown(cap)),
        Place::Refused(taken) => {
            let may_ask = policy.approve.is_some();
            after_a_yes(may_ask, standing, words::no_place(taken, cap, may_ask))
        }
    }
}

/// The isolation waits for a yes where somebody can give one.
fn after_a_yes(may_ask: bool, standing: &Standing, why: Said) -> Resolved {
    if !may_ask {
        return Resolved::told(Action::RecommendIsolate, why);
    }
    let isolate = Steps {
        isolate: true,
        ..Steps::default()
    };
    ask(isolate, standing, why)
}

/// Mode approve: what mode autonomous would do waits for a yes, all of it.
fn propose(subject: &Subject, policy: &Policy, standing: &Standing) -> Resolved {
    let (isolate, action, why) = match held_back(subject, policy, standing) {
        None => (true, Action::AwaitApproval, words::malicious()),
        Some((action, why)) => (false, action, why),
    };
    let steps = Steps {
        isolate,
        ..milder_steps(subject, policy)
    };
    if steps.is_none() {
        return Resolved::told(action, why);
    }
    let waits = words::waits().and(&words::would_be_done(steps));
    ask(steps, standing, why.and(&waits))
}

fn ask(steps: Steps, standing: &Standing, why: Said) -> Resolved {
    match standing.asking {
        Asking::Possible => Resolved {
            propose: Some(steps),
            ..Resolved::told(Action::AwaitApproval, why)
        },
        Asking::Refused => Resolved::told(Action::Alert, words::refused()),
        Asking::Full => Resolved::told(Action::RecommendIsolate, words::full()),
    }
}
