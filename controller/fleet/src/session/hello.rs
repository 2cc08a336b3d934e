//! The first message of a session.

use std::time::Duration;

use cordon_proto::PROTOCOL_VERSION;
use cordon_proto::pb::agent_message::Body;
use cordon_proto::pb::{AgentMessage, Hello};
use cordon_store::HelloFacts;
use jiff::Timestamp;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::{Status, Streaming};

use super::{End, Replies, Session};
use crate::failure::status;
use crate::live::LiveHost;
use crate::peer::Peer;
use crate::{Fleet, bounds};

const HELLO_LIMIT: Duration = Duration::from_secs(15);
const SHA256_HEX: usize = 64;

/// A hello that makes sense.
pub(super) struct Checked {
    pub boot_id: String,
    pub facts: HelloFacts,
    isolation_json: String,
}

/// Waits for the hello and checks it.
pub(super) async fn receive(inbound: &mut Streaming<AgentMessage>) -> Result<Checked, End> {
    let first = timeout(HELLO_LIMIT, inbound.next()).await;
    let refused = |text: &str| End::Refused(Status::invalid_argument(text));
    match first {
        Err(_) => Err(End::Refused(Status::deadline_exceeded(
            "no hello within 15 seconds",
        ))),
        Ok(None) => Err(End::Left),
        Ok(Some(Err(status))) => Err(super::left_or_refused(status)),
        Ok(Some(Ok(message))) => match message.body {
            Some(Body::Hello(hello)) => check(hello).map_err(End::Refused),
            _ => Err(refused("a session begins with a hello")),
        },
    }
}

fn check(hello: Hello) -> Result<Checked, Status> {
    if hello.protocol != PROTOCOL_VERSION {
        return Err(Status::failed_precondition(format!(
            "the agent speaks protocol {}, this controller {PROTOCOL_VERSION}; update the older of them",
            hello.protocol
        )));
    }
    if !bounds::is_boot_id(&hello.boot_id) {
        return Err(Status::invalid_argument("the boot id is not a UUID"));
    }
    if hello.policy_sha256.len() > SHA256_HEX || i64::try_from(hello.policy_version).is_err() {
        return Err(Status::invalid_argument(
            "no policy has such a version or hash",
        ));
    }
    Ok(Checked {
        facts: HelloFacts {
            name: bounds::text(&hello.hostname),
            addresses: bounds::addresses(&hello.addresses),
            agent_version: bounds::text(&hello.agent_version),
            kernel: bounds::text(&hello.kernel),
            os: bounds::text(&hello.os),
            sensor_mode: bounds::text(&hello.sensor_mode),
            model: bounds::text(&hello.model),
            policy_version: hello.policy_version,
            policy_sha256: bounds::text(&hello.policy_sha256),
        },
        boot_id: hello.boot_id,
        isolation_json: hello.isolation_json,
    })
}

impl<'a> Session<'a> {
    /// Enters the session, on the disk and in memory.
    pub(super) async fn begin(
        fleet: &'a Fleet,
        peer: Peer,
        hello: &Checked,
        replies: &'a Replies,
    ) -> Result<Self, End> {
        let now = Timestamp::now();
        let host = peer.host.id;
        let noted = fleet.store().note_hello(host, &hello.facts, now).await;
        noted.map_err(|e| End::Refused(status(&e)))?;
        let (place, superseded) = fleet.0.live.enter(host, live_facts(&peer, hello, now));
        let session = Self {
            fleet,
            host,
            group: peer.host.group.clone(),
            address: peer.address,
            receipt_keys: peer.receipt_keys(),
            place,
            replies,
        };
        tracing::info!(%host, name = hello.facts.name, address = ?peer.address, "session began");
        if let Some(other) = superseded {
            session.flag_double(hello, &other).await;
        }
        Ok(session)
    }

    /// Two sessions with one identity: a line that broke unnoticed, or a copied host. Both ends are
    /// named, so that a person can tell.
    async fn flag_double(&self, hello: &Checked, other: &LiveHost) {
        let from = |address: Option<std::net::SocketAddr>| {
            address.map_or("an unknown address".to_owned(), |address| {
                address.to_string()
            })
        };
        let target = format!(
            "host {}: session from {} in boot {} ended, one from {} in boot {} goes on",
            self.host,
            from(other.peer),
            other.boot_id,
            from(self.address),
            hello.boot_id,
        );
        tracing::warn!(host = %self.host, %target, "two sessions with one identity");
        self.fleet
            .audit(&format!("host {}", self.host), "session.double", &target)
            .await;
    }
}

fn live_facts(peer: &Peer, hello: &Checked, now: Timestamp) -> LiveHost {
    LiveHost {
        online: true,
        connected_at: now,
        last_heard_at: now,
        heartbeat: None,
        peer: peer.address,
        boot_id: hello.boot_id.clone(),
        isolation_at_hello: serde_json::from_str(&hello.isolation_json).ok(),
    }
}
