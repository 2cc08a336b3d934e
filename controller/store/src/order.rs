//! Orders, their states, and the receipts that moved them.

use cordon_proto::envelope::Envelope;
use cordon_proto::id::{HostId, OrderId};
use cordon_proto::order::{Order, OrderState, Receipt, Verb};
use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, SqliteConnection, Transaction};

use crate::host::{HostRef, host_key, reference};
use crate::row::{Columns as _, json, micros, name_of, page};
use crate::{Result, Store, StoreError};

/// An order that reached its host is called expired only when this much has passed since it ran
/// out: a receipt that was written in time may still be on its way.
const RECEIPT_GRACE: SignedDuration = SignedDuration::from_mins(2);

/// Which orders. Newest first.
#[derive(Clone, Debug, Default)]
pub struct OrderQuery {
    /// To one host only.
    pub host: Option<HostId>,
    /// At most so many, and at most [`crate::MAX_PAGE`].
    pub limit: u32,
    /// Only orders older than this [`OrderRow::key`].
    pub before: Option<i64>,
}

/// One step in an order's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderStep {
    /// What was said.
    pub state: OrderState,
    /// When, by the clock of whoever said it.
    pub at: Timestamp,
    /// What the agent says it proved, or why not; endpoint text when signed.
    pub detail: Option<String>,
    /// The agent's signed word, not the controller's.
    pub signed: bool,
    /// Whether it moved the order. A receipt that comes too late is kept and moves nothing.
    pub moved: bool,
    /// The signed receipt.
    pub receipt: Option<Envelope>,
}

/// An order and its life so far.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRow {
    /// Grows with the order of creation; for paging.
    pub key: i64,
    /// Its identity.
    pub id: OrderId,
    /// To whom.
    pub host: HostRef,
    /// What.
    pub verb: Verb,
    /// Why, in the words of whoever asked.
    pub reason: String,
    /// Who asked.
    pub requested_by: String,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// The agent refuses it from then on.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: OrderState,
    /// The order as signed.
    pub envelope: Envelope,
    /// How it came there, oldest first.
    pub history: Vec<OrderStep>,
    /// The order that it undoes.
    pub undoes: Option<OrderId>,
    /// The newest order to undo it.
    pub undo: Option<Undo>,
}

/// An order to undo another, as far as it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undo {
    /// Its identity.
    pub id: OrderId,
    /// Where it stands.
    pub state: OrderState,
}

const ACT: &str = "read orders";

macro_rules! select_orders {
    ($rest:literal) => {
        concat!(
            "SELECT orders.*, hosts.id AS host_id, hosts.name AS host_name,
                undo.id AS undo_id, undo.state AS undo_state
             FROM orders JOIN hosts ON hosts.key = orders.host
             LEFT JOIN orders AS undo ON undo.key =
                (SELECT max(key) FROM orders AS undoing WHERE undoing.undoes = orders.id) ",
            $rest
        )
    };
}

impl Store {
    /// Keeps a signed order as `queued`.
    pub async fn add_order(&self, order: &Order, envelope: &Envelope) -> Result<()> {
        const ACT: &str = "queue an order";
        let mut work = self.begin(ACT).await?;
        add(&mut work, order, envelope).await?;
        self.commit(work, ACT).await
    }

    /// One order.
    pub async fn order(&self, id: OrderId) -> Result<Option<OrderRow>> {
        let mut view = self.readers().begin().await.map_err(StoreError::on(ACT))?;
        let row = sqlx::query(select_orders!("WHERE orders.id = ?"))
            .bind(id.to_string())
            .fetch_optional(&mut *view)
            .await
            .map_err(StoreError::on(ACT))?;
        match row {
            Some(row) => read(&mut view, &row).await.map(Some),
            None => Ok(None),
        }
    }

    /// A page of orders.
    pub async fn orders(&self, query: &OrderQuery) -> Result<Vec<OrderRow>> {
        let mut view = self.readers().begin().await.map_err(StoreError::on(ACT))?;
        let rows = sqlx::query(select_orders!(
            "WHERE (?1 IS NULL OR hosts.id = ?1) AND (?2 IS NULL OR orders.key < ?2)
             ORDER BY orders.key DESC LIMIT ?3"
        ))
        .bind(query.host.map(|id| id.to_string()))
        .bind(query.before)
        .bind(page(query.limit))
        .fetch_all(&mut *view)
        .await
        .map_err(StoreError::on(ACT))?;
        read_all(&mut view, &rows).await
    }

    /// A host's orders that it may not have yet, or whose end is not known yet, oldest first. `delivered` ones too:
    /// the stream may have broken behind the controller's back, and the id keeps the agent from doing one twice.
    /// `started` ones too, whatever their expiry: a host that lost power or was killed may have settled one without
    /// having told, and answers one that it has with all of its receipts.
    pub async fn deliverable_orders(&self, host: HostId, now: Timestamp) -> Result<Vec<OrderRow>> {
        let mut view = self.readers().begin().await.map_err(StoreError::on(ACT))?;
        let rows = sqlx::query(select_orders!(
            "WHERE hosts.id = ?1
                AND (orders.state = 'started'
                    OR (orders.state IN ('queued', 'delivered') AND orders.expires_at > ?2))
             ORDER BY orders.key LIMIT 1000"
        ))
        .bind(host.to_string())
        .bind(micros(now))
        .fetch_all(&mut *view)
        .await
        .map_err(StoreError::on(ACT))?;
        read_all(&mut view, &rows).await
    }

    /// The order was written to its host's stream. Says whether that was a step.
    pub async fn mark_delivered(&self, id: OrderId, now: Timestamp) -> Result<bool> {
        const ACT: &str = "mark an order as delivered";
        let mut work = self.begin(ACT).await?;
        let row = sqlx::query("SELECT key, state FROM orders WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?
            .ok_or_else(|| StoreError::unknown("order", &id))?;
        let state: OrderState = row.named("state")?;
        if !state.may_become(OrderState::Delivered) {
            return Ok(false);
        }
        let step = own_step(OrderState::Delivered, now);
        take_step(&mut work, row.column("key")?, &step).await?;
        self.commit(work, ACT).await?;
        Ok(true)
    }

    /// Ends what nobody took in time, and says which.
    pub async fn expire_orders(&self, now: Timestamp) -> Result<Vec<OrderId>> {
        const ACT: &str = "expire orders";
        let overdue = sqlx::query(
            "SELECT key, id, state FROM orders WHERE (state = 'queued' AND expires_at <= ?1)
                OR (state = 'delivered' AND expires_at <= ?2)",
        );
        let grace = now.saturating_sub(RECEIPT_GRACE).unwrap_or(Timestamp::MIN);
        let mut work = self.begin(ACT).await?;
        let rows = overdue
            .bind(micros(now))
            .bind(micros(grace))
            .fetch_all(&mut *work)
            .await
            .map_err(StoreError::on(ACT))?;
        let mut expired = Vec::with_capacity(rows.len());
        for row in &rows {
            let step = own_step(OrderState::Expired, now);
            take_step(&mut work, row.column("key")?, &step).await?;
            expired.push(row.parsed("id")?);
        }
        if !expired.is_empty() {
            self.commit(work, ACT).await?;
        }
        Ok(expired)
    }
}

/// Keeps a signed order in a transaction that the caller commits.
pub(crate) async fn add(
    work: &mut Transaction<'static, Sqlite>,
    order: &Order,
    envelope: &Envelope,
) -> Result<()> {
    const ACT: &str = "queue an order";
    let host = host_key(work, order.host, ACT).await?;
    let key: i64 = sqlx::query_scalar(
        "INSERT INTO orders
            (id, host, verb, reason, requested_by, issued_at, expires_at, state, envelope, undoes)
         VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?) RETURNING key",
    )
    .bind(order.id.to_string())
    .bind(host)
    .bind(json(&order.verb))
    .bind(&order.reason)
    .bind(&order.requested_by)
    .bind(micros(order.issued_at))
    .bind(micros(order.expires_at))
    .bind(json(envelope))
    .bind(order.undoes.map(|id| id.to_string()))
    .fetch_one(&mut **work)
    .await
    .map_err(StoreError::on(ACT))?;
    add_step(work, key, &own_step(OrderState::Queued, order.issued_at)).await?;
    crate::peer::note(work, host, &order.verb, key).await
}

/// Takes up a verified receipt; the order's id when it moved. A receipt about an order that this
/// host never had is an event and no more.
pub(crate) async fn apply_receipt(
    work: &mut Transaction<'static, Sqlite>,
    host: i64,
    receipt: &Receipt,
    envelope: &Envelope,
) -> Result<Option<OrderId>> {
    const ACT: &str = "take up a receipt";
    let row = sqlx::query("SELECT key, state FROM orders WHERE id = ? AND host = ?")
        .bind(receipt.order.to_string())
        .bind(host)
        .fetch_optional(&mut **work)
        .await
        .map_err(StoreError::on(ACT))?;
    let Some(row) = row else { return Ok(None) };
    let (key, state): (i64, OrderState) = (row.column("key")?, row.named("state")?);
    let step = OrderStep {
        state: receipt.state,
        at: receipt.at,
        detail: Some(receipt.detail.clone()),
        signed: true,
        moved: follows(state, receipt.state),
        receipt: Some(envelope.clone()),
    };
    if step.moved {
        take_step(work, key, &step).await?;
        return Ok(Some(receipt.order));
    }
    if !is_repeated(work, key, &step).await? {
        add_step(work, key, &step).await?;
    }
    Ok(None)
}

/// Whether a receipt that says `next` moves an order in `state`. Who says `done` has started,
/// also when the receipt that said so was lost.
fn follows(state: OrderState, next: OrderState) -> bool {
    let started = OrderState::Started;
    state.may_become(next) || (state.may_become(started) && started.may_become(next))
}

async fn is_repeated(
    work: &mut Transaction<'static, Sqlite>,
    order: i64,
    step: &OrderStep,
) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM order_steps WHERE order_key = ? AND state = ? AND signed = 1)",
    )
    .bind(order)
    .bind(name_of(&step.state))
    .fetch_one(&mut **work)
    .await
    .map_err(StoreError::on("look for a receipt"))
}

fn own_step(state: OrderState, at: Timestamp) -> OrderStep {
    OrderStep {
        state,
        at,
        detail: None,
        signed: false,
        moved: true,
        receipt: None,
    }
}

async fn take_step(
    work: &mut Transaction<'static, Sqlite>,
    order: i64,
    step: &OrderStep,
) -> Result<()> {
    sqlx::query("UPDATE orders SET state = ? WHERE key = ?")
        .bind(name_of(&step.state))
        .bind(order)
        .execute(&mut **work)
        .await
        .map_err(StoreError::on("move an order"))?;
    add_step(work, order, step).await
}

async fn add_step(
    work: &mut Transaction<'static, Sqlite>,
    order: i64,
    step: &OrderStep,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO order_steps (order_key, state, at, detail, signed, moved, receipt)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(order)
    .bind(name_of(&step.state))
    .bind(micros(step.at))
    .bind(&step.detail)
    .bind(step.signed)
    .bind(step.moved)
    .bind(step.receipt.as_ref().map(json))
    .execute(&mut **work)
    .await
    .map_err(StoreError::on("keep a step of an order"))?;
    Ok(())
}

async fn read_all(view: &mut SqliteConnection, rows: &[SqliteRow]) -> Result<Vec<OrderRow>> {
    let mut orders = Vec::with_capacity(rows.len());
    for row in rows {
        orders.push(read(view, row).await?);
    }
    Ok(orders)
}

async fn read(view: &mut SqliteConnection, row: &SqliteRow) -> Result<OrderRow> {
    let key: i64 = row.column("key")?;
    let steps = sqlx::query("SELECT * FROM order_steps WHERE order_key = ? ORDER BY key")
        .bind(key)
        .fetch_all(view)
        .await
        .map_err(StoreError::on(ACT))?;
    Ok(OrderRow {
        key,
        id: row.parsed("id")?,
        host: reference(row)?,
        verb: row.json("verb")?,
        reason: row.column("reason")?,
        requested_by: row.column("requested_by")?,
        issued_at: row.time("issued_at")?,
        expires_at: row.time("expires_at")?,
        state: row.named("state")?,
        envelope: row.json("envelope")?,
        history: steps.iter().map(read_step).collect::<Result<_>>()?,
        undoes: match row.column::<Option<String>>("undoes")? {
            Some(_) => Some(row.parsed("undoes")?),
            None => None,
        },
        undo: match row.column::<Option<String>>("undo_id")? {
            Some(_) => Some(Undo {
                id: row.parsed("undo_id")?,
                state: row.named("undo_state")?,
            }),
            None => None,
        },
    })
}

fn read_step(row: &SqliteRow) -> Result<OrderStep> {
    Ok(OrderStep {
        state: row.named("state")?,
        at: row.time("at")?,
        detail: row.column("detail")?,
        signed: row.column("signed")?,
        moved: row.column("moved")?,
        receipt: row.maybe_json("receipt")?,
    })
}
