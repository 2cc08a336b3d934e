//! A database with a host, and records for it.

#![expect(
    dead_code,
    reason = "compiled into each test program, and none needs all of it"
)]

use cordon_proto::envelope::{Envelope, sign};
use cordon_proto::id::{HostId, IsolationId, OrderId};
use cordon_proto::order::{Order, OrderState, Receipt, Verb};
use cordon_store::{
    CertificateFacts, EventQuery, Host, Incident, IncidentQuery, IncomingRecord, NewHost,
    NewJoinToken, Reading, SecretHash, Store,
};
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const BOOT: &str = "00000000-0000-4000-8000-000000000001";

pub struct Db {
    pub store: Store,
    pub dir: TempDir,
}

/// Seconds after a fixed moment.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub fn after(now: Timestamp, seconds: i64) -> Timestamp {
    now + SignedDuration::from_secs(seconds)
}

pub async fn database() -> Db {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("cordon.db")).await.unwrap();
    Db { store, dir }
}

pub async fn token(store: &Store, secret: &str, uses: u32) -> SecretHash {
    let hash = SecretHash::of(secret);
    let new = NewJoinToken {
        hash,
        group: "servers".into(),
        uses,
        expires_at: at(3600),
        created_by: "admin".into(),
    };
    store.add_join_token(&new, at(0)).await.unwrap();
    hash
}

pub fn new_host(name: &str) -> NewHost {
    let id = HostId::generate();
    NewHost {
        id,
        name: name.into(),
        machine_id: "0123".into(),
        public_key: [7; 32],
        certificate: CertificateFacts {
            serial: id.to_string(),
            not_after: at(1_000_000),
        },
    }
}

pub async fn host(store: &Store, name: &str) -> Host {
    let token = token(store, name, 1).await;
    store.enroll(&token, &new_host(name), at(0)).await.unwrap()
}

pub fn record(sequence: u64, seconds: i64, kind: &str, body: &Value) -> IncomingRecord {
    let json = json!({ "at": at(seconds), "kind": kind, "body": body });
    let json = serde_json::to_vec(&json).unwrap();
    let record = serde_json::from_slice(&json).unwrap();
    IncomingRecord {
        sequence,
        json,
        reading: Reading::Record(Box::new(record)),
    }
}

pub fn detection(sequence: u64, seconds: i64, tree: &str) -> IncomingRecord {
    let verdict = json!({
        "id": "a1", "score": 0.97, "verdict": "malicious", "techniques": ["T1059.004"],
        "reasons": [], "stage": "model", "model": "behavior-1@0", "micros": 10,
    });
    let body = json!({
        "tree": tree, "pid": 42, "story": { "id": "a1", "command": "id" }, "verdict": verdict,
        "policy_version": 1, "decision": "isolate", "decision_reason": "", "event_mono_ns": 1,
    });
    record(sequence, seconds, "detection", &body)
}

pub fn isolation(
    sequence: u64,
    seconds: i64,
    id: IsolationId,
    state: &str,
    tree: Option<&str>,
) -> IncomingRecord {
    let body = json!({
        "id": id, "state": state, "reason": "", "tree": tree, "probes": [], "policy_version": 1,
    });
    record(sequence, seconds, "isolation", &body)
}

pub fn stop(sequence: u64, seconds: i64, act: &str, tree: Option<&str>) -> IncomingRecord {
    let mut body = json!({
        "act": act, "reason": "", "processes": [], "count": 0, "proved": true, "policy_version": 1,
    });
    if let Some(tree) = tree {
        body["tree"] = tree.into();
    }
    record(sequence, seconds, "stop", &body)
}

pub fn garbage(sequence: u64) -> IncomingRecord {
    IncomingRecord {
        sequence,
        json: vec![0xff, b'{', 0],
        reading: Reading::Unreadable {
            why: "not JSON".into(),
        },
    }
}

pub fn all() -> EventQuery {
    EventQuery {
        limit: 1000,
        ..EventQuery::default()
    }
}

pub async fn incidents(store: &Store) -> Vec<Incident> {
    let query = IncidentQuery {
        limit: 1000,
        ..IncidentQuery::default()
    };
    store.incidents(&query).await.unwrap()
}

pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

/// Queues an order that expires at second 600.
pub async fn order(store: &Store, host: HostId) -> OrderId {
    queue(store, host, None).await
}

/// The same, to undo another.
pub async fn undoing(store: &Store, host: HostId, other: OrderId) -> OrderId {
    queue(store, host, Some(other)).await
}

async fn queue(store: &Store, host: HostId, undoes: Option<OrderId>) -> OrderId {
    let order = Order {
        id: OrderId::generate(),
        host,
        verb: Verb::Release,
        reason: "all clear".into(),
        requested_by: "admin".into(),
        issued_at: at(0),
        expires_at: at(600),
        undoes,
    };
    store
        .add_order(&order, &sign(&order, &key()))
        .await
        .unwrap();
    order.id
}

pub fn receipt(
    sequence: u64,
    seconds: i64,
    host: HostId,
    order: OrderId,
    state: OrderState,
) -> IncomingRecord {
    let receipt = Receipt {
        order,
        host,
        state,
        at: at(seconds),
        detail: format!("{state:?}"),
        isolation: None,
    };
    let envelope: Envelope = sign(&receipt, &key());
    IncomingRecord {
        sequence,
        json: envelope.to_json(),
        reading: Reading::Receipt {
            at: at(seconds),
            receipt,
            envelope,
        },
    }
}
