//! Signed policies. The controller checks and hands on; it cannot make one.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use cordon_fleet::PushError;
use cordon_store::{PolicyRow, StoreError};
use jiff::Timestamp;

use super::AppState;
use super::body::Raw;
use super::dto::PolicyView;
use super::gate::Caller;
use super::problem::{Problem, chain};

/// The newest policy of each group.
#[utoipa::path(operation_id = "list_policies", get, path = "/api/v1/policies", responses((status = 200, body = [PolicyView])))]
pub async fn list(State(app): State<AppState>) -> Result<Json<Vec<PolicyView>>, Problem> {
    let policies = app.store.policies().await;
    let mut policies = policies.map_err(|error| Problem::internal("reading policies", &error))?;
    // They come by group, the newest first.
    policies.dedup_by(|older, newer| older.policy.group == newer.policy.group);
    let mut views = Vec::with_capacity(policies.len());
    for row in policies {
        views.push(view(&app, row).await?);
    }
    Ok(Json(views))
}

/// Takes a signed policy, a DSSE envelope in JSON, as the newest of its group.
#[utoipa::path(operation_id = "push_policy", post, path = "/api/v1/policies", request_body = Object, responses(
    (status = 201, body = PolicyView),
    (status = 409, description = "not newer than the group's newest"),
    (status = 413, description = "larger than 1 MiB"),
    (status = 422, description = "wrong signature, another site, or not a policy"),
))]
pub async fn push(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Raw(envelope): Raw,
) -> Result<(StatusCode, Json<PolicyView>), Problem> {
    let pushed = app.fleet.push_policy(&envelope, &caller.name).await;
    let row = pushed.map_err(|error| refused(&error))?;
    Ok((StatusCode::CREATED, Json(view(&app, row).await?)))
}

fn refused(error: &PushError) -> Problem {
    match error {
        PushError::Envelope(_) | PushError::Policy(_) => Problem::refused(chain(error)),
        PushError::Store(StoreError::NotNewer { .. }) => Problem::conflict(chain(error)),
        PushError::Store(_) => Problem::internal("keeping the policy", error),
    }
}

/// Places are counted only where the policy caps them.
async fn view(app: &AppState, row: PolicyRow) -> Result<PolicyView, Problem> {
    let mut places_taken = None;
    if row.policy.caps.hosts_at_once.is_some() {
        let places = app.store.places(&row.policy.group, Timestamp::now()).await;
        let places =
            places.map_err(|error| Problem::internal("counting isolated hosts", &error))?;
        places_taken = u32::try_from(places.taken.len()).ok();
    }
    Ok(PolicyView {
        group: row.policy.group.clone(),
        version: row.policy.version,
        sha256: row.sha256,
        pushed_at: row.pushed_at,
        pushed_by: row.pushed_by,
        places_taken,
        policy: row.policy,
    })
}
