//! What hosts proposed, and the answers.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use cordon_proto::id::ProposalId;
use cordon_proto::order::Verb;
use cordon_store::{OrderQuery, OrderRow, ProposalRow};
use jiff::{SignedDuration, Timestamp};

use super::AppState;
use super::body::Body;
use super::dto::{self, AnswerRequest, HostName};
use super::gate::Caller;
use super::orders::order;
use super::problem::Problem;

/// Of a host that does not say how a proposal ended, it is listed for so long after its time.
const LINGERS: SignedDuration = SignedDuration::from_hours(24);
/// Answers are looked for among so many orders.
const MOST_ORDERS: u32 = 1000;

/// What waits for an answer, the most urgent first.
#[utoipa::path(operation_id = "list_approvals", get, path = "/api/v1/approvals", responses((status = 200, body = [dto::Approval])))]
pub async fn list(State(app): State<AppState>) -> Result<Json<Vec<dto::Approval>>, Problem> {
    let now = Timestamp::now();
    let since = now.saturating_sub(LINGERS).unwrap_or(Timestamp::MIN);
    let waiting = app.store.waiting_proposals(since).await;
    let waiting = waiting.map_err(|error| Problem::internal("reading proposals", &error))?;
    if waiting.is_empty() {
        return Ok(Json(Vec::new()));
    }
    let query = OrderQuery {
        limit: MOST_ORDERS,
        ..OrderQuery::default()
    };
    let orders = app.store.orders(&query).await;
    let orders = orders.map_err(|error| Problem::internal("reading orders", &error))?;
    let views = waiting.into_iter().map(|row| view(row, &orders));
    Ok(Json(views.collect()))
}

/// Orders a host to carry out what it proposed.
#[utoipa::path(operation_id = "approve_proposal", post, path = "/api/v1/hosts/{id}/approve", params(("id" = String, Path)), request_body = AnswerRequest,
    responses(
        (status = 201, body = dto::Order),
        (status = 404, description = "no such host"),
        (status = 409, description = "the host was evicted, or its policy does not let this controller order it"),
    ))]
pub async fn approve(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(host): Path<String>,
    Body(wanted): Body<AnswerRequest>,
) -> Result<(StatusCode, Json<dto::Order>), Problem> {
    let verb = Verb::Approve {
        proposal: wanted.proposal,
    };
    let reason = match wanted.reason.trim() {
        "" => "approved".to_owned(),
        _ => wanted.reason,
    };
    order(&app, caller, &host, verb, reason).await
}

/// Orders a host not to do what it proposed.
#[utoipa::path(operation_id = "refuse_proposal", post, path = "/api/v1/hosts/{id}/refuse", params(("id" = String, Path)), request_body = AnswerRequest,
    responses(
        (status = 201, body = dto::Order),
        (status = 404, description = "no such host"),
        (status = 409, description = "the host was evicted, or its policy does not let this controller order it"),
        (status = 422, description = "no reason"),
    ))]
pub async fn refuse(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(host): Path<String>,
    Body(wanted): Body<AnswerRequest>,
) -> Result<(StatusCode, Json<dto::Order>), Problem> {
    let verb = Verb::Refuse {
        proposal: wanted.proposal,
    };
    order(&app, caller, &host, verb, wanted.reason).await
}

fn view(row: ProposalRow, orders: &[OrderRow]) -> dto::Approval {
    let ProposalRow {
        host,
        incident,
        proposal,
        detection,
    } = row;
    let answers = |order: &&OrderRow| {
        order.host.id == host.id && proposal_of(&order.verb) == Some(proposal.id)
    };
    // Newest first.
    let answer = orders.iter().find(answers).map(|order| dto::Answer {
        order: order.id,
        verb: order.verb.name().to_owned(),
        requested_by: order.requested_by.clone(),
        state: order.state,
    });
    let process = detection.story.process;
    dto::Approval {
        host: HostName::from(host),
        incident,
        proposal,
        exe: process.map_or_else(String::new, |process| process.exe),
        score: detection.verdict.score,
        reason: detection.decision_reason,
        answer,
    }
}

fn proposal_of(verb: &Verb) -> Option<ProposalId> {
    match verb {
        Verb::Approve { proposal } | Verb::Refuse { proposal } => Some(*proposal),
        _ => None,
    }
}
