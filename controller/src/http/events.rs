//! What hosts reported.

use axum::Json;
use axum::extract::State;
use cordon_proto::id::HostId;
use cordon_store::{EventQuery, EventRow};
use serde::Deserialize;
use utoipa::IntoParams;

use super::AppState;
use super::body::Parameters;
use super::dto::{Event, HostName};
use super::problem::Problem;

const DEFAULT_LIMIT: u32 = 100;

/// Which events.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventParameters {
    /// Only of this host.
    #[param(value_type = Option<String>)]
    host: Option<HostId>,
    /// At most this many; 100 unless said, 1000 at most.
    limit: Option<u32>,
    /// Only events older than this `key`.
    before: Option<i64>,
}

/// Events, newest first.
#[utoipa::path(operation_id = "list_events", get, path = "/api/v1/events", params(EventParameters), responses((status = 200, body = [Event])))]
pub async fn list(
    State(app): State<AppState>,
    Parameters(wanted): Parameters<EventParameters>,
) -> Result<Json<Vec<Event>>, Problem> {
    let query = EventQuery {
        host: wanted.host,
        limit: wanted.limit.unwrap_or(DEFAULT_LIMIT),
        before: wanted.before,
    };
    let events = app.store.events(&query).await;
    let events = events.map_err(|error| Problem::internal("reading events", &error))?;
    Ok(Json(events.into_iter().map(Event::from).collect()))
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            key: row.key,
            host: HostName::from(row.host),
            boot_id: row.boot_id,
            sequence: row.sequence,
            at: row.at,
            received_at: row.received_at,
            kind: row.kind,
            body: row.body,
            note: row.note,
        }
    }
}
