//! Everything that hosts reported, as it came.

use cordon_proto::id::HostId;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;

use crate::host::{HostRef, reference};
use crate::row::{Columns as _, page};
use crate::{Result, Store, StoreError};

/// Which events. Newest first.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Of one host only.
    pub host: Option<HostId>,
    /// At most so many, and at most [`crate::MAX_PAGE`].
    pub limit: u32,
    /// Only events older than this [`EventRow::key`]: the last of the page before.
    pub before: Option<i64>,
}

/// One reported fact.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// Grows with the order of arrival; for paging.
    pub key: i64,
    /// Who reported it.
    pub host: HostRef,
    /// Boot in which it was.
    pub boot_id: String,
    /// Place in that boot.
    pub sequence: u64,
    /// Host's wall clock; the time of arrival when the record could not be read.
    pub at: Timestamp,
    /// When the controller committed it.
    pub received_at: Timestamp,
    /// Record kind, or `unreadable`.
    pub kind: String,
    /// The record's body; for an unreadable one `{"raw": ...}`. Endpoint text.
    pub body: Value,
    /// What the controller has to say about it, for example that a receipt's signature is bad.
    pub note: Option<String>,
}

/// Sequences that never came, between two that did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Boot in which they are missing.
    pub boot_id: String,
    /// First missing.
    pub first: u64,
    /// Last missing.
    pub last: u64,
}

/// Kind of a record that could not be read.
pub(crate) const UNREADABLE: &str = "unreadable";
/// More of an unreadable record is kept than shown.
const RAW_SHOWN: usize = 4096;

impl Store {
    /// A page of events.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<EventRow>> {
        let rows = sqlx::query(
            "SELECT events.key, hosts.id AS host_id, hosts.name AS host_name, boot_id, sequence, at,
                received_at, kind, json, note
             FROM events JOIN hosts ON hosts.key = events.host JOIN boots ON boots.key = events.boot
             WHERE (?1 IS NULL OR events.host = (SELECT key FROM hosts WHERE id = ?1))
               AND (?2 IS NULL OR events.key < ?2)
             ORDER BY events.key DESC LIMIT ?3",
        )
        .bind(query.host.map(|id| id.to_string()))
        .bind(query.before)
        .bind(page(query.limit))
        .fetch_all(self.readers())
        .await
        .map_err(StoreError::on("list events"))?;
        rows.iter().map(read).collect()
    }

    /// Where a host's record has holes: what was lost, or is still on its way.
    pub async fn gaps(&self, host: HostId) -> Result<Vec<Gap>> {
        let rows = sqlx::query(
            "SELECT boot_id, previous + 1 AS first, sequence - 1 AS last FROM (
                SELECT boot_id, sequence,
                    lag(sequence) OVER (PARTITION BY boot ORDER BY sequence) AS previous
                FROM events JOIN boots ON boots.key = events.boot
                WHERE events.host = (SELECT key FROM hosts WHERE id = ?))
             WHERE sequence > previous + 1 ORDER BY boot_id, first LIMIT 1000",
        )
        .bind(host.to_string())
        .fetch_all(self.readers())
        .await
        .map_err(StoreError::on("look for gaps"))?;
        let gap = |row: &SqliteRow| {
            Ok(Gap {
                boot_id: row.column("boot_id")?,
                first: row.count("first")?,
                last: row.count("last")?,
            })
        };
        rows.iter().map(gap).collect()
    }
}

fn read(row: &SqliteRow) -> Result<EventRow> {
    let kind: String = row.column("kind")?;
    let bytes: Vec<u8> = row.column("json")?;
    Ok(EventRow {
        key: row.column("key")?,
        host: reference(row)?,
        boot_id: row.column("boot_id")?,
        sequence: row.count("sequence")?,
        at: row.time("at")?,
        received_at: row.time("received_at")?,
        body: body(&kind, &bytes),
        kind,
        note: row.column("note")?,
    })
}

fn body(kind: &str, bytes: &[u8]) -> Value {
    let readable = (kind != UNREADABLE).then(|| serde_json::from_slice::<Value>(bytes).ok());
    match readable.flatten() {
        Some(mut record) => record["body"].take(),
        None => json!({ "raw": String::from_utf8_lossy(&bytes[..bytes.len().min(RAW_SHOWN)]) }),
    }
}
