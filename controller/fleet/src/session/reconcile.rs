//! What the host should have against what it has: the policy by hash, the orders by id.

use std::collections::HashSet;
use std::time::Duration;

use cordon_proto::id::OrderId;
use cordon_proto::pb::ControllerMessage;
use cordon_proto::pb::controller_message::Body as Reply;
use cordon_store::{OrderRow, StoreError};
use jiff::Timestamp;
use tokio::time::{sleep, timeout};

use super::hello::Checked;
use super::{End, REPLY_LIMIT, Session};
use crate::failure::chain;

/// After the store failed; a wake-up comes only with the next change.
const AGAIN: Duration = Duration::from_secs(5);

/// What the host has, as far as this session knows.
struct Held {
    policy_version: u64,
    policy_sha256: String,
    /// Orders that went down this very stream.
    orders: HashSet<OrderId>,
}

/// Why a round did not do all it should.
enum Trouble {
    Ended(End),
    Store(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<End> for Trouble {
    fn from(end: End) -> Self {
        Self::Ended(end)
    }
}

impl Session<'_> {
    /// Rounds without end, one for each wake-up.
    pub(super) async fn reconcile(&self, hello: &Checked) -> End {
        let mut held = Held {
            policy_version: hello.facts.policy_version,
            policy_sha256: hello.facts.policy_sha256.clone(),
            orders: HashSet::new(),
        };
        loop {
            match self.round(&mut held).await {
                Ok(()) => self.place.wake.notified().await,
                Err(Trouble::Ended(end)) => return end,
                Err(Trouble::Store(error)) => {
                    tracing::error!(host = %self.host, error = %chain(&error), "cannot look for work");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Policy first: an order may need the keys that a new policy names.
    async fn round(&self, held: &mut Held) -> Result<(), Trouble> {
        self.offer_policy(held).await?;
        let store = self.fleet.store();
        let orders = store
            .deliverable_orders(self.host, Timestamp::now())
            .await?;
        for order in orders {
            if !held.orders.contains(&order.id) {
                self.deliver(&order).await?;
                held.orders.insert(order.id);
            }
        }
        Ok(())
    }

    async fn offer_policy(&self, held: &mut Held) -> Result<(), Trouble> {
        let Some(wanted) = self.fleet.store().policy_for(&self.group).await? else {
            return Ok(());
        };
        if wanted.sha256 == held.policy_sha256 {
            return Ok(());
        }
        if wanted.policy.version < held.policy_version {
            tracing::warn!(
                host = %self.host, held = held.policy_version, ours = wanted.policy.version,
                "the host holds a newer policy than the controller; was an old backup restored?"
            );
            return Ok(());
        }
        self.reply(Reply::Policy(wanted.envelope.to_json())).await?;
        tracing::info!(host = %self.host, version = wanted.policy.version, "policy offered");
        held.policy_version = wanted.policy.version;
        held.policy_sha256 = wanted.sha256;
        Ok(())
    }

    /// `delivered` is written when the stream has room for the order, and before it goes: so the
    /// host's receipt never overtakes it.
    async fn deliver(&self, order: &OrderRow) -> Result<(), Trouble> {
        let Ok(Ok(room)) = timeout(REPLY_LIMIT, self.replies.reserve()).await else {
            return Err(End::Left.into());
        };
        let store = self.fleet.store();
        store.mark_delivered(order.id, Timestamp::now()).await?;
        let body = Some(Reply::Order(order.envelope.to_json()));
        room.send(Ok(ControllerMessage { body }));
        tracing::info!(host = %self.host, order = %order.id, "order delivered");
        Ok(())
    }
}
