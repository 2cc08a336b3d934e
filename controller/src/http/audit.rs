//! The audit trail.

use axum::extract::State;
use axum::{Extension, Json};
use cordon_store::AuditEntry;
use serde::Deserialize;
use utoipa::IntoParams;

use super::AppState;
use super::body::Parameters;
use super::dto::AuditView;
use super::gate::Caller;
use super::problem::Problem;

const DEFAULT_LIMIT: u32 = 100;

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditParameters {
    /// At most this many; 100 unless said, 1000 at most.
    limit: Option<u32>,
    /// Only entries before this number.
    before: Option<u64>,
}

/// What was done, newest first. Reading it is an entry, too.
#[utoipa::path(operation_id = "list_audit", get, path = "/api/v1/audit", params(AuditParameters), responses((status = 200, body = [AuditView])))]
pub async fn list(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Parameters(wanted): Parameters<AuditParameters>,
) -> Result<Json<Vec<AuditView>>, Problem> {
    app.audit(&caller.name, "audit.read", "").await?;
    let limit = wanted.limit.unwrap_or(DEFAULT_LIMIT);
    let entries = app.store.audit(limit, wanted.before).await;
    let entries = entries.map_err(|error| Problem::internal("reading the audit trail", &error))?;
    Ok(Json(entries.into_iter().map(AuditView::from).collect()))
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            sequence: entry.sequence,
            at: entry.at,
            who: entry.who,
            what: entry.what,
            target: entry.target,
            previous: hex::encode(entry.previous),
            hash: hex::encode(entry.hash),
        }
    }
}
