//! Orders to hosts. The fleet signs them, within what the group's policy allows.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use cordon_fleet::{ORDER_LIFETIME, OrderError, OrderRequest, undo_of};
use cordon_proto::order::Verb;
use cordon_store::{OrderQuery, OrderRow, OrderStep, Undo};

use super::AppState;
use super::body::Body;
use super::dto::{self, HostName, IsolateRequest, ReleaseRequest};
use super::gate::Caller;
use super::problem::Problem;

const MOST: u32 = 200;
/// A host that stays cut off for longer has an owner who should say so again.
const LONGEST_LEASE_SECONDS: u64 = 30 * 24 * 3_600;

/// Orders a host to cut itself off.
#[utoipa::path(operation_id = "isolate_host", post, path = "/api/v1/hosts/{id}/isolate", params(("id" = String, Path)), request_body = IsolateRequest,
    responses(
        (status = 201, body = dto::Order),
        (status = 404, description = "no such host"),
        (status = 409, description = "the host was evicted, its policy does not let this controller order it, or as many hosts of its group are isolated as the policy lets be at one time"),
        (status = 422, description = "no reason, or a lease that is too long"),
    ))]
pub async fn isolate(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(host): Path<String>,
    Body(wanted): Body<IsolateRequest>,
) -> Result<(StatusCode, Json<dto::Order>), Problem> {
    if wanted.lease_seconds > LONGEST_LEASE_SECONDS {
        return Err(Problem::refused("a lease has at most 30 days"));
    }
    let verb = Verb::Isolate {
        lease_seconds: wanted.lease_seconds,
    };
    let request = request(caller, &host, verb, wanted.reason)?;
    let order = if wanted.beyond_cap {
        app.fleet.create_order_beyond_cap(request).await
    } else {
        app.fleet.create_order(request).await
    };
    created(order)
}

/// Orders a host to open itself again.
#[utoipa::path(operation_id = "release_host", post, path = "/api/v1/hosts/{id}/release", params(("id" = String, Path)), request_body = ReleaseRequest,
    responses(
        (status = 201, body = dto::Order),
        (status = 404, description = "no such host"),
        (status = 409, description = "the host was evicted, or its policy does not let this controller order it"),
        (status = 422, description = "no reason"),
    ))]
pub async fn release(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(host): Path<String>,
    Body(wanted): Body<ReleaseRequest>,
) -> Result<(StatusCode, Json<dto::Order>), Problem> {
    order(&app, caller, &host, Verb::Release, wanted.reason).await
}

pub(super) async fn order(
    app: &AppState,
    caller: Caller,
    host: &str,
    verb: Verb,
    reason: String,
) -> Result<(StatusCode, Json<dto::Order>), Problem> {
    let request = request(caller, host, verb, reason)?;
    created(app.fleet.create_order(request).await)
}

fn request(
    caller: Caller,
    host: &str,
    verb: Verb,
    reason: String,
) -> Result<OrderRequest, Problem> {
    if reason.trim().is_empty() {
        return Err(Problem::refused("say why: the reason goes into the order"));
    }
    Ok(OrderRequest {
        host: host.parse().map_err(|_| Problem::not_found("host"))?,
        verb,
        reason,
        requested_by: caller.name,
        lifetime: ORDER_LIFETIME,
        undoes: None,
    })
}

fn created(order: Result<OrderRow, OrderError>) -> Result<(StatusCode, Json<dto::Order>), Problem> {
    let order = order.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(dto::Order::from(order))))
}

pub(super) fn refused(error: OrderError) -> Problem {
    match error {
        OrderError::UnknownHost(_) => Problem::not_found("host"),
        OrderError::UnknownOrder(_) => Problem::not_found("order"),
        OrderError::Evicted(_)
        | OrderError::NotAllowed { .. }
        | OrderError::NoPlace { .. }
        | OrderError::NotUndoable { .. } => Problem::conflict(error.to_string()),
        OrderError::LongReason(_) | OrderError::Lifetime | OrderError::Form(_) => {
            Problem::refused(error.to_string())
        }
        OrderError::Store(error) => Problem::internal("queueing the order", &error),
    }
}

/// The newest orders.
#[utoipa::path(operation_id = "list_orders", get, path = "/api/v1/orders", responses((status = 200, body = [dto::Order])))]
pub async fn list(State(app): State<AppState>) -> Result<Json<Vec<dto::Order>>, Problem> {
    let query = OrderQuery {
        limit: MOST,
        ..OrderQuery::default()
    };
    let orders = app.store.orders(&query).await;
    let orders = orders.map_err(|error| Problem::internal("reading orders", &error))?;
    Ok(Json(orders.into_iter().map(dto::Order::from).collect()))
}

/// One order and its life.
#[utoipa::path(operation_id = "read_order", get, path = "/api/v1/orders/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = dto::Order),
    (status = 404, description = "no such order"),
))]
pub async fn one(
    State(app): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<dto::Order>, Problem> {
    let unknown = || Problem::not_found("order");
    let id = id.parse().map_err(|_| unknown())?;
    let order = app.store.order(id).await;
    let order = order.map_err(|error| Problem::internal("reading the order", &error))?;
    Ok(Json(dto::Order::from(order.ok_or_else(unknown)?)))
}

impl From<OrderRow> for dto::Order {
    fn from(order: OrderRow) -> Self {
        Self {
            can_undo: undo_of(&order).is_ok(),
            undoes: order.undoes,
            undone_by: order.undo.map(dto::Undo::from),
            subject: order.verb.subject(),
            asks: serde_json::json!(order.verb),
            id: order.id,
            host: HostName::from(order.host),
            verb: order.verb.name().to_owned(),
            state: order.state,
            reason: order.reason,
            requested_by: order.requested_by,
            issued_at: order.issued_at,
            expires_at: order.expires_at,
            history: order
                .history
                .into_iter()
                .map(dto::OrderStep::from)
                .collect(),
        }
    }
}

impl From<Undo> for dto::Undo {
    fn from(undo: Undo) -> Self {
        Self {
            order: undo.id,
            state: undo.state,
        }
    }
}

impl From<OrderStep> for dto::OrderStep {
    fn from(step: OrderStep) -> Self {
        Self {
            state: step.state,
            at: step.at,
            detail: step.detail,
            signed: step.signed,
            moved: step.moved,
            receipt: step.receipt,
        }
    }
}
