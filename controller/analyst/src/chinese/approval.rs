//! What is proposed and how that ended, in Simplified Chinese.

use cordon_proto::policy::{AfterTime, BlockRemote, Stop};
use cordon_proto::record::{ApprovalOutcome, Proposal, Steps};

use super::time;
use crate::evidence::Answered;

pub(super) fn how_it_ended(answered: &Answered) -> String {
    let how = match answered.outcome {
        ApprovalOutcome::Approved => "处置建议已批准",
        ApprovalOutcome::Refused => "处置建议已拒绝",
        ApprovalOutcome::Unanswered => "处置建议超时未答复",
        ApprovalOutcome::Offline => "处置建议超时，且控制器无法连通",
        ApprovalOutcome::Withdrawn => "处置建议已撤回",
    };
    let by = answered
        .by
        .as_ref()
        .map_or_else(String::new, |by| format!("（{by}）"));
    let done = match proposed(answered.steps).as_str() {
        "" => "未采取措施".to_owned(),
        steps => format!("开始{steps}"),
    };
    let (reason, version) = (&answered.reason, answered.policy_version);
    format!("{how}{by}，依据策略版本 {version}；{done}；原因：{reason}")
}

/// What is proposed, in the words of an order.
fn proposed(steps: Steps) -> String {
    let mut said = Vec::new();
    if steps.isolate {
        said.push("隔离主机".to_owned());
    }
    match steps.stop {
        Stop::None => {}
        Stop::Freeze => said.push("冻结相关进程".to_owned()),
        Stop::Kill => said.push("终止相关进程".to_owned()),
    }
    if steps.cut_off {
        said.push("切断相关进程的网络".to_owned());
    }
    if let Some(BlockRemote { seconds }) = steps.block {
        said.push(format!("封锁其远端地址 {seconds} 秒"));
    }
    said.join("、")
}

pub(super) fn what_is_asked(proposal: &Proposal) -> String {
    let (id, until) = (proposal.id, time(proposal.expires_at));
    let done = |rule| match rule {
        AfterTime::Nothing => "不采取措施",
        AfterTime::Act => "照此执行",
    };
    let (unanswered, offline) = (done(proposal.unanswered), done(proposal.offline));
    let steps = proposed(proposal.steps);
    format!(
        "请在 {until} 之前答复：主机建议{steps}。逾期未答复则{unanswered}；届时若主机无法连通控制器，则{offline}。\
         可在控制台批准或拒绝，或执行 `cordonctl approve {id}`、`cordonctl refuse {id} --reason 理由`。"
    )
}
