//! Orders about processes, remote ends and files, and orders that undo others.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use cordon_proto::order::Verb;

use super::AppState;
use super::body::Body;
use super::dto::{self, Step, StepRequest, UndoRequest};
use super::gate::Caller;
use super::orders::{order, refused};
use super::problem::Problem;

/// Orders a host to do something to a process tree, a remote end or a file.
#[utoipa::path(operation_id = "order_step", post, path = "/api/v1/hosts/{id}/orders", params(("id" = String, Path)), request_body = StepRequest,
    responses(
        (status = 201, body = dto::Order),
        (status = 404, description = "no such host"),
        (status = 409, description = "the host was evicted, or its policy does not let this controller order it"),
        (status = 422, description = "no reason, or an order that no host would carry out"),
    ))]
pub async fn create(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(host): Path<String>,
    Body(wanted): Body<StepRequest>,
) -> Result<(StatusCode, Json<dto::Order>), Problem> {
    order(&app, caller, &host, wanted.step.into(), wanted.reason).await
}

/// Orders the host to undo what an order had it do.
#[utoipa::path(operation_id = "undo_order", post, path = "/api/v1/orders/{id}/undo", params(("id" = String, Path)), request_body = UndoRequest,
    responses(
        (status = 201, body = dto::Order),
        (status = 404, description = "no such order"),
        (status = 409, description = "nothing undoes it, it was not done, it is being undone, or the policy does not let this controller order that"),
        (status = 422, description = "no reason"),
    ))]
pub async fn undo(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(wanted): Body<UndoRequest>,
) -> Result<(StatusCode, Json<dto::Order>), Problem> {
    if wanted.reason.trim().is_empty() {
        return Err(Problem::refused("say why: the reason goes into the order"));
    }
    let id = id.parse().map_err(|_| Problem::not_found("order"))?;
    let undone = app.fleet.undo_order(id, wanted.reason, caller.name).await;
    let order = undone.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(dto::Order::from(order))))
}

impl From<Step> for Verb {
    fn from(step: Step) -> Self {
        match step {
            Step::KillTree { process } => Self::KillTree { process },
            Step::FreezeTree { process } => Self::FreezeTree { process },
            Step::ThawTree { process } => Self::ThawTree { process },
            Step::CutOff { process } => Self::CutOff { process },
            Step::Rejoin { process } => Self::Rejoin { process },
            Step::BlockRemote { address, seconds } => Self::BlockRemote { address, seconds },
            Step::UnblockRemote { address } => Self::UnblockRemote { address },
            Step::QuarantineFile { path, sha256 } => Self::QuarantineFile { path, sha256 },
            Step::RestoreFile { held } => Self::RestoreFile { held },
        }
    }
}
