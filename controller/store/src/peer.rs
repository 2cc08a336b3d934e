//! Orders to hosts about an isolated one of their group, and what they rest on.

use cordon_proto::id::HostId;
use cordon_proto::order::{OrderState, Verb};
use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use crate::host::host_key;
use crate::row::{Columns as _, micros};
use crate::{Result, Store, StoreError};

/// No block lasts longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The newest order to a host about an isolated one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerOrder {
    /// Who was told.
    pub host: HostId,
    /// About whom.
    pub peer: HostId,
    /// To block it, or not any more.
    pub verb: Verb,
    /// How far that got.
    pub state: OrderState,
    /// When it was signed.
    pub issued_at: Timestamp,
}

impl PeerOrder {
    /// When what it asks for is over by itself; `None` of an order to unblock.
    pub fn until(&self) -> Option<Timestamp> {
        let Verb::BlockHost { seconds, .. } = self.verb else {
            return None;
        };
        let lasts = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        Some(self.issued_at.checked_add(lasts).unwrap_or(Timestamp::MAX))
    }

    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            host: row.parsed("told")?,
            peer: row.parsed("about")?,
            verb: row.json("verb")?,
            state: row.named("state")?,
            issued_at: row.time("issued_at")?,
        })
    }
}

impl Store {
    /// Each host's newest order about each isolated one, those left out that nothing can be in force of any more.
    pub async fn peer_orders(&self, now: Timestamp) -> Result<Vec<PeerOrder>> {
        let since = now.saturating_sub(LONGEST).unwrap_or(Timestamp::MIN);
        let rows = sqlx::query(
            "SELECT host.id AS told, peer.id AS about, orders.verb, orders.state, orders.issued_at
             FROM peer_orders
             JOIN orders ON orders.key = order_key
             JOIN hosts AS host ON host.key = peer_orders.host
             JOIN hosts AS peer ON peer.key = peer_orders.peer
             WHERE orders.issued_at > ?",
        )
        .bind(micros(since))
        .fetch_all(self.readers())
        .await
        .map_err(StoreError::on("read orders about isolated hosts"))?;
        rows.iter().map(PeerOrder::read).collect()
    }

    /// Whether any host says that it is cut off; cheap enough to be asked every few seconds.
    pub async fn is_any_isolated(&self) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM hosts WHERE evicted_at IS NULL AND isolation IS NOT NULL
                AND json_extract(isolation, '$.state') IN ('applied', 'confirmed', 'unproven'))",
        )
        .fetch_one(self.readers())
        .await
        .map_err(StoreError::on("look for isolated hosts"))
    }

    /// Whether a host's latest isolation ended by an order of ours: that it is open otherwise is no more than its word.
    pub async fn is_released_by_order(&self, host: HostId) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM orders JOIN hosts ON hosts.key = orders.host
                WHERE hosts.id = ? AND orders.state = 'done'
                    AND json_extract(orders.verb, '$.verb') = 'release'
                    AND orders.issued_at >= (SELECT min(events.received_at)
                        FROM isolations JOIN events ON events.key = isolations.event
                        WHERE isolations.host = hosts.key
                            AND isolations.isolation_id = json_extract(hosts.isolation, '$.id')))",
        )
        .bind(host.to_string())
        .fetch_one(self.readers())
        .await
        .map_err(StoreError::on("look for the release of a host"))
    }
}

/// Notes an order about another host as the newest one; every other order is left alone.
pub(crate) async fn note(
    work: &mut Transaction<'static, Sqlite>,
    host: i64,
    verb: &Verb,
    order: i64,
) -> Result<()> {
    const ACT: &str = "note an order about an isolated host";
    let (Verb::BlockHost { peer, .. } | Verb::UnblockHost { peer }) = verb else {
        return Ok(());
    };
    let peer = host_key(work, *peer, ACT).await?;
    sqlx::query("INSERT OR REPLACE INTO peer_orders (host, peer, order_key) VALUES (?, ?, ?)")
        .bind(host)
        .bind(peer)
        .bind(order)
        .execute(&mut **work)
        .await
        .map_err(StoreError::on(ACT))?;
    Ok(())
}
