//! Records in, each exactly once, with everything that follows from them in the same transaction.
//!
//! What follows: a detection opens or updates the incident of its tree; what it proposes waits until
//! its end is reported; an isolation report becomes the host's isolation, if it is the newest, joins its
//! incident, and settles the place that was given for it; a verified receipt moves its order; a policy
//! report says what is in force. A record that cannot be read is kept as it came.
//!
//! Nothing that follows depends on the order in which a host's batches arrive, except which incident
//! an isolation without a tree joins.

mod derive;

use cordon_proto::envelope::Envelope;
use cordon_proto::id::{HostId, IncidentId, OrderId};
use cordon_proto::order::Receipt;
use cordon_proto::record::{Record, RecordBody};
use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};

use crate::event::UNREADABLE;
use crate::host::host_key;
use crate::row::micros;
use crate::{Result, Store, StoreError};

/// One record as it came, and how the caller reads it.
#[derive(Clone, Debug)]
pub struct IncomingRecord {
    /// Unique within (host, boot); at most `i64::MAX`.
    pub sequence: u64,
    /// The bytes that came.
    pub json: Vec<u8>,
    /// What they say.
    pub reading: Reading,
}

/// How a record reads. The store trusts the caller's check of signatures.
#[derive(Clone, Debug)]
pub enum Reading {
    /// Anything but a receipt.
    Record(Box<Record>),
    /// A receipt that the reporting host signed, about one of its orders.
    Receipt {
        /// Host's wall clock of the record.
        at: Timestamp,
        /// The receipt.
        receipt: Receipt,
        /// It, signed.
        envelope: Envelope,
    },
    /// A receipt whose signature, host or form does not hold: kept, and moves nothing.
    ForgedReceipt {
        /// Host's wall clock of the record.
        at: Timestamp,
        /// What does not hold.
        why: String,
    },
    /// Not a record that this program knows: kept, marked, shown.
    Unreadable {
        /// The parser's complaint.
        why: String,
    },
}

/// Sequences from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceRange {
    /// First sequence.
    pub first: u64,
    /// Last sequence.
    pub last: u64,
}

/// What a batch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Every sequence of the batch: all are on the disk now, whether they were new or not.
    pub ranges: Vec<SequenceRange>,
    /// How many were new.
    pub fresh: usize,
    /// Incidents that were opened or updated.
    pub incidents: Vec<IncidentId>,
    /// Orders that moved.
    pub orders: Vec<OrderId>,
}

const ACT: &str = "commit records";

impl Store {
    /// Commits a batch of one host and one boot. Sequences that are there already change nothing,
    /// whatever their content is now. All or nothing; on success it is on the disk.
    pub async fn commit_batch(
        &self,
        host: HostId,
        boot_id: &str,
        records: &[IncomingRecord],
        now: Timestamp,
    ) -> Result<Committed> {
        let mut committed = Committed {
            ranges: ranges(records.iter().map(|record| record.sequence)),
            ..Committed::default()
        };
        if records.is_empty() {
            return Ok(committed);
        }
        let mut work = self.begin(ACT).await?;
        let mut batch = Batch::begin(&mut work, host, boot_id, now).await?;
        for record in records {
            batch.add(record, &mut committed).await?;
        }
        self.commit(work, ACT).await?;
        Ok(committed)
    }
}

/// A transaction that takes up one batch.
struct Batch<'a> {
    work: &'a mut Transaction<'static, Sqlite>,
    host: i64,
    boot: i64,
    now: Timestamp,
}

impl<'a> Batch<'a> {
    async fn begin(
        work: &'a mut Transaction<'static, Sqlite>,
        host: HostId,
        boot_id: &str,
        now: Timestamp,
    ) -> Result<Self> {
        let host = host_key(work, host, ACT).await?;
        sqlx::query("INSERT INTO boots (host, boot_id) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(host)
            .bind(boot_id)
            .execute(&mut **work)
            .await
            .map_err(StoreError::on(ACT))?;
        let boot = sqlx::query_scalar("SELECT key FROM boots WHERE host = ? AND boot_id = ?")
            .bind(host)
            .bind(boot_id)
            .fetch_one(&mut **work)
            .await
            .map_err(StoreError::on(ACT))?;
        Ok(Self {
            work,
            host,
            boot,
            now,
        })
    }

    async fn add(&mut self, record: &IncomingRecord, committed: &mut Committed) -> Result<()> {
        let Some(event) = self.insert(record).await? else {
            return Ok(());
        };
        committed.fresh += 1;
        match &record.reading {
            Reading::Record(read) => self.derive(event, record.sequence, read, committed).await,
            Reading::Receipt {
                receipt, envelope, ..
            } => {
                let moved = crate::order::apply_receipt(self.work, self.host, receipt, envelope);
                committed.orders.extend(moved.await?);
                Ok(())
            }
            Reading::ForgedReceipt { .. } | Reading::Unreadable { .. } => Ok(()),
        }
    }

    /// The new event's key, or nothing when the sequence is there already.
    async fn insert(&mut self, record: &IncomingRecord) -> Result<Option<i64>> {
        let (at, kind, note) = self.describe(&record.reading);
        sqlx::query_scalar(
            "INSERT INTO events (host, boot, sequence, at, received_at, kind, json, note)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING key",
        )
        .bind(self.host)
        .bind(self.boot)
        .bind(record.sequence.cast_signed())
        .bind(micros(at))
        .bind(micros(self.now))
        .bind(kind)
        .bind(&record.json)
        .bind(note)
        .fetch_optional(&mut **self.work)
        .await
        .map_err(StoreError::on(ACT))
    }

    fn describe<'r>(&self, reading: &'r Reading) -> (Timestamp, &'static str, Option<&'r str>) {
        match reading {
            Reading::Record(record) => (record.at, kind(&record.body), None),
            Reading::Receipt { at, .. } => (*at, "receipt", None),
            Reading::ForgedReceipt { at, why } => (*at, "receipt", Some(why)),
            Reading::Unreadable { why } => (self.now, UNREADABLE, Some(why)),
        }
    }
}

fn kind(body: &RecordBody) -> &'static str {
    match body {
        RecordBody::Detection(_) => "detection",
        RecordBody::Isolation(_) => "isolation",
        RecordBody::Stop(_) => "stop",
        RecordBody::Block(_) => "block",
        RecordBody::Quarantine(_) => "quarantine",
        RecordBody::Approval(_) => "approval",
        RecordBody::Receipt(_) => "receipt",
        RecordBody::Policy(_) => "policy",
        RecordBody::Tamper(_) => "tamper",
        RecordBody::Agent(_) => "agent",
        RecordBody::Loss(_) => "loss",
    }
}

/// The fewest ranges that hold exactly these sequences.
fn ranges(sequences: impl Iterator<Item = u64>) -> Vec<SequenceRange> {
    let mut sorted: Vec<u64> = sequences.collect();
    sorted.sort_unstable();
    let mut ranges: Vec<SequenceRange> = Vec::new();
    for sequence in sorted {
        match ranges.last_mut() {
            Some(range) if sequence <= range.last.saturating_add(1) => range.last = sequence,
            _ => ranges.push(SequenceRange {
                first: sequence,
                last: sequence,
            }),
        }
    }
    ranges
}
