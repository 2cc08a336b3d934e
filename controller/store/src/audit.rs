//! The audit log: append-only, each entry bound to the one before by its hash.
//!
//! The chain shows any change, removal or insertion before its head. Cutting entries off the end
//! leaves a good, shorter chain: keep [`AuditHead`] elsewhere now and then to see that too.

use futures::TryStreamExt as _;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::SqliteRow;

use crate::row::{Columns as _, micros, page};
use crate::{Result, Store, StoreError};

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// 1, 2, 3 ...
    pub sequence: u64,
    /// When, by the controller's clock, to the microsecond.
    pub at: Timestamp,
    /// Account, or `host <id>`, or `controller`.
    pub who: String,
    /// For example `order.create`.
    pub what: String,
    /// On what, with the words that matter; may quote endpoint text.
    pub target: String,
    /// Hash of the entry before; zeros in the first.
    pub previous: [u8; 32],
    /// Over all of the above.
    pub hash: [u8; 32],
}

/// Where a good chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Number of entries.
    pub sequence: u64,
    /// Hash of the last; zeros when there is none.
    pub hash: [u8; 32],
}

impl AuditHead {
    const START: Self = Self {
        sequence: 0,
        hash: [0; 32],
    };

    /// The head with one more entry, if that entry follows.
    fn extended(self, entry: &AuditEntry) -> Result<Self> {
        let broken = |why| StoreError::AuditBroken {
            sequence: self.sequence + 1,
            why,
        };
        if entry.sequence != self.sequence + 1 {
            return Err(broken("the entry is missing"));
        }
        if entry.previous != self.hash {
            return Err(broken("it does not follow the entry before"));
        }
        if entry.hash != entry.computed_hash() {
            return Err(broken("its content does not match its hash"));
        }
        Ok(Self {
            sequence: entry.sequence,
            hash: entry.hash,
        })
    }
}

impl AuditEntry {
    fn following(head: AuditHead, at: Timestamp, who: &str, what: &str, target: &str) -> Self {
        let mut entry = Self {
            sequence: head.sequence + 1,
            at,
            who: who.into(),
            what: what.into(),
            target: target.into(),
            previous: head.hash,
            hash: [0; 32],
        };
        entry.hash = entry.computed_hash();
        entry
    }

    /// SHA-256 over `cordon-audit-v1`, then the fields in order: numbers as 8 bytes big-endian, texts
    /// with their length before them, the previous hash as it is.
    fn computed_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix("cordon-audit-v1");
        hash.update(self.sequence.to_be_bytes());
        hash.update(micros(self.at).to_be_bytes());
        for text in [&self.who, &self.what, &self.target] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(self.previous);
        hash.finalize().into()
    }

    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            sequence: row.count("sequence")?,
            at: row.time("at")?,
            who: row.column("who")?,
            what: row.column("what")?,
            target: row.column("target")?,
            previous: row.bytes32("previous")?,
            hash: row.bytes32("hash")?,
        })
    }
}

impl Store {
    /// Appends an entry.
    pub async fn append_audit(
        &self,
        who: &str,
        what: &str,
        target: &str,
        now: Timestamp,
    ) -> Result<AuditEntry> {
        const ACT: &str = "write the audit log";
        let mut work = self.begin(ACT).await?;
        let last = sqlx::query("SELECT * FROM audit ORDER BY sequence DESC LIMIT 1")
            .fetch_optional(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?;
        let head = match last {
            Some(row) => AuditHead {
                sequence: row.count("sequence")?,
                hash: row.bytes32("hash")?,
            },
            None => AuditHead::START,
        };
        let entry = AuditEntry::following(head, now, who, what, target);
        sqlx::query(
            "INSERT INTO audit (sequence, at, who, what, target, previous, hash)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(entry.sequence.cast_signed())
        .bind(micros(entry.at))
        .bind(&entry.who)
        .bind(&entry.what)
        .bind(&entry.target)
        .bind(entry.previous.as_slice())
        .bind(entry.hash.as_slice())
        .execute(&mut *work)
        .await
        .map_err(StoreError::on(ACT))?;
        self.commit(work, ACT).await?;
        Ok(entry)
    }

    /// A page of entries, newest first; `before` is a sequence.
    pub async fn audit(&self, limit: u32, before: Option<u64>) -> Result<Vec<AuditEntry>> {
        let rows = sqlx::query(
            "SELECT * FROM audit WHERE ?1 IS NULL OR sequence < ?1 ORDER BY sequence DESC LIMIT ?2",
        )
        .bind(before.map(u64::cast_signed))
        .bind(page(limit))
        .fetch_all(self.readers())
        .await
        .map_err(StoreError::on("read the audit log"))?;
        rows.iter().map(AuditEntry::read).collect()
    }

    /// Walks the whole chain. [`StoreError::AuditBroken`] names the first entry that does not hold.
    pub async fn verify_audit(&self) -> Result<AuditHead> {
        let mut rows = sqlx::query("SELECT * FROM audit ORDER BY sequence").fetch(self.readers());
        let mut head = AuditHead::START;
        while let Some(row) = rows
            .try_next()
            .await
            .map_err(StoreError::on("read the audit log"))?
        {
            head = head.extended(&AuditEntry::read(&row)?)?;
        }
        Ok(head)
    }
}
