//! What is proposed to people, and how that ends.
//!
//! ```text
//! waiting ── yes, or its time is over and the rule says act ──> carrying ──> ended
//!    `────── no, or its time is over, or the host was opened ──────────────────^
//! ```
//! `carrying` is on disk before anything is done, so that a start finishes what a killed agent began.

use cordon_proto::id::{OrderId, ProposalId};
use cordon_proto::policy::{AfterTime, Approve, BlockRemote, Mode, Policy, Stop};
use cordon_proto::record::{ApprovalOutcome, Steps};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::decision::{Standing, Subject, is_capped, is_protected, milder_steps};
use crate::place::Place;

/// A line that was cut without a word is taken for one that stands for up to 20 seconds. So long, and a little longer,
/// a proposal that nobody answered is kept where the other rule would act.
pub const LINE_DOUBT: SignedDuration = SignedDuration::from_secs(25);

/// A moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// The one on the wall, which people and attackers set.
    pub wall: Timestamp,
    /// `CLOCK_BOOTTIME`, nanoseconds: nobody sets it, it goes on in suspend, and it begins anew with a boot.
    pub boot_ns: u64,
}

impl Clocks {
    /// So much later on both.
    #[must_use]
    pub fn after(self, time: SignedDuration) -> Self {
        let ns = u64::try_from(time.as_nanos()).unwrap_or_default();
        Self {
            wall: self.wall.checked_add(time).unwrap_or(Timestamp::MAX),
            boot_ns: self.boot_ns.saturating_add(ns),
        }
    }

    fn first_is_over(self, now: Self) -> bool {
        now.wall >= self.wall || now.boot_ns >= self.boot_ns
    }

    fn both_are_over(self, now: Self) -> bool {
        now.wall >= self.wall && now.boot_ns >= self.boot_ns
    }
}

/// How long it waits, and what happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// When its time is over.
    pub until: Clocks,
    /// The rule with the controller there.
    pub unanswered: AfterTime,
    /// The rule with the controller out of reach.
    pub offline: AfterTime,
}

impl Terms {
    /// As a policy says it.
    pub fn new(approve: Approve, now: Clocks) -> Self {
        Self {
            until: now.after(seconds(approve.seconds)),
            unanswered: approve.unanswered,
            offline: approve.offline,
        }
    }

    /// After a restart in another boot, whose clock says nothing about the one of before: what is left by the wall, at
    /// most all of `lasts`.
    pub fn rearm(&mut self, lasts: SignedDuration, now: Clocks) {
        let left = self.until.wall.duration_since(now.wall);
        let left = left.clamp(SignedDuration::ZERO, lasts.max(SignedDuration::ZERO));
        self.until.boot_ns = now.after(left).boot_ns;
    }
}

/// A time that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOver {
    /// [`ApprovalOutcome::Unanswered`] or [`ApprovalOutcome::Offline`].
    pub outcome: ApprovalOutcome,
    /// What happens.
    pub rule: AfterTime,
}

/// Whether the controller can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// There is a session.
    Up,
    /// There is none.
    Down,
    /// The agent has only just begun to look.
    Unknown,
}

/// Whether a proposal's time is over, and what follows. `None`: it waits on.
///
/// The rule acts only where both policies say so, the one that it was proposed under and the one in force: people were
/// told the former, and whoever pushed the latter means it. The clocks are read so that the host stands open for the
/// shorter time: what acts goes by the one that is there first, what ends goes by the one that is there last.
pub fn time_over(terms: &Terms, in_force: Approve, line: Line, now: Clocks) -> Option<TimeOver> {
    let unanswered = terms.unanswered.min(in_force.unanswered);
    let offline = terms.offline.min(in_force.offline);
    let (outcome, rule) = match line {
        Line::Up => (ApprovalOutcome::Unanswered, unanswered),
        Line::Down => (ApprovalOutcome::Offline, offline),
        // What both say needs no line.
        Line::Unknown if unanswered == offline => (ApprovalOutcome::Offline, offline),
        Line::Unknown => return None,
    };
    let is_over = match rule {
        AfterTime::Act => terms.until.first_is_over(now),
        AfterTime::Nothing => {
            let in_doubt = line == Line::Up && offline == AfterTime::Act;
            let doubt = if in_doubt {
                LINE_DOUBT
            } else {
                SignedDuration::ZERO
            };
            terms.until.after(doubt).both_are_over(now)
        }
    };
    is_over.then_some(TimeOver { outcome, rule })
}

/// Whether what is proposed already has in it all that is to be proposed now.
pub fn covers(proposed: Steps, wanted: Steps) -> bool {
    let seconds = |steps: Steps| steps.block.map_or(0, |block| block.seconds);
    proposed.isolate >= wanted.isolate
        && proposed.stop >= wanted.stop
        // Who is killed calls nobody.
        && (proposed.cut_off >= wanted.cut_off || proposed.stop == Stop::Kill)
        && seconds(proposed) >= seconds(wanted)
}

/// What of a proposal may be carried out under the policy in force, for one judged process. The caps and the protected
/// lists of now count, and so does the mode: only those that act, or propose to, are left. Never more than was proposed.
pub fn allowed(
    proposed: Steps,
    subject: &Subject,
    policy: Option<&Policy>,
    standing: &Standing,
) -> Result<Steps, String> {
    let policy = policy.ok_or("no policy is in force")?;
    if !matches!(policy.mode, Mode::Approve | Mode::Autonomous) {
        return Err(format!(
            "the policy in force (version {}) neither acts nor proposes",
            policy.version
        ));
    }
    if is_protected(subject, policy) {
        return Err("the executable is on the policy's protected list".to_owned());
    }
    let milder = milder_steps(subject, policy);
    Ok(Steps {
        // The caps are on isolations that are begun: one that is in force goes on.
        isolate: proposed.isolate
            && (standing.isolated
                || !is_capped(policy, standing) && !has_no_place(policy, standing)),
        stop: proposed.stop.min(milder.stop),
        cut_off: proposed.cut_off && policy.cut_off,
        block: proposed
            .block
            .zip(milder.block)
            .map(|(then, now)| BlockRemote {
                seconds: then.seconds.min(now.seconds),
            }),
    })
}

/// What a person says yes to needs no place: the controller is asked only before an isolation without one.
fn has_no_place(policy: &Policy, standing: &Standing) -> bool {
    policy.caps.hosts_at_once.is_some() && matches!(standing.place, Place::Refused(_))
}

/// How a proposal ended, or is about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// How.
    pub outcome: ApprovalOutcome,
    /// The rule about a time that is over, where that is how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<AfterTime>,
    /// When, host's wall clock.
    pub at: Timestamp,
    /// The order that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// Account that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    pub reason: String,
}

/// Where a proposal stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "ending", rename_all = "snake_case")]
pub enum State {
    /// For a yes or a no.
    Waiting,
    /// It is being carried out.
    Carrying(Ending),
    /// Nothing follows.
    Ended(Ending),
}

/// Why a proposal takes no answer. The text goes into the order's receipt.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Never made here, or long ago, or its file was lost.
    #[error(
        "this host has no proposal {0}: it never made it, or forgot it; `cordonctl approvals` lists what waits"
    )]
    Unknown(ProposalId),
    /// Somebody was faster.
    #[error("proposal {id} was answered before: {what} at {at}{}", by.as_ref().map_or_else(String::new, |by| format!(" by {by}")))]
    Answered {
        /// Which.
        id: ProposalId,
        /// `approved` or `refused`.
        what: &'static str,
        /// When.
        at: Timestamp,
        /// Account.
        by: Option<String>,
    },
    /// Nobody was fast enough.
    #[error("the time of proposal {id} was over at {at}: {what}")]
    TimeOver {
        /// Which.
        id: ProposalId,
        /// When.
        at: Timestamp,
        /// What came of it.
        what: &'static str,
    },
    /// It is pointless.
    #[error("proposal {id} ended at {at}: the host was opened, which decided about it")]
    Withdrawn {
        /// Which.
        id: ProposalId,
        /// When.
        at: Timestamp,
    },
}

/// Whether a proposal takes an answer.
pub fn may_answer(id: ProposalId, state: &State) -> Result<(), NoAnswer> {
    let (State::Carrying(ending) | State::Ended(ending)) = state else {
        return Ok(());
    };
    let (at, by) = (ending.at, ending.by.clone());
    let answered = |what| NoAnswer::Answered { id, what, at, by };
    Err(match ending.outcome {
        ApprovalOutcome::Approved => answered("approved"),
        ApprovalOutcome::Refused => answered("refused"),
        ApprovalOutcome::Unanswered | ApprovalOutcome::Offline => {
            let what = match ending.rule {
                Some(AfterTime::Act) => "it was carried out",
                Some(AfterTime::Nothing) | None => "nothing was done",
            };
            NoAnswer::TimeOver { id, at, what }
        }
        ApprovalOutcome::Withdrawn => NoAnswer::Withdrawn { id, at },
    })
}

fn seconds(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}
