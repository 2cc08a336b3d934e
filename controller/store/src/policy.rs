//! Signed policies; a group's versions only grow.

use cordon_proto::envelope::Envelope;
use cordon_proto::policy::Policy;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;

use crate::row::{Columns as _, json, micros};
use crate::{Result, Store, StoreError};

/// A policy that was pushed.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRow {
    /// Its content, group and version.
    pub policy: Policy,
    /// As signed.
    pub envelope: Envelope,
    /// SHA-256 of the envelope's JSON, hex: what hosts name in their hello.
    pub sha256: String,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// By whom.
    pub pushed_by: String,
}

impl PolicyRow {
    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            policy: row.json("document")?,
            envelope: row.json("envelope")?,
            sha256: row.column("sha256")?,
            pushed_at: row.time("pushed_at")?,
            pushed_by: row.column("pushed_by")?,
        })
    }
}

impl Store {
    /// Keeps a policy, whose signature the caller has checked, as its group's newest.
    pub async fn add_policy(
        &self,
        policy: &Policy,
        envelope: &Envelope,
        pushed_by: &str,
        now: Timestamp,
    ) -> Result<PolicyRow> {
        const ACT: &str = "keep a policy";
        let mut work = self.begin(ACT).await?;
        let newest: Option<i64> =
            sqlx::query_scalar("SELECT max(version) FROM policies WHERE host_group = ?")
                .bind(&policy.group)
                .fetch_one(&mut *work)
                .await
                .map_err(StoreError::on(ACT))?;
        let newest = newest.map_or(0, i64::unsigned_abs);
        if policy.version <= newest || i64::try_from(policy.version).is_err() {
            return Err(StoreError::NotNewer {
                group: policy.group.clone(),
                offered: policy.version,
                newest,
            });
        }
        let added = sqlx::query(
            "INSERT INTO policies
                (host_group, version, sha256, document, envelope, pushed_at, pushed_by)
             VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
        )
        .bind(&policy.group)
        .bind(policy.version.cast_signed())
        .bind(envelope.sha256())
        .bind(json(policy))
        .bind(json(envelope))
        .bind(micros(now))
        .bind(pushed_by)
        .fetch_one(&mut *work)
        .await
        .map_err(StoreError::on(ACT))?;
        self.commit(work, ACT).await?;
        PolicyRow::read(&added)
    }

    /// The policy that a group's hosts should hold.
    pub async fn policy_for(&self, group: &str) -> Result<Option<PolicyRow>> {
        let row = sqlx::query(
            "SELECT * FROM policies WHERE host_group = ? ORDER BY version DESC LIMIT 1",
        )
        .bind(group)
        .fetch_optional(self.readers())
        .await
        .map_err(StoreError::on("read a policy"))?;
        row.as_ref().map(PolicyRow::read).transpose()
    }

    /// All policies by group, newest version first.
    pub async fn policies(&self) -> Result<Vec<PolicyRow>> {
        let rows =
            sqlx::query("SELECT * FROM policies ORDER BY host_group, version DESC LIMIT 1000")
                .fetch_all(self.readers())
                .await
                .map_err(StoreError::on("list policies"))?;
        rows.iter().map(PolicyRow::read).collect()
    }
}
