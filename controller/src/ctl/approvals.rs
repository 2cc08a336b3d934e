//! What hosts propose, and the answers.

use cordon_proto::id::{HostId, ProposalId};
use cordon_proto::policy::{AfterTime, BlockRemote, Stop};
use cordon_proto::record::Steps;
use serde_json::json;

use super::args::{AnswerArgs, ApproveArgs};
use super::client::{Client, read};
use super::hosts::find;
use super::orders::{send_to, state_name};
use super::show::{Table, time};
use super::{Answer, CtlError};
use crate::http::dto::Approval;

const PATH: &str = "/approvals";

pub(super) async fn list(client: &Client<'_>) -> Result<Answer, CtlError> {
    let json = client.get(PATH).await?;
    let waiting: Vec<Approval> = read(PATH, &json)?;
    let mut table = Table::new(
        &[
            "UNTIL",
            "HOST",
            "PROPOSES TO",
            "WHY",
            "UNANSWERED",
            "OFFLINE",
            "ANSWER",
            "ID",
        ],
        "nothing waits for an answer",
    );
    for one in &waiting {
        let proposal = &one.proposal;
        let why = format!("{} judged malicious, score {:.2}", one.exe, one.score);
        table.row(&[
            &time(proposal.expires_at),
            &one.host.name,
            &in_words(proposal.steps),
            &why,
            rule_name(proposal.unanswered),
            rule_name(proposal.offline),
            &answer_of(one),
            &proposal.id.to_string(),
        ]);
    }
    Ok(Answer {
        text: table.render(),
        json,
    })
}

pub(super) async fn approve(client: &Client<'_>, yes: &ApproveArgs) -> Result<Answer, CtlError> {
    send(client, "approve", &yes.reason, &yes.answer).await
}

pub(super) async fn refuse(
    client: &Client<'_>,
    reason: &str,
    answer: &AnswerArgs,
) -> Result<Answer, CtlError> {
    send(client, "refuse", reason, answer).await
}

async fn send(
    client: &Client<'_>,
    verb: &str,
    reason: &str,
    answer: &AnswerArgs,
) -> Result<Answer, CtlError> {
    let host = if let Some(host) = &answer.host {
        find(client, host).await?.id
    } else {
        let json = client.get(PATH).await?;
        pick(&read::<Vec<Approval>>(PATH, &json)?, answer.id)?
    };
    let body = json!({ "proposal": answer.id, "reason": reason });
    let limit = answer.wait.then_some(answer.wait_limit);
    send_to(client, host, verb, &body, limit).await
}

/// Whose proposal it is. A host says what it likes: two that say the same are told apart by a person.
fn pick(waiting: &[Approval], id: ProposalId) -> Result<HostId, CtlError> {
    let mut hosts = waiting.iter().filter(|one| one.proposal.id == id);
    match (hosts.next(), hosts.next()) {
        (Some(one), None) => Ok(one.host.id),
        (None, _) => Err(CtlError::Host(format!(
            "no proposal {id} waits for an answer; `cordonctl approvals` lists those that do"
        ))),
        (Some(_), Some(_)) => Err(CtlError::Host(format!(
            "several hosts report proposal {id}; give --host"
        ))),
    }
}

fn answer_of(one: &Approval) -> String {
    one.answer.as_ref().map_or_else(String::new, |answer| {
        let state = state_name(answer.state);
        format!("{} by {}: {state}", answer.verb, answer.requested_by)
    })
}

fn rule_name(rule: AfterTime) -> &'static str {
    match rule {
        AfterTime::Nothing => "nothing",
        AfterTime::Act => "act",
    }
}

fn in_words(steps: Steps) -> String {
    let mut said = Vec::new();
    if steps.isolate {
        said.push("isolate".to_owned());
    }
    match steps.stop {
        Stop::None => {}
        Stop::Freeze => said.push("freeze".to_owned()),
        Stop::Kill => said.push("kill".to_owned()),
    }
    if steps.cut_off {
        said.push("cut off".to_owned());
    }
    if let Some(BlockRemote { seconds }) = steps.block {
        said.push(format!("block for {seconds} s"));
    }
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(host: HostId, id: ProposalId) -> Approval {
        serde_json::from_value(json!({
            "host": {"id": host, "name": "web"}, "incident": "01890000-0000-7000-8000-000000000009",
            "id": id, "steps": {"isolate": true, "stop": "kill", "cut_off": false, "block": {"seconds": 60}},
            "made_at": "2026-11-01T00:00:00Z", "expires_at": "2026-11-01T00:10:00Z",
            "unanswered": "nothing", "offline": "act", "exe": "/usr/bin/perl", "score": 0.9,
            "reason": "malicious", "answer": null,
        }))
        .unwrap()
    }

    #[test]
    fn a_proposal_is_its_hosts_and_never_guessed() {
        let (host, id) = (HostId::generate(), ProposalId::generate());
        let one = waiting(host, id);
        assert_eq!(
            in_words(one.proposal.steps),
            "isolate, kill, block for 60 s"
        );
        let other = waiting(HostId::generate(), ProposalId::generate());
        assert_eq!(pick(&[other, one], id).unwrap(), host);
        let missing = pick(&[], id).unwrap_err().to_string();
        assert!(missing.contains("waits for an answer"), "{missing}");
        let twice = [waiting(host, id), waiting(HostId::generate(), id)];
        let ambiguous = pick(&twice, id).unwrap_err().to_string();
        assert!(ambiguous.contains("--host"), "{ambiguous}");
    }
}
