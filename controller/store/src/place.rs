//! Places among the hosts of a group that may be isolated at one time without a person who says so.
//!
//! A host has a place when it reports to be isolated, when it was given one and did not say yet what became of it, or when
//! an order to isolate it is under way. Places are counted and given in the database's one write transaction, so hosts
//! that ask in the same moment are not given the same one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use cordon_proto::envelope::Envelope;
use cordon_proto::id::{HostId, IsolationId};
use cordon_proto::order::Order;
use cordon_proto::record::IsolationReport;
use jiff::{SignedDuration, Timestamp};
use sqlx::{Sqlite, SqliteConnection, Transaction};

use crate::host::{HostRef, reference};
use crate::row::{Columns as _, micros};
use crate::{Result, Store, StoreError};

/// A place that was given is kept this long for a host that says nothing.
pub const PLACE_LASTS: SignedDuration = SignedDuration::from_mins(1);

const ACT: &str = "give places among the isolated hosts of a group";

/// A host that wants a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceWanted {
    /// Which.
    pub host: HostId,
    /// The isolation that it would become.
    pub isolation: IsolationId,
}

/// Whether it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceAnswer {
    /// It has, or its group needs none.
    Granted,
    /// Others have them all, these, by name.
    Refused(Vec<HostRef>),
}

/// The places of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// How many there are, by the group's newest policy; without a number they are not counted.
    pub cap: Option<u32>,
    /// Who has one, by name.
    pub taken: Vec<HostRef>,
}

impl Places {
    /// Who stands in the way of one more host; `None` where it has a place already or there is room.
    fn in_the_way_of(&self, host: HostId) -> Option<&[HostRef]> {
        let cap = self.cap?;
        let has_one = self.taken.iter().any(|taken| taken.id == host);
        let is_full = self.taken.len() as u64 >= u64::from(cap);
        (is_full && !has_one).then_some(&self.taken)
    }
}

impl Store {
    /// Gives places, each to the first who asks, all in one transaction and before the records that wait to be committed:
    /// when many hosts ask in the same moment each of them has much to report, and waits for no more than a few tenths of
    /// a second for its answer. Answers in the order of `wanted`.
    pub async fn give_places(
        &self,
        wanted: &[PlaceWanted],
        now: Timestamp,
    ) -> Result<Vec<PlaceAnswer>> {
        let mut work = self.begin_in_a_hurry(ACT).await?;
        let mut groups: HashMap<String, Places> = HashMap::new();
        let mut answers = Vec::with_capacity(wanted.len());
        for one in wanted {
            let asker = Asker::read(&mut work, one.host).await?;
            let places = match groups.entry(asker.group.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(read_places(&mut work, &asker.group, now).await?),
            };
            answers.push(give(&mut work, places, asker, one.isolation, now).await?);
        }
        self.commit(work, ACT).await?;
        Ok(answers)
    }

    /// How many places a group has, and who has them.
    pub async fn places(&self, group: &str, now: Timestamp) -> Result<Places> {
        let mut view = self.readers().begin().await.map_err(StoreError::on(ACT))?;
        read_places(&mut view, group, now).await
    }

    /// Keeps a signed order to isolate as `queued`, if its host's group has a place for it. `Some`: it has none, these
    /// have them, and the order is not kept.
    pub async fn add_order_within_cap(
        &self,
        order: &Order,
        envelope: &Envelope,
    ) -> Result<Option<Vec<HostRef>>> {
        const ACT: &str = "queue an order to isolate";
        let mut work = self.begin(ACT).await?;
        let asker = Asker::read(&mut work, order.host).await?;
        let places = read_places(&mut work, &asker.group, order.issued_at).await?;
        if let Some(taken) = places.in_the_way_of(order.host) {
            return Ok(Some(taken.to_vec()));
        }
        crate::order::add(&mut work, order, envelope).await?;
        self.commit(work, ACT).await?;
        Ok(None)
    }
}

/// A host by the database's key.
struct Asker {
    key: i64,
    group: String,
    reference: HostRef,
}

impl Asker {
    async fn read(work: &mut Transaction<'static, Sqlite>, id: HostId) -> Result<Self> {
        let row = sqlx::query(
            "SELECT key, host_group, id AS host_id, name AS host_name FROM hosts WHERE id = ?",
        )
        .bind(id.to_string())
        .fetch_optional(&mut **work)
        .await
        .map_err(StoreError::on(ACT))?
        .ok_or_else(|| StoreError::unknown("host", &id))?;
        Ok(Self {
            key: row.column("key")?,
            group: row.column("host_group")?,
            reference: reference(&row)?,
        })
    }
}

async fn give(
    work: &mut Transaction<'static, Sqlite>,
    places: &mut Places,
    asker: Asker,
    isolation: IsolationId,
    now: Timestamp,
) -> Result<PlaceAnswer> {
    if let Some(taken) = places.in_the_way_of(asker.reference.id) {
        return Ok(PlaceAnswer::Refused(taken.to_vec()));
    }
    let until = now.saturating_add(PLACE_LASTS).unwrap_or(Timestamp::MAX);
    sqlx::query(
        "INSERT OR REPLACE INTO isolation_places (host, isolation_id, expires_at) VALUES (?, ?, ?)",
    )
    .bind(asker.key)
    .bind(isolation.to_string())
    .bind(micros(until))
    .execute(&mut **work)
    .await
    .map_err(StoreError::on(ACT))?;
    if !places.taken.contains(&asker.reference) {
        places.taken.push(asker.reference);
    }
    Ok(PlaceAnswer::Granted)
}

async fn read_places(view: &mut SqliteConnection, group: &str, now: Timestamp) -> Result<Places> {
    let cap: Option<Option<i64>> = sqlx::query_scalar(
        "SELECT json_extract(document, '$.caps.hosts_at_once') FROM policies
         WHERE host_group = ? ORDER BY version DESC LIMIT 1",
    )
    .bind(group)
    .fetch_optional(&mut *view)
    .await
    .map_err(StoreError::on(ACT))?;
    let rows = sqlx::query(
        "SELECT id AS host_id, name AS host_name FROM hosts
         WHERE host_group = ?1 AND evicted_at IS NULL AND key IN (
            SELECT key FROM hosts WHERE isolation IS NOT NULL
                AND json_extract(isolation, '$.state') IN ('applied', 'confirmed', 'unproven')
            UNION SELECT host FROM isolation_places WHERE expires_at > ?2
            UNION SELECT host FROM orders WHERE state IN ('queued', 'delivered', 'started') AND expires_at > ?2
                AND json_extract(verb, '$.verb') = 'isolate')
         ORDER BY name, key",
    )
    .bind(group)
    .bind(micros(now))
    .fetch_all(&mut *view)
    .await
    .map_err(StoreError::on(ACT))?;
    Ok(Places {
        cap: cap.flatten().and_then(|cap| u32::try_from(cap).ok()),
        taken: rows.iter().map(reference).collect::<Result<_>>()?,
    })
}

/// A host said what became of an isolation: from now on that counts, and no longer that it was given a place for it.
pub(crate) async fn settle(
    work: &mut Transaction<'static, Sqlite>,
    host: i64,
    report: &IsolationReport,
) -> Result<()> {
    sqlx::query("DELETE FROM isolation_places WHERE host = ? AND isolation_id = ?")
        .bind(host)
        .bind(report.id.to_string())
        .execute(&mut **work)
        .await
        .map_err(StoreError::on("settle a place among isolated hosts"))?;
    Ok(())
}
