//! Who still has to be told of which incident.

use cordon_proto::id::IncidentId;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;

use crate::row::{Columns as _, micros, page};
use crate::{Result, Store, StoreError};

/// One card to one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// For [`Store::notification_sent`] and [`Store::notification_failed`].
    pub key: i64,
    /// About what.
    pub incident: IncidentId,
    /// To whom, by the caller's name of the channel.
    pub channel: String,
    /// How often it was tried.
    pub attempts: u32,
    /// How often it was queued again, because something was proposed after it was sent.
    pub again: u32,
    /// When it is due; none when it was sent or given up.
    pub next_try_at: Option<Timestamp>,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

impl Notification {
    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            key: row.column("key")?,
            incident: row.parsed("id")?,
            channel: row.column("channel")?,
            attempts: row.column("attempts")?,
            again: row.column("again")?,
            next_try_at: row.maybe_time("next_try_at")?,
            sent_at: row.maybe_time("sent_at")?,
            last_error: row.column("last_error")?,
        })
    }
}

const ACT: &str = "change a notification";

impl Store {
    /// Queues a card for every incident that the controller heard of at or after `since` and that
    /// `channel` has no card of yet, first due at `due`. Returns how many. Calling it again is harmless.
    pub async fn queue_notifications(
        &self,
        channel: &str,
        since: Timestamp,
        due: Timestamp,
    ) -> Result<u64> {
        const ACT: &str = "queue notifications";
        let mut work = self.begin(ACT).await?;
        let queued = sqlx::query(
            "INSERT INTO notifications (incident, channel, next_try_at)
             SELECT key, ?1, ?2 FROM incidents WHERE made_at >= ?3 AND NOT EXISTS (
                SELECT 1 FROM notifications WHERE incident = incidents.key AND channel = ?1)",
        )
        .bind(channel)
        .bind(micros(due))
        .bind(micros(since))
        .execute(&mut *work)
        .await
        .map_err(StoreError::on(ACT))?
        .rows_affected();
        // Nothing changed: wake nobody, or callers that queue on every change would never rest.
        if queued > 0 {
            self.commit(work, ACT).await?;
        }
        Ok(queued)
    }

    /// What is due now, most overdue first.
    pub async fn due_notifications(&self, now: Timestamp, limit: u32) -> Result<Vec<Notification>> {
        let rows = sqlx::query(
            "SELECT notifications.*, incidents.id FROM notifications
             JOIN incidents ON incidents.key = incident
             WHERE next_try_at <= ? ORDER BY next_try_at, notifications.key LIMIT ?",
        )
        .bind(micros(now))
        .bind(page(limit))
        .fetch_all(self.readers())
        .await
        .map_err(StoreError::on("list due notifications"))?;
        rows.iter().map(Notification::read).collect()
    }

    /// When the next one is due.
    pub async fn next_notification_at(&self) -> Result<Option<Timestamp>> {
        let row = sqlx::query("SELECT min(next_try_at) AS next_try_at FROM notifications")
            .fetch_one(self.readers())
            .await
            .map_err(StoreError::on("read notifications"))?;
        row.maybe_time("next_try_at")
    }

    /// The cards of one incident, sent or not.
    pub async fn notifications(&self, incident: IncidentId) -> Result<Vec<Notification>> {
        let rows = sqlx::query(
            "SELECT notifications.*, incidents.id FROM notifications
             JOIN incidents ON incidents.key = incident WHERE incidents.id = ? ORDER BY channel",
        )
        .bind(incident.to_string())
        .fetch_all(self.readers())
        .await
        .map_err(StoreError::on("read notifications"))?;
        rows.iter().map(Notification::read).collect()
    }

    /// The card was delivered. One that was queued `again` meanwhile stays due: it has more to tell.
    pub async fn notification_sent(&self, card: &Notification, now: Timestamp) -> Result<()> {
        let mut work = self.begin(ACT).await?;
        sqlx::query(
            "UPDATE notifications SET attempts = attempts + 1, next_try_at = NULL, sent_at = ?,
                last_error = NULL
             WHERE key = ? AND again = ?",
        )
        .bind(micros(now))
        .bind(card.key)
        .bind(card.again)
        .execute(&mut *work)
        .await
        .map_err(StoreError::on(ACT))?;
        self.commit(work, ACT).await
    }

    /// The card was not delivered. `next_try_at` is none when there is no use in trying again. One that was queued
    /// `again` meanwhile stays due.
    pub async fn notification_failed(
        &self,
        card: &Notification,
        error: &str,
        next_try_at: Option<Timestamp>,
    ) -> Result<()> {
        let mut work = self.begin(ACT).await?;
        sqlx::query(
            "UPDATE notifications SET attempts = attempts + 1, next_try_at = ?, last_error = ?
             WHERE key = ? AND again = ?",
        )
        .bind(next_try_at.map(micros))
        .bind(error)
        .bind(card.key)
        .bind(card.again)
        .execute(&mut *work)
        .await
        .map_err(StoreError::on(ACT))?;
        self.commit(work, ACT).await
    }
}
