//! Hosts: what the database keeps of them, and what their sessions say now.

use axum::Json;
use axum::extract::{Path, State};
use cordon_fleet::LiveHost;
use cordon_proto::pb;
use cordon_store::Host;

use super::AppState;
use super::dto;
use super::problem::Problem;

/// All hosts that were not evicted, by name.
#[utoipa::path(operation_id = "list_hosts", get, path = "/api/v1/hosts", responses((status = 200, body = [dto::Host])))]
pub async fn list(State(app): State<AppState>) -> Result<Json<Vec<dto::Host>>, Problem> {
    let hosts = app.store.hosts().await;
    let hosts = hosts.map_err(|error| Problem::internal("reading hosts", &error))?;
    let present = hosts.into_iter().filter(|host| host.evicted_at.is_none());
    let views = present.map(|host| {
        let live = app.fleet.live(host.id);
        view(host, live)
    });
    Ok(Json(views.collect()))
}

/// One host.
#[utoipa::path(operation_id = "read_host", get, path = "/api/v1/hosts/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = dto::Host),
    (status = 404, description = "no such host"),
))]
pub async fn one(
    State(app): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<dto::Host>, Problem> {
    let unknown = || Problem::not_found("host");
    let id = id.parse().map_err(|_| unknown())?;
    let host = app.store.host(id).await;
    let host = host.map_err(|error| Problem::internal("reading the host", &error))?;
    let host = host.ok_or_else(unknown)?;
    Ok(Json(view(host, app.fleet.live(id))))
}

fn view(host: Host, live: Option<LiveHost>) -> dto::Host {
    let heard = live.as_ref().map(|live| live.last_heard_at);
    let at_hello = live
        .as_ref()
        .and_then(|live| live.isolation_at_hello.clone());
    dto::Host {
        id: host.id,
        name: host.name,
        group: host.group,
        addresses: host.addresses,
        online: live.as_ref().is_some_and(|live| live.online),
        last_seen_at: heard.max(host.last_seen_at),
        agent_version: host.agent_version,
        kernel: host.kernel,
        os: host.os,
        sensor_mode: host.sensor_mode,
        model: host.model,
        policy_version: host.policy_version.filter(|version| *version > 0),
        // A host that was cut off before it ever reported says so when it connects.
        isolation: host.isolation.or(at_hello),
        heartbeat: live
            .and_then(|live| live.heartbeat)
            .map(dto::Heartbeat::from),
    }
}

impl From<pb::Heartbeat> for dto::Heartbeat {
    fn from(beat: pb::Heartbeat) -> Self {
        Self {
            rss_bytes: beat.rss_bytes,
            cpu_micros: beat.cpu_micros,
            events_seen: beat.events_seen,
            events_lost: beat.events_lost,
            spool_records: beat.spool_records,
            spool_bytes: beat.spool_bytes,
            isolated: beat.isolated,
        }
    }
}
