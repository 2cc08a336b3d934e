//! Every detection of the fleet with its story, newest first: the history that rules and exceptions are tried on, and
//! the stories that people labelled.

use cordon_proto::id::{HostId, IncidentId};
use cordon_proto::record::{Detection, Record, RecordBody};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;

use crate::analyst_verdict::verdict_columns;
use crate::host::{HostRef, reference};
use crate::row::{Columns as _, page};
use crate::{AnalystVerdict, Result, Store, StoreError};

/// A page ends behind the detection with which it has this many bytes: stories are long, and a hostile host's are as
/// long as it can make them.
const MAX_PAGE_BYTES: usize = 4 << 20;
const ACT: &str = "read detections";

/// Which detections. Newest first.
#[derive(Clone, Debug, Default)]
pub struct DetectionQuery {
    /// Of one host only.
    pub host: Option<HostId>,
    /// Of one incident only.
    pub incident: Option<IncidentId>,
    /// Only those of which somebody said what they are.
    pub labelled: bool,
    /// At most so many, and at most [`crate::MAX_PAGE`]; fewer where they are large. A page without any is the last.
    pub limit: u32,
    /// Only those older than this [`StoredDetection::key`].
    pub before: Option<i64>,
}

/// One detection, wherever it was.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDetection {
    /// Grows with the order of arrival; names it.
    pub key: i64,
    /// Who reported it.
    pub host: HostRef,
    /// The host's group, as it is now.
    pub group: String,
    /// Its incident.
    pub incident: IncidentId,
    /// Host's wall clock.
    pub at: Timestamp,
    /// When the controller committed it.
    pub received_at: Timestamp,
    /// What was detected: the story as it was judged.
    pub detection: Detection,
    /// What a person says of it.
    pub analyst_verdict: Option<AnalystVerdict>,
}

impl Store {
    /// A page of detections.
    pub async fn detections(&self, query: &DetectionQuery) -> Result<Vec<StoredDetection>> {
        let mut rows = sqlx::query(concat!(
            "SELECT detections.event AS detection_key, received_at, json, host_group,
                    hosts.id AS host_id, hosts.name AS host_name, incidents.id AS incident_id, ",
            verdict_columns!(),
            " FROM detections
             JOIN events ON events.key = detections.event
             JOIN incidents ON incidents.key = detections.incident
             JOIN hosts ON hosts.key = incidents.host
             LEFT JOIN analyst_verdicts ON analyst_verdicts.key = (
                SELECT max(said.key) FROM analyst_verdicts AS said
                WHERE said.incident = detections.incident AND said.through >= detections.event
                  AND (said.detection IS NULL OR said.detection = detections.event))
             WHERE (?1 IS NULL OR hosts.id = ?1) AND (?2 IS NULL OR incidents.id = ?2)
               AND (?3 = 0 OR analyst_verdicts.key IS NOT NULL)
               AND (?4 IS NULL OR detections.event < ?4)
             ORDER BY detections.event DESC LIMIT ?5"
        ))
        .bind(query.host.map(|id| id.to_string()))
        .bind(query.incident.map(|id| id.to_string()))
        .bind(i64::from(query.labelled))
        .bind(query.before)
        .bind(page(query.limit))
        .fetch(self.readers());
        let mut found = Vec::new();
        let mut bytes = 0;
        while bytes < MAX_PAGE_BYTES
            && let Some(row) = rows.try_next().await.map_err(StoreError::on(ACT))?
        {
            bytes += row.column::<Vec<u8>>("json")?.len();
            found.extend(read(&row)?);
        }
        Ok(found)
    }
}

fn read(row: &SqliteRow) -> Result<Option<StoredDetection>> {
    let record: Record = row.json("json")?;
    let RecordBody::Detection(detection) = record.body else {
        return Ok(None);
    };
    Ok(Some(StoredDetection {
        key: row.column("detection_key")?,
        host: reference(row)?,
        group: row.column("host_group")?,
        incident: row.parsed("incident_id")?,
        at: record.at,
        received_at: row.time("received_at")?,
        detection: *detection,
        analyst_verdict: AnalystVerdict::read_any(row)?,
    }))
}
