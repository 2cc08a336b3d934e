//! Incidents, worded when they are read, and what people say of them.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use cordon_store::{IncidentQuery, NewAnalystVerdict, StoreError};
use jiff::Timestamp;

use super::AppState;
use super::body::Body;
use super::dto::{self, AnalystVerdictRequest, AnalystVerdictView};
use super::gate::Caller;
use super::problem::Problem;
use crate::incidents;

const MOST: u32 = 200;
const MAX_REASON_CHARS: usize = 1_000;

/// The newest incidents.
#[utoipa::path(operation_id = "list_incidents", get, path = "/api/v1/incidents", responses((status = 200, body = [dto::IncidentRow])))]
pub async fn list(State(app): State<AppState>) -> Result<Json<Vec<dto::IncidentRow>>, Problem> {
    let query = IncidentQuery {
        limit: MOST,
        ..IncidentQuery::default()
    };
    let found = app.store.incidents(&query).await;
    let found = found.map_err(|error| Problem::internal("reading incidents", &error))?;
    Ok(Json(found.iter().map(incidents::row).collect()))
}

/// One incident with its evidence.
#[utoipa::path(operation_id = "read_incident", get, path = "/api/v1/incidents/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = dto::Incident),
    (status = 404, description = "no such incident"),
))]
pub async fn one(
    State(app): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<dto::Incident>, Problem> {
    let unknown = || Problem::not_found("incident");
    let id = id.parse().map_err(|_| unknown())?;
    let found = app.store.incident(id).await;
    let found = found.map_err(|error| Problem::internal("reading the incident", &error))?;
    let incident = found.ok_or_else(unknown)?;
    Ok(Json(incidents::whole(incident)))
}

/// Says what an incident, or one detection of it, was. Status and severity stay as they are; what was said before is
/// kept.
#[utoipa::path(operation_id = "judge_incident", post, path = "/api/v1/incidents/{id}/verdict", params(("id" = String, Path)), request_body = AnalystVerdictRequest,
    responses(
        (status = 201, body = AnalystVerdictView),
        (status = 404, description = "no such incident, or no such detection in it"),
        (status = 422, description = "no reason"),
    ))]
pub async fn judge(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(wanted): Body<AnalystVerdictRequest>,
) -> Result<(StatusCode, Json<AnalystVerdictView>), Problem> {
    let unknown = || Problem::not_found("incident");
    let incident = id.parse().map_err(|_| unknown())?;
    let reason = wanted.reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON_CHARS {
        return Err(Problem::refused(format!(
            "say why, in at most {MAX_REASON_CHARS} characters: whoever learns from it later has only that"
        )));
    }
    let new = NewAnalystVerdict {
        incident,
        detection: wanted.detection,
        through: wanted.through,
        label: wanted.label,
        reason: reason.to_owned(),
        analyst: caller.name,
    };
    let found = app.store.incident(incident).await;
    let found = found.map_err(|error| Problem::internal("reading the incident", &error))?;
    found.ok_or_else(unknown)?;
    app.audit(&new.analyst, "incident.verdict", &target(&new))
        .await?;
    let said = app.store.add_analyst_verdict(&new, Timestamp::now()).await;
    let said = said.map_err(|error| match error {
        StoreError::Unknown { what, .. } => Problem::not_found(what),
        error => Problem::internal("keeping what was said of the incident", &error),
    })?;
    Ok((StatusCode::CREATED, Json(AnalystVerdictView::from(said))))
}

fn target(said: &NewAnalystVerdict) -> String {
    let detection = said.detection;
    let detection = detection.map_or_else(String::new, |key| format!(", detection {key}"));
    let label = said.label.name();
    format!("{}{detection}: {label}: {}", said.incident, said.reason)
}
