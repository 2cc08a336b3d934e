//! Incidents, worded when they are read.

use axum::Json;
use axum::extract::{Path, State};
use cordon_store::IncidentQuery;

use super::AppState;
use super::dto;
use super::problem::Problem;
use crate::incidents;

const MOST: u32 = 200;

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
