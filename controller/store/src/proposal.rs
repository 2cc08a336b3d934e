//! What hosts proposed, and what of it waits for an answer.

use cordon_proto::id::IncidentId;
use cordon_proto::record::{Detection, Proposal, Record, RecordBody};
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;

use crate::host::{HostRef, reference};
use crate::row::{Columns as _, micros};
use crate::{MAX_PAGE, Result, Store, StoreError};

/// A proposal that no host said the end of.
#[derive(Clone, Debug, PartialEq)]
pub struct ProposalRow {
    /// Who proposes it.
    pub host: HostRef,
    /// The incident of its process tree.
    pub incident: IncidentId,
    /// What, and until when, by the host's clock.
    pub proposal: Proposal,
    /// The first detection that told of it; endpoint text.
    pub detection: Box<Detection>,
}

impl ProposalRow {
    /// `None`: the record tells of no proposal.
    fn read(row: &SqliteRow) -> Result<Option<Self>> {
        let record: Record = row.json("json")?;
        let RecordBody::Detection(detection) = record.body else {
            return Ok(None);
        };
        let (host, incident) = (reference(row)?, row.parsed("incident_id")?);
        let proposal = detection.proposal.clone();
        Ok(proposal.map(|proposal| Self {
            host,
            incident,
            proposal,
            detection,
        }))
    }
}

impl Store {
    /// What waits for an answer, the most urgent first; evicted hosts and what was to end before `since` left out.
    pub async fn waiting_proposals(&self, since: Timestamp) -> Result<Vec<ProposalRow>> {
        let rows = sqlx::query(
            "SELECT hosts.id AS host_id, hosts.name AS host_name, incidents.id AS incident_id, events.json
             FROM proposals
             JOIN hosts ON hosts.key = proposals.host
             JOIN incidents ON incidents.key = proposals.incident
             JOIN events ON events.key = proposals.detection
             WHERE ended IS NULL AND expires_at >= ? AND hosts.evicted_at IS NULL
             ORDER BY expires_at, proposals.id LIMIT ?",
        )
        .bind(micros(since))
        .bind(MAX_PAGE)
        .fetch_all(self.readers())
        .await
        .map_err(StoreError::on("list what waits for an answer"))?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.extend(ProposalRow::read(row)?);
        }
        Ok(found)
    }
}
