//! The only SQL in Cordon: SQLite in WAL mode, one writer, every acknowledged change on the disk.
//!
//! # API
//!
//! [`Store`] is a cheap handle; clone it freely. [`Store::create`] makes the database (mode 0600),
//! [`Store::open`] opens it and brings an older schema up to date; both fail with a typed
//! [`StoreError`]. [`Store::changes`] wakes whoever waits for a committed change.
//!
//! | what | calls |
//! |---|---|
//! | join tokens | [`Store::add_join_token`], [`Store::join_tokens`], [`Store::revoke_join_token`] |
//! | hosts | [`Store::enroll`] (takes one use of a token and adds the host, at once), [`Store::host`], [`Store::hosts`], [`Store::find_host`], [`Store::evict_host`], [`Store::note_hello`], [`Store::note_seen`], [`Store::present_key`], [`Store::add_certificate`] |
//! | records | [`Store::commit_batch`], [`Store::events`], [`Store::gaps`] |
//! | incidents | [`Store::incidents`], [`Store::incident`], [`Store::close_incident`] |
//! | detections, and what people say of them | [`Store::detections`], [`Store::add_analyst_verdict`] |
//! | proposals | [`Store::waiting_proposals`] |
//! | orders | [`Store::add_order`], [`Store::order`], [`Store::orders`], [`Store::deliverable_orders`], [`Store::mark_delivered`], [`Store::expire_orders`] |
//! | isolated hosts | [`Store::is_any_isolated`], [`Store::is_released_by_order`], [`Store::peer_orders`] |
//! | places among the isolated hosts of a group | [`Store::give_places`], [`Store::places`], [`Store::add_order_within_cap`] |
//! | policies | [`Store::add_policy`], [`Store::policy_for`], [`Store::policies`] |
//! | people | [`Store::add_user`], [`Store::user`], [`Store::users`], [`Store::set_password`], [`Store::add_session`], [`Store::session_user`], [`Store::end_session`], [`Store::add_api_token`], [`Store::api_token`] |
//! | audit | [`Store::append_audit`], [`Store::audit`], [`Store::verify_audit`] |
//! | notifications | [`Store::queue_notifications`], [`Store::due_notifications`], [`Store::notification_sent`], [`Store::notification_failed`] |
//!
//! Secrets come in as [`SecretHash`] only: what opens a door is never in the database.
//! Times are the caller's argument; nothing here reads a clock. Lists are newest first and bounded
//! by the caller's `limit`, at most [`MAX_PAGE`].
#![forbid(unsafe_code)]

mod account;
mod analyst_verdict;
mod audit;
mod detection;
mod error;
mod event;
mod host;
mod incident;
mod ingest;
mod notification;
mod open;
mod order;
mod peer;
mod place;
mod policy;
mod proposal;
mod row;
mod secret;
mod token;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

pub use account::{ApiToken, NewApiToken, NewSession, NewUser, Role, User};
pub use analyst_verdict::{AnalystVerdict, Label, NewAnalystVerdict};
pub use audit::{AuditEntry, AuditHead};
pub use detection::{DetectionQuery, StoredDetection};
pub use error::{StoreError, TokenRefusal};
pub use event::{EventQuery, EventRow, Gap};
pub use host::{CertificateFacts, HelloFacts, Host, HostKey, HostRef, NewHost};
pub use incident::{
    ApprovalRow, DetectionRow, Incident, IncidentQuery, IncidentStatus, IsolationRow, MAX_FACTS,
    StopRow,
};
pub use ingest::{Committed, IncomingRecord, Reading, SequenceRange};
pub use notification::Notification;
pub use order::{OrderQuery, OrderRow, OrderStep, Undo};
pub use peer::PeerOrder;
pub use place::{PLACE_LASTS, PlaceAnswer, PlaceWanted, Places};
pub use policy::PolicyRow;
pub use proposal::ProposalRow;
pub use secret::SecretHash;
pub use token::{JoinToken, NewJoinToken};

/// Most rows that one list answers.
pub const MAX_PAGE: u32 = 1000;

pub(crate) type Result<T> = std::result::Result<T, StoreError>;

/// The database of one site. Cloning shares it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// One connection: writers queue here instead of meeting `SQLITE_BUSY` inside the database.
    writer: SqlitePool,
    /// Writers queue for the queue, so that one at most stands in it before somebody who is in a hurry.
    lane: Mutex<()>,
    /// Never waits for the writer: WAL readers see the last commit.
    readers: SqlitePool,
    changes: watch::Sender<u64>,
}

impl Store {
    /// The database's file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Counts committed changes; wakes on each. A woken reader asks again for what it wants to know.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Waits for running work and closes the files.
    pub async fn close(&self) {
        self.0.readers.close().await;
        self.0.writer.close().await;
    }

    fn readers(&self) -> &SqlitePool {
        &self.0.readers
    }

    /// A write transaction. Dropping it undoes it.
    async fn begin(&self, act: &'static str) -> Result<Transaction<'static, Sqlite>> {
        let turn = timeout(open::TURN_TIMEOUT, self.0.lane.lock()).await;
        let _lane = turn.map_err(|_| StoreError::on(act)(sqlx::Error::PoolTimedOut))?;
        self.begin_in_a_hurry(act).await
    }

    /// The same for what a host waits for in its session: behind two others at most, however many batches of records wait.
    async fn begin_in_a_hurry(&self, act: &'static str) -> Result<Transaction<'static, Sqlite>> {
        // IMMEDIATE: a transaction that reads first must not lose the race for the write lock later.
        let begun = self.0.writer.begin_with("BEGIN IMMEDIATE").await;
        begun.map_err(StoreError::on(act))
    }

    async fn commit(&self, work: Transaction<'static, Sqlite>, act: &'static str) -> Result<()> {
        work.commit().await.map_err(StoreError::on(act))?;
        self.0.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}
