//! What people say of incidents and detections: malicious or benign, and why.
//!
//! Nothing follows from it here: an incident stays as open and as severe as it was. Verdicts are only ever added; of
//! those that cover a detection the newest counts, and the others are its history.

use cordon_proto::id::IncidentId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, SqliteConnection, Transaction};

use crate::row::{Columns as _, micros};
use crate::{MAX_FACTS, Result, Store, StoreError};

/// What somebody calls a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Part of an attack.
    Malicious,
    /// Honest work.
    Benign,
}

impl Label {
    /// The word for it, on the wire, in files and to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malicious => "malicious",
            Self::Benign => "benign",
        }
    }
}

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnalystVerdict {
    /// Grows with the order in which they were said.
    pub key: i64,
    /// The one detection that it is about, by [`crate::DetectionRow::key`]; `None`: those of the incident that had
    /// come by then.
    pub detection: Option<i64>,
    /// It covers no detection that came behind this one.
    pub through: i64,
    /// What it was called.
    pub label: Label,
    /// Why, in the words of whoever said it.
    pub reason: String,
    /// The account.
    pub analyst: String,
    /// When, by the controller's clock.
    pub said_at: Timestamp,
}

impl AnalystVerdict {
    /// Whether it is about this detection of its incident.
    pub fn covers(&self, detection: i64) -> bool {
        self.detection
            .map_or(detection <= self.through, |only| only == detection)
    }

    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            key: row.column("verdict_key")?,
            detection: row.column("verdict_detection")?,
            through: row.column("through")?,
            label: row.named("label")?,
            reason: row.column("reason")?,
            analyst: row.column("analyst")?,
            said_at: row.time("said_at")?,
        })
    }

    /// Of a row that may have none.
    pub(crate) fn read_any(row: &SqliteRow) -> Result<Option<Self>> {
        match row.column::<Option<i64>>("verdict_key")? {
            Some(_) => Self::read(row).map(Some),
            None => Ok(None),
        }
    }
}

/// What somebody says.
#[derive(Clone, Debug)]
pub struct NewAnalystVerdict {
    /// The incident.
    pub incident: IncidentId,
    /// One detection of it; `None`: the incident as a whole.
    pub detection: Option<i64>,
    /// The last detection that was seen by whoever says it; `None`: all that there are.
    pub through: Option<i64>,
    /// What it is called.
    pub label: Label,
    /// Why.
    pub reason: String,
    /// The account.
    pub analyst: String,
}

/// Columns of a verdict, as [`AnalystVerdict::read`] wants them.
macro_rules! verdict_columns {
    () => {
        "analyst_verdicts.key AS verdict_key, analyst_verdicts.detection AS verdict_detection,
         through, label, reason, analyst, said_at"
    };
}
pub(crate) use verdict_columns;

const ACT: &str = "keep what an analyst says";

impl Store {
    /// Keeps it. The incident, or the detection in it, has to be there.
    pub async fn add_analyst_verdict(
        &self,
        new: &NewAnalystVerdict,
        now: Timestamp,
    ) -> Result<AnalystVerdict> {
        let mut work = self.begin(ACT).await?;
        let incident: Option<i64> = sqlx::query_scalar("SELECT key FROM incidents WHERE id = ?")
            .bind(new.incident.to_string())
            .fetch_optional(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?;
        let incident = incident.ok_or_else(|| StoreError::unknown("incident", &new.incident))?;
        let through = match new.detection {
            Some(detection) => of_incident(&mut work, incident, detection).await?,
            None => last_seen(&mut work, incident, new.through).await?,
        };
        let key = sqlx::query_scalar(
            "INSERT INTO analyst_verdicts (incident, detection, through, label, reason, analyst, said_at)
             VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING key",
        )
        .bind(incident)
        .bind(new.detection)
        .bind(through)
        .bind(new.label.name())
        .bind(&new.reason)
        .bind(&new.analyst)
        .bind(micros(now))
        .fetch_one(&mut *work)
        .await
        .map_err(StoreError::on(ACT))?;
        self.commit(work, ACT).await?;
        Ok(AnalystVerdict {
            key,
            detection: new.detection,
            through,
            label: new.label,
            reason: new.reason.clone(),
            analyst: new.analyst.clone(),
            said_at: now,
        })
    }
}

/// The detection itself, where it is one of that incident.
async fn of_incident(
    work: &mut Transaction<'static, Sqlite>,
    incident: i64,
    detection: i64,
) -> Result<i64> {
    let found = sqlx::query_scalar("SELECT event FROM detections WHERE incident = ? AND event = ?")
        .bind(incident)
        .bind(detection)
        .fetch_optional(&mut **work)
        .await
        .map_err(StoreError::on(ACT))?;
    found.ok_or_else(|| StoreError::unknown("detection of this incident", &detection))
}

/// The last detection that there is, or that was seen: nobody speaks of what comes later.
async fn last_seen(
    work: &mut Transaction<'static, Sqlite>,
    incident: i64,
    seen: Option<i64>,
) -> Result<i64> {
    let last: i64 =
        sqlx::query_scalar("SELECT coalesce(max(event), 0) FROM detections WHERE incident = ?")
            .bind(incident)
            .fetch_one(&mut **work)
            .await
            .map_err(StoreError::on(ACT))?;
    Ok(seen.map_or(last, |seen| seen.min(last)))
}

/// What was said of an incident and its detections, the newest first; at most [`MAX_FACTS`].
pub(crate) async fn of(view: &mut SqliteConnection, incident: i64) -> Result<Vec<AnalystVerdict>> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        verdict_columns!(),
        " FROM analyst_verdicts WHERE incident = ? ORDER BY key DESC LIMIT ?"
    ))
    .bind(incident)
    .bind(MAX_FACTS)
    .fetch_all(view)
    .await
    .map_err(StoreError::on("read what analysts said"))?;
    rows.iter().map(AnalystVerdict::read).collect()
}
