//! Incidents: one for each process tree with a detection, as plain facts.

use cordon_proto::id::{HostId, IncidentId};
use cordon_proto::record::{
    ApprovalReport, Detection, IsolationReport, Record, RecordBody, StopReport,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::analyst_verdict::{self, AnalystVerdict};
use crate::host::{HostRef, reference};
use crate::row::{Columns as _, page};
use crate::{Result, Store, StoreError};

/// Most detections, and most isolation reports, that one [`Incident`] carries: the worst detections
/// and the newest reports. The counts say how many there are.
pub const MAX_FACTS: u32 = 200;

/// Whether anybody still has to look at it. Nothing closes an incident but a person; a new
/// detection of its tree opens it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStatus {
    /// Not dealt with.
    Open,
    /// A person closed it.
    Closed,
}

/// Which incidents. Newest first.
#[derive(Clone, Debug, Default)]
pub struct IncidentQuery {
    /// Of one host only.
    pub host: Option<HostId>,
    /// At most so many, and at most [`crate::MAX_PAGE`].
    pub limit: u32,
    /// Only incidents older than this [`Incident::key`].
    pub before: Option<i64>,
}

/// One detection.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectionRow {
    /// Grows with the order of arrival; names it.
    pub key: i64,
    /// Host's wall clock.
    pub at: Timestamp,
    /// What was detected.
    pub detection: Detection,
}

/// One isolation report.
#[derive(Clone, Debug, PartialEq)]
pub struct IsolationRow {
    /// Host's wall clock.
    pub at: Timestamp,
    /// What was reported.
    pub report: IsolationReport,
}

/// What was done to processes.
#[derive(Clone, Debug, PartialEq)]
pub struct StopRow {
    /// Host's wall clock.
    pub at: Timestamp,
    /// What was reported.
    pub report: StopReport,
}

/// The end of a proposal.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovalRow {
    /// Host's wall clock.
    pub at: Timestamp,
    /// What was reported.
    pub report: ApprovalReport,
}

/// An incident and its facts.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Grows with the order of opening; for paging.
    pub key: i64,
    /// Its identity.
    pub id: IncidentId,
    /// Where.
    pub host: HostRef,
    /// The host's group.
    pub group: String,
    /// The process tree.
    pub tree: String,
    /// Whether it is dealt with.
    pub status: IncidentStatus,
    /// Host's wall clock of its first fact.
    pub opened_at: Timestamp,
    /// Host's wall clock of its last fact.
    pub updated_at: Timestamp,
    /// When the controller heard of it.
    pub made_at: Timestamp,
    /// In the order of arrival; at most [`MAX_FACTS`].
    pub detections: Vec<DetectionRow>,
    /// How many detections there are.
    pub detection_count: u64,
    /// In the order of arrival; at most [`MAX_FACTS`].
    pub isolations: Vec<IsolationRow>,
    /// How many isolation reports there are.
    pub isolation_count: u64,
    /// What was done to processes, in the order of arrival; the newest [`MAX_FACTS`].
    pub stops: Vec<StopRow>,
    /// How proposals ended, in the order of arrival; the newest [`MAX_FACTS`].
    pub approvals: Vec<ApprovalRow>,
    /// What people said of it and its detections, the newest first; at most [`MAX_FACTS`].
    pub analyst_verdicts: Vec<AnalystVerdict>,
    /// The host's newest isolation report, whichever incident it belongs to: it decides whether the
    /// host is open now.
    pub host_isolation: Option<IsolationRow>,
}

const ACT: &str = "read incidents";

impl Store {
    /// A page of incidents, with their facts.
    pub async fn incidents(&self, query: &IncidentQuery) -> Result<Vec<Incident>> {
        // One transaction: the counts are of the facts that are listed.
        let mut view = self.readers().begin().await.map_err(StoreError::on(ACT))?;
        let rows = sqlx::query(
            "SELECT incidents.*, hosts.id AS host_id, hosts.name AS host_name, host_group,
                    hosts.isolation AS host_isolation, hosts.isolation_at AS host_isolation_at
             FROM incidents JOIN hosts ON hosts.key = incidents.host
             WHERE (?1 IS NULL OR hosts.id = ?1) AND (?2 IS NULL OR incidents.key < ?2)
             ORDER BY incidents.key DESC LIMIT ?3",
        )
        .bind(query.host.map(|id| id.to_string()))
        .bind(query.before)
        .bind(page(query.limit))
        .fetch_all(&mut *view)
        .await
        .map_err(StoreError::on(ACT))?;
        let mut incidents = Vec::with_capacity(rows.len());
        for row in &rows {
            incidents.push(read(&mut view, row).await?);
        }
        Ok(incidents)
    }

    /// One incident, with its facts.
    pub async fn incident(&self, id: IncidentId) -> Result<Option<Incident>> {
        let mut view = self.readers().begin().await.map_err(StoreError::on(ACT))?;
        let row = sqlx::query(
            "SELECT incidents.*, hosts.id AS host_id, hosts.name AS host_name, host_group,
                    hosts.isolation AS host_isolation, hosts.isolation_at AS host_isolation_at
             FROM incidents JOIN hosts ON hosts.key = incidents.host WHERE incidents.id = ?",
        )
        .bind(id.to_string())
        .fetch_optional(&mut *view)
        .await
        .map_err(StoreError::on(ACT))?;
        match row {
            Some(row) => read(&mut view, &row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Marks an incident as dealt with.
    pub async fn close_incident(&self, id: IncidentId) -> Result<()> {
        const ACT: &str = "close an incident";
        let mut work = self.begin(ACT).await?;
        let done = sqlx::query("UPDATE incidents SET status = 'closed' WHERE id = ?")
            .bind(id.to_string())
            .execute(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?;
        StoreError::if_none(done.rows_affected(), "incident", &id)?;
        self.commit(work, ACT).await
    }
}

async fn read(view: &mut SqliteConnection, row: &SqliteRow) -> Result<Incident> {
    let key: i64 = row.column("key")?;
    let (detections, isolations) = (detections(view, key).await?, isolations(view, key).await?);
    let ((stops, _), (approvals, _)) = (stops(view, key).await?, approvals(view, key).await?);
    Ok(Incident {
        key,
        id: row.parsed("id")?,
        host: reference(row)?,
        group: row.column("host_group")?,
        tree: row.column("tree")?,
        status: row.named("status")?,
        opened_at: row.time("opened_at")?,
        updated_at: row.time("updated_at")?,
        made_at: row.time("made_at")?,
        detections: detections.0,
        detection_count: detections.1,
        isolations: isolations.0,
        isolation_count: isolations.1,
        stops,
        approvals,
        analyst_verdicts: analyst_verdict::of(view, key).await?,
        host_isolation: host_isolation(row)?,
    })
}

fn host_isolation(row: &SqliteRow) -> Result<Option<IsolationRow>> {
    let (report, at) = (
        row.maybe_json("host_isolation")?,
        row.maybe_time("host_isolation_at")?,
    );
    Ok(report
        .zip(at)
        .map(|(report, at)| IsolationRow { at, report }))
}

async fn detections(
    view: &mut SqliteConnection,
    incident: i64,
) -> Result<(Vec<DetectionRow>, u64)> {
    let worst = "SELECT events.key, json, total FROM (
            SELECT event, count(*) OVER () AS total FROM detections WHERE incident = ?
            ORDER BY rank DESC, score DESC, event LIMIT ?)
         JOIN events ON events.key = event ORDER BY event";
    facts(view, incident, worst, |key, at, body| match body {
        RecordBody::Detection(detection) => Some(DetectionRow {
            key,
            at,
            detection: *detection,
        }),
        _ => None,
    })
    .await
}

async fn isolations(
    view: &mut SqliteConnection,
    incident: i64,
) -> Result<(Vec<IsolationRow>, u64)> {
    let newest = "SELECT events.key, json, total FROM (
            SELECT event, count(*) OVER () AS total FROM isolations WHERE incident = ?
            ORDER BY event DESC LIMIT ?)
         JOIN events ON events.key = event ORDER BY event";
    facts(view, incident, newest, |_, at, body| match body {
        RecordBody::Isolation(report) => Some(IsolationRow {
            at,
            report: *report,
        }),
        _ => None,
    })
    .await
}

async fn stops(view: &mut SqliteConnection, incident: i64) -> Result<(Vec<StopRow>, u64)> {
    let newest = "SELECT events.key, json, total FROM (
            SELECT event, count(*) OVER () AS total FROM stops WHERE incident = ?
            ORDER BY event DESC LIMIT ?)
         JOIN events ON events.key = event ORDER BY event";
    facts(view, incident, newest, |_, at, body| match body {
        RecordBody::Stop(report) => Some(StopRow {
            at,
            report: *report,
        }),
        _ => None,
    })
    .await
}

async fn approvals(view: &mut SqliteConnection, incident: i64) -> Result<(Vec<ApprovalRow>, u64)> {
    let newest = "SELECT events.key, json, total FROM (
            SELECT ended, count(*) OVER () AS total FROM proposals
            WHERE incident = ? AND ended IS NOT NULL ORDER BY ended DESC LIMIT ?)
         JOIN events ON events.key = ended ORDER BY ended";
    facts(view, incident, newest, |_, at, body| match body {
        RecordBody::Approval(report) => Some(ApprovalRow {
            at,
            report: *report,
        }),
        _ => None,
    })
    .await
}

/// The records that `choice` finds, at most [`MAX_FACTS`], and how many there are.
async fn facts<T>(
    view: &mut SqliteConnection,
    incident: i64,
    choice: &'static str,
    pick: impl Fn(i64, Timestamp, RecordBody) -> Option<T>,
) -> Result<(Vec<T>, u64)> {
    let rows = sqlx::query(choice)
        .bind(incident)
        .bind(MAX_FACTS)
        .fetch_all(view)
        .await
        .map_err(StoreError::on(ACT))?;
    let total = rows.first().map_or(Ok(0), |row| row.count("total"))?;
    let mut facts = Vec::with_capacity(rows.len());
    for row in &rows {
        let record: Record = row.json("json")?;
        facts.extend(pick(row.column("key")?, record.at, record.body));
    }
    Ok((facts, total))
}
