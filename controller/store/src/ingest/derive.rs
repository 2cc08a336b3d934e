//! What follows from a new record.

use cordon_proto::id::IncidentId;
use cordon_proto::record::{
    ApprovalReport, Detection, IsolationReport, PolicyReport, Proposal, Record, RecordBody,
    StopReport,
};
use cordon_proto::verdict::VerdictKind;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;

use super::{ACT, Batch, Committed};
use crate::row::{Columns as _, json, micros};
use crate::{Result, StoreError};

/// An incident by the database's key and by its id.
struct Found {
    key: i64,
    id: IncidentId,
}

impl Found {
    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            key: row.column("key")?,
            id: row.parsed("id")?,
        })
    }
}

impl Batch<'_> {
    pub(super) async fn derive(
        &mut self,
        event: i64,
        sequence: u64,
        record: &Record,
        committed: &mut Committed,
    ) -> Result<()> {
        let touched = match &record.body {
            RecordBody::Detection(detection) => {
                Some(self.detected(event, record.at, detection).await?)
            }
            RecordBody::Isolation(report) => {
                self.note_isolation(sequence, record.at, report).await?;
                crate::place::settle(self.work, self.host, report).await?;
                self.isolated(event, record.at, report).await?
            }
            RecordBody::Approval(report) => Some(self.answered(event, record.at, report).await?),
            RecordBody::Stop(report) => self.stopped(event, record.at, report).await?,
            RecordBody::Policy(report) => {
                self.took_policy(report).await?;
                None
            }
            // Kept as events; nothing follows. A receipt comes by `Reading::Receipt`.
            RecordBody::Receipt(_)
            | RecordBody::Block(_)
            | RecordBody::Quarantine(_)
            | RecordBody::Tamper(_)
            | RecordBody::Agent(_)
            | RecordBody::Loss(_) => None,
        };
        if let Some(incident) = touched
            && !committed.incidents.contains(&incident)
        {
            committed.incidents.push(incident);
        }
        Ok(())
    }

    async fn detected(
        &mut self,
        event: i64,
        at: Timestamp,
        detection: &Detection,
    ) -> Result<IncidentId> {
        let incident = self.incident_of(&detection.tree, at).await?;
        sqlx::query("INSERT INTO detections (event, incident, rank, score) VALUES (?, ?, ?, ?)")
            .bind(event)
            .bind(incident.key)
            .bind(rank(detection.verdict.verdict))
            .bind(finite(detection.verdict.score))
            .execute(&mut **self.work)
            .await
            .map_err(StoreError::on(ACT))?;
        if let Some(proposal) = &detection.proposal {
            self.proposed(event, &incident, proposal).await?;
        }
        Ok(incident.id)
    }

    /// Somebody is to answer: whoever was told of the incident before, or is being told now, is told again.
    async fn proposed(&mut self, event: i64, incident: &Found, proposal: &Proposal) -> Result<()> {
        let is_new = sqlx::query(
            "INSERT INTO proposals (host, id, incident, detection, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET detection = ?4, expires_at = ?5 WHERE detection IS NULL",
        )
        .bind(self.host)
        .bind(proposal.id.to_string())
        .bind(incident.key)
        .bind(event)
        .bind(micros(proposal.expires_at))
        .execute(&mut **self.work)
        .await
        .map_err(StoreError::on(ACT))?
        .rows_affected();
        if is_new == 0 {
            return Ok(());
        }
        sqlx::query(
            "UPDATE notifications SET next_try_at = ?2, attempts = 0, again = again + 1
             WHERE incident = ?1 AND NOT EXISTS (SELECT 1 FROM proposals
                WHERE host = ?3 AND id = ?4 AND ended IS NOT NULL)",
        )
        .bind(incident.key)
        .bind(micros(self.now))
        .bind(self.host)
        .bind(proposal.id.to_string())
        .execute(&mut **self.work)
        .await
        .map_err(StoreError::on(ACT))?;
        Ok(())
    }

    async fn answered(
        &mut self,
        event: i64,
        at: Timestamp,
        report: &ApprovalReport,
    ) -> Result<IncidentId> {
        let incident = self.incident_of(&report.tree, at).await?;
        sqlx::query(
            "INSERT INTO proposals (host, id, incident, ended) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET ended = ?4 WHERE ended IS NULL",
        )
        .bind(self.host)
        .bind(report.proposal.to_string())
        .bind(incident.key)
        .bind(event)
        .execute(&mut **self.work)
        .await
        .map_err(StoreError::on(ACT))?;
        Ok(incident.id)
    }

    /// The open incident of a tree; made or opened again if need be.
    async fn incident_of(&mut self, tree: &str, at: Timestamp) -> Result<Found> {
        let row = sqlx::query(
            "INSERT INTO incidents (id, host, tree, status, opened_at, updated_at, made_at)
             VALUES (?1, ?2, ?3, 'open', ?4, ?4, ?5)
             ON CONFLICT (host, tree) DO UPDATE SET status = 'open',
                opened_at = min(opened_at, ?4), updated_at = max(updated_at, ?4)
             RETURNING key, id",
        )
        .bind(IncidentId::generate().to_string())
        .bind(self.host)
        .bind(tree)
        .bind(micros(at))
        .bind(micros(self.now))
        .fetch_one(&mut **self.work)
        .await
        .map_err(StoreError::on(ACT))?;
        Found::read(&row)
    }

    async fn isolated(
        &mut self,
        event: i64,
        at: Timestamp,
        report: &IsolationReport,
    ) -> Result<Option<IncidentId>> {
        let incident = match &report.tree {
            Some(tree) => Some(self.incident_of(tree, at).await?),
            None => self.joined_incident(at, report).await?,
        };
        sqlx::query(
            "INSERT INTO isolations (event, host, isolation_id, incident) VALUES (?, ?, ?, ?)",
        )
        .bind(event)
        .bind(self.host)
        .bind(report.id.to_string())
        .bind(incident.as_ref().map(|found| found.key))
        .execute(&mut **self.work)
        .await
        .map_err(StoreError::on(ACT))?;
        Ok(incident.map(|found| found.id))
    }

    /// For a report without a tree: the incident of the same isolation, else the host's newest open one.
    async fn joined_incident(
        &mut self,
        at: Timestamp,
        report: &IsolationReport,
    ) -> Result<Option<Found>> {
        let row = sqlx::query(
            "UPDATE incidents SET updated_at = max(updated_at, ?3) WHERE key = coalesce(
                (SELECT max(incident) FROM isolations WHERE host = ?1 AND isolation_id = ?2),
                (SELECT max(key) FROM incidents WHERE host = ?1 AND status = 'open'))
             RETURNING key, id",
        )
        .bind(self.host)
        .bind(report.id.to_string())
        .bind(micros(at))
        .fetch_optional(&mut **self.work)
        .await
        .map_err(StoreError::on(ACT))?;
        row.as_ref().map(Found::read).transpose()
    }

    /// What a person thawed has no tree: it belongs to the newest incident in which anybody was stopped.
    async fn stopped(
        &mut self,
        event: i64,
        at: Timestamp,
        report: &StopReport,
    ) -> Result<Option<IncidentId>> {
        let incident = match &report.tree {
            // Somebody may order what nothing was detected about.
            Some(tree) if report.ordered.is_some() => self.known_incident(tree, at).await?,
            Some(tree) => Some(self.incident_of(tree, at).await?),
            None => self.last_stopped(at).await?,
        };
        let Some(incident) = incident else {
            return Ok(None);
        };
        sqlx::query("INSERT INTO stops (event, incident) VALUES (?, ?)")
            .bind(event)
            .bind(incident.key)
            .execute(&mut **self.work)
            .await
            .map_err(StoreError::on(ACT))?;
        Ok(Some(incident.id))
    }

    async fn known_incident(&mut self, tree: &str, at: Timestamp) -> Result<Option<Found>> {
        let row = sqlx::query(
            "UPDATE incidents SET updated_at = max(updated_at, ?3) WHERE host = ?1 AND tree = ?2
             RETURNING key, id",
        )
        .bind(self.host)
        .bind(tree)
        .bind(micros(at))
        .fetch_optional(&mut **self.work)
        .await
        .map_err(StoreError::on(ACT))?;
        row.as_ref().map(Found::read).transpose()
    }

    async fn last_stopped(&mut self, at: Timestamp) -> Result<Option<Found>> {
        let row = sqlx::query(
            "UPDATE incidents SET updated_at = max(updated_at, ?2) WHERE key = (
                SELECT incident FROM stops JOIN incidents ON incidents.key = stops.incident
                WHERE incidents.host = ?1 ORDER BY event DESC LIMIT 1)
             RETURNING key, id",
        )
        .bind(self.host)
        .bind(micros(at))
        .fetch_optional(&mut **self.work)
        .await
        .map_err(StoreError::on(ACT))?;
        row.as_ref().map(Found::read).transpose()
    }

    /// The host's isolation is what its newest report says: by place in its record, not by its clock.
    async fn note_isolation(
        &mut self,
        sequence: u64,
        at: Timestamp,
        report: &IsolationReport,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE hosts SET isolation = ?1, isolation_at = ?2, isolation_boot = ?3,
                isolation_sequence = ?4
             WHERE key = ?5
               AND (isolation_boot IS NULL OR (?3, ?4) > (isolation_boot, isolation_sequence))",
        )
        .bind(json(report))
        .bind(micros(at))
        .bind(self.boot)
        .bind(sequence.cast_signed())
        .bind(self.host)
        .execute(&mut **self.work)
        .await
        .map_err(StoreError::on(ACT))?;
        Ok(())
    }

    async fn took_policy(&mut self, report: &PolicyReport) -> Result<()> {
        if !report.applied {
            return Ok(());
        }
        sqlx::query(
            "UPDATE hosts SET policy_version = ?1, policy_sha256 = (SELECT sha256 FROM policies
                WHERE policies.host_group = hosts.host_group AND version = ?1)
             WHERE key = ?2 AND coalesce(policy_version, 0) <= ?1",
        )
        .bind(report.version.cast_signed())
        .bind(self.host)
        .execute(&mut **self.work)
        .await
        .map_err(StoreError::on(ACT))?;
        Ok(())
    }
}

fn rank(verdict: VerdictKind) -> i64 {
    match verdict {
        VerdictKind::NotEvaluable => 0,
        VerdictKind::Benign => 1,
        VerdictKind::Suspicious => 2,
        VerdictKind::Malicious => 3,
    }
}

/// A score that is no number ranks below all that are.
fn finite(score: f32) -> f64 {
    if score.is_finite() {
        f64::from(score)
    } else {
        -1.0
    }
}
