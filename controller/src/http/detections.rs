//! Detections of the whole fleet, with their stories: what rules and exceptions are tried on, and what people labelled.

use axum::Json;
use axum::extract::State;
use cordon_proto::id::{HostId, IncidentId};
use cordon_store::DetectionQuery;
use serde::Deserialize;
use utoipa::IntoParams;

use super::AppState;
use super::body::Parameters;
use super::dto::{self, AnalystVerdictView, DetectionView, HostName};
use super::problem::Problem;

const DEFAULT_LIMIT: u32 = 100;

/// Which detections.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DetectionParameters {
    /// Only of this host.
    #[param(value_type = Option<String>)]
    host: Option<HostId>,
    /// Only of this incident.
    #[param(value_type = Option<String>)]
    incident: Option<IncidentId>,
    /// Only those of which a person said what they are.
    #[serde(default)]
    labelled: bool,
    /// At most this many; 100 unless said, 1000 at most, and fewer where stories are long.
    limit: Option<u32>,
    /// Only those older than this `key`.
    before: Option<i64>,
}

/// Detections, newest first. A page without any is the last.
#[utoipa::path(operation_id = "list_detections", get, path = "/api/v1/detections", params(DetectionParameters), responses((status = 200, body = [dto::StoredDetection])))]
pub async fn list(
    State(app): State<AppState>,
    Parameters(wanted): Parameters<DetectionParameters>,
) -> Result<Json<Vec<dto::StoredDetection>>, Problem> {
    let query = DetectionQuery {
        host: wanted.host,
        incident: wanted.incident,
        labelled: wanted.labelled,
        limit: wanted.limit.unwrap_or(DEFAULT_LIMIT),
        before: wanted.before,
    };
    let found = app.store.detections(&query).await;
    let found = found.map_err(|error| Problem::internal("reading detections", &error))?;
    let views = found.into_iter().map(dto::StoredDetection::from);
    Ok(Json(views.collect()))
}

impl From<cordon_store::StoredDetection> for dto::StoredDetection {
    fn from(row: cordon_store::StoredDetection) -> Self {
        Self {
            host: HostName::from(row.host),
            group: row.group,
            incident: row.incident,
            received_at: row.received_at,
            seen: DetectionView {
                key: row.key,
                at: row.at,
                detection: row.detection,
                analyst_verdict: row.analyst_verdict.map(AnalystVerdictView::from),
            },
        }
    }
}
