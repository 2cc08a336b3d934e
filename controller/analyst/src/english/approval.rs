//! What is proposed and how that ended, in English.

use cordon_proto::policy::{AfterTime, BlockRemote, Stop};
use cordon_proto::record::{ApprovalOutcome, Proposal, Steps};

use super::time;
use crate::evidence::Answered;

pub(super) fn how_it_ended(answered: &Answered) -> String {
    let by = answered
        .by
        .as_ref()
        .map_or_else(String::new, |by| format!(" by {by}"));
    let how = match answered.outcome {
        ApprovalOutcome::Approved => "the proposal was approved",
        ApprovalOutcome::Refused => "the proposal was refused",
        ApprovalOutcome::Unanswered => "the proposal's time was over without an answer",
        ApprovalOutcome::Offline => "the proposal's time was over with the controller out of reach",
        ApprovalOutcome::Withdrawn => "the proposal was withdrawn",
    };
    let done = match proposed(answered.steps).as_str() {
        "" => "nothing is done".to_owned(),
        steps => format!("begins to {steps}"),
    };
    let (reason, version) = (&answered.reason, answered.policy_version);
    format!("{how}{by}, under policy version {version}; {done}; reason: {reason}")
}

/// What is proposed, in the words of an order.
fn proposed(steps: Steps) -> String {
    let mut said = Vec::new();
    if steps.isolate {
        said.push("isolate the host".to_owned());
    }
    match steps.stop {
        Stop::None => {}
        Stop::Freeze => said.push("freeze the processes".to_owned()),
        Stop::Kill => said.push("kill the processes".to_owned()),
    }
    if steps.cut_off {
        said.push("cut the processes off the network".to_owned());
    }
    if let Some(BlockRemote { seconds }) = steps.block {
        said.push(format!("block their remote ends for {seconds} s"));
    }
    said.join(", ")
}

pub(super) fn what_is_asked(proposal: &Proposal) -> String {
    let (id, until) = (proposal.id, time(proposal.expires_at));
    let done = |rule| match rule {
        AfterTime::Nothing => "nothing is done",
        AfterTime::Act => "it is done",
    };
    let (unanswered, offline) = (done(proposal.unanswered), done(proposal.offline));
    let steps = proposed(proposal.steps);
    format!(
        "Answer before {until}: the host proposes to {steps}. Without an answer {unanswered}, or {offline} if the host \
         cannot reach the controller then. Approve or refuse it in the console, or by `cordonctl approve {id}` and \
         `cordonctl refuse {id} --reason TEXT`."
    )
}
