//! Hosts: what the database keeps of them, and what their sessions say now.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use cordon_fleet::LiveHost;
use cordon_proto::id::HostId;
use cordon_proto::order::OrderState;
use cordon_proto::pb;
use cordon_store::{Host, PeerOrder};
use jiff::Timestamp;

use super::AppState;
use super::body::Body;
use super::dto::{self, HostName, ReleaseRequest};
use super::gate::Caller;
use super::problem::Problem;

const MAX_REASON_CHARS: usize = 1_000;
const NO_CHALLENGE: &str = "this host did not report a release challenge: it is open, it was cut off before it could say, or its \
     policy names no release_keys; `cordon-agent status` on the host shows the challenge, if there is one";

/// All hosts that were not evicted, by name.
#[utoipa::path(operation_id = "list_hosts", get, path = "/api/v1/hosts", responses((status = 200, body = [dto::Host])))]
pub async fn list(State(app): State<AppState>) -> Result<Json<Vec<dto::Host>>, Problem> {
    let hosts = app.store.hosts().await;
    let hosts = hosts.map_err(|error| Problem::internal("reading hosts", &error))?;
    let present = hosts.into_iter().filter(|host| host.evicted_at.is_none());
    let mut peers = peers(&app).await?;
    let views = present.map(|host| {
        let live = app.fleet.live(host.id);
        let peers = peers.remove(&host.id);
        view(host, live, peers)
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
    let peers = peers(&app).await?.remove(&id);
    Ok(Json(view(host, app.fleet.live(id), peers)))
}

/// Of each host that others were told to block, how far that got; not of those whose time is over.
async fn peers(app: &AppState) -> Result<BTreeMap<HostId, dto::Peers>, Problem> {
    let now = Timestamp::now();
    let orders = app.store.peer_orders(now).await;
    let orders =
        orders.map_err(|error| Problem::internal("reading orders about isolated hosts", &error))?;
    let mut peers: BTreeMap<HostId, dto::Peers> = BTreeMap::new();
    let in_force = |order: &&PeerOrder| order.until().is_some_and(|until| until > now);
    for order in orders.iter().filter(in_force) {
        let of = peers.entry(order.peer).or_default();
        of.told += 1;
        of.blocking += u32::from(order.state == OrderState::Done);
    }
    Ok(peers)
}

/// What opens an isolated host that lost its line to this controller. That it was taken is in the audit trail, for
/// the answer is made where this controller sees nothing.
#[utoipa::path(operation_id = "take_release_challenge", post, path = "/api/v1/hosts/{id}/release-challenge", params(("id" = String, Path)), request_body = ReleaseRequest,
    responses(
        (status = 200, body = dto::ReleaseChallenge),
        (status = 404, description = "no such host"),
        (status = 409, description = "the host did not report a challenge"),
        (status = 422, description = "no reason"),
    ))]
pub async fn release_challenge(
    State(app): State<AppState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(wanted): Body<ReleaseRequest>,
) -> Result<Json<dto::ReleaseChallenge>, Problem> {
    let reason = wanted.reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON_CHARS {
        return Err(Problem::refused(format!(
            "say why, in at most {MAX_REASON_CHARS} characters: the reason goes into the audit trail"
        )));
    }
    let Json(host) = one(State(app.clone()), Path(id)).await?;
    let isolation = host
        .isolation
        .and_then(|report| Some((report.id, report.release?)));
    let (isolation, release) = isolation.ok_or_else(|| Problem::conflict(NO_CHALLENGE))?;
    let target = format!(
        "{} ({}), isolation {isolation}: {reason}",
        host.name, host.id
    );
    app.audit(&caller.name, "release_challenge.take", &target)
        .await?;
    Ok(Json(dto::ReleaseChallenge {
        host: HostName {
            id: host.id,
            name: host.name,
        },
        isolation,
        challenge: release.challenge,
        expires_at: release.expires_at,
    }))
}

fn view(host: Host, live: Option<LiveHost>, peers: Option<dto::Peers>) -> dto::Host {
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
        peers,
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
