//! Orders: typed, signed with the controller's online key, and only what the group's policy lets
//! that key sign. The agent checks the same again.

use std::time::Duration;

use cordon_proto::envelope::sign;
use cordon_proto::id::{HostId, OrderId};
use cordon_proto::order::{Form, Order, OrderState, Verb};
use cordon_store::{Host, HostRef, OrderRow, StoreError, Undo};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout_at};

use crate::Fleet;

/// How long an order may wait for its host, unless asked otherwise.
pub const ORDER_LIFETIME: SignedDuration = SignedDuration::from_mins(10);
const LONGEST_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 30);
const LONGEST_REASON: usize = 1000;

/// What somebody wants a host to do.
#[derive(Clone, Debug)]
pub struct OrderRequest {
    /// Which host.
    pub host: HostId,
    /// What.
    pub verb: Verb,
    /// Why; at most 1000 characters.
    pub reason: String,
    /// Account that asks.
    pub requested_by: String,
    /// [`ORDER_LIFETIME`] unless there is a reason; at most 30 days.
    pub lifetime: SignedDuration,
    /// The order that it undoes.
    pub undoes: Option<OrderId>,
}

/// Why there is no such order.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Not in the fleet.
    #[error("there is no host {0}")]
    UnknownHost(HostId),
    /// Was turned out.
    #[error("host {0} was evicted and takes no orders")]
    Evicted(HostId),
    /// Nobody could read that.
    #[error("the reason has {0} characters, at most {LONGEST_REASON} are kept")]
    LongReason(usize),
    /// Not a time from now.
    #[error("an order may wait from a second to 30 days")]
    Lifetime,
    /// The agent would refuse it.
    #[error(
        "the policy of group {group} does not let this controller's key sign {verb:?}; push a policy that lists the key under order_keys with that verb"
    )]
    NotAllowed {
        /// The host's group.
        group: String,
        /// Name of the verb.
        verb: &'static str,
    },
    /// As many hosts of the group are isolated as its policy lets be at one time.
    #[error(
        "group {group} has no place for one more isolated host (caps.hosts_at_once): {} are or are about to be, {}; release one, or say --beyond-cap (beyond_cap in REST), which goes into the audit trail",
        taken.len(), names(taken)
    )]
    NoPlace {
        /// The host's group.
        group: String,
        /// Who has the places.
        taken: Vec<HostRef>,
    },
    /// No such order.
    #[error("there is no order {0}")]
    UnknownOrder(OrderId),
    /// It is not written as it must be.
    #[error(transparent)]
    Form(#[from] Form),
    /// Nothing undoes it, or not now.
    #[error("order {id} cannot be undone: {why}")]
    NotUndoable {
        /// The order.
        id: OrderId,
        /// Why.
        why: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether the policy's cap on isolated hosts of a group holds for an order to isolate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cap {
    Kept,
    Passed,
}

impl Fleet {
    /// Signs and queues an order and wakes its host's session. The order is on the disk on return. One to isolate takes
    /// one of the places that the group's policy has for isolated hosts, where it counts them.
    pub async fn create_order(&self, request: OrderRequest) -> Result<OrderRow, OrderError> {
        self.create(request, Cap::Kept).await
    }

    /// The same, whoever has the places. That the cap was not asked for is in the audit trail.
    pub async fn create_order_beyond_cap(
        &self,
        request: OrderRequest,
    ) -> Result<OrderRow, OrderError> {
        self.create(request, Cap::Passed).await
    }

    async fn create(&self, request: OrderRequest, cap: Cap) -> Result<OrderRow, OrderError> {
        let now = Timestamp::now();
        check(&request)?;
        let host = self.orderable_host(request.host).await?;
        self.check_allowed(&host, &request.verb).await?;
        let order = Order {
            id: OrderId::generate(),
            host: request.host,
            verb: request.verb,
            reason: request.reason,
            requested_by: request.requested_by,
            issued_at: now,
            expires_at: now
                .checked_add(request.lifetime)
                .map_err(|_| OrderError::Lifetime)?,
            undoes: request.undoes,
        };
        let mut target = in_the_trail(&order, &host.name);
        if cap == Cap::Passed {
            target += ", beyond the cap on isolated hosts";
        }
        self.keep(&order, host, cap).await?;
        self.0.live.wake(order.host);
        self.audit(&order.requested_by, "order.create", &target)
            .await;
        self.find_order(order.id).await
    }

    async fn keep(&self, order: &Order, host: Host, cap: Cap) -> Result<(), OrderError> {
        let envelope = sign(order, &self.0.site.order_key);
        if cap == Cap::Passed || !matches!(order.verb, Verb::Isolate { .. }) {
            return Ok(self.store().add_order(order, &envelope).await?);
        }
        match self.store().add_order_within_cap(order, &envelope).await? {
            None => Ok(()),
            Some(taken) => Err(OrderError::NoPlace {
                group: host.group,
                taken,
            }),
        }
    }

    /// Orders a host to undo what another order had it do.
    pub async fn undo_order(
        &self,
        id: OrderId,
        reason: String,
        requested_by: String,
    ) -> Result<OrderRow, OrderError> {
        let order = self.find_order(id).await?;
        let verb = undo_of(&order).map_err(|why| OrderError::NotUndoable { id, why })?;
        self.create_order(OrderRequest {
            host: order.host.id,
            verb,
            reason,
            requested_by,
            lifetime: ORDER_LIFETIME,
            undoes: Some(id),
        })
        .await
    }

    /// Waits until an order stands in a final state, at most `limit`, and answers how it stands then.
    pub async fn wait_final(&self, id: OrderId, limit: Duration) -> Result<OrderRow, OrderError> {
        let deadline = Instant::now() + limit;
        let mut changes = self.store().changes();
        loop {
            // Seen before the read: a change that comes after it wakes.
            changes.borrow_and_update();
            let order = self.find_order(id).await?;
            if order.state.is_final() {
                return Ok(order);
            }
            match timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(order),
            }
        }
    }

    async fn find_order(&self, id: OrderId) -> Result<OrderRow, OrderError> {
        let found = self.store().order(id).await?;
        found.ok_or(OrderError::UnknownOrder(id))
    }

    async fn orderable_host(&self, id: HostId) -> Result<Host, OrderError> {
        let host = self.store().host(id).await?;
        let host = host.ok_or(OrderError::UnknownHost(id))?;
        if host.evicted_at.is_some() {
            return Err(OrderError::Evicted(id));
        }
        Ok(host)
    }

    async fn check_allowed(&self, host: &Host, verb: &Verb) -> Result<(), OrderError> {
        let policy = self.store().policy_for(&host.group).await?;
        let ours = self.0.site.order_key.verifying_key();
        let allowed = policy.is_some_and(|row| {
            let keys = row.policy.order_keys_for(verb.name());
            keys.contains(&ours)
        });
        if allowed {
            return Ok(());
        }
        Err(OrderError::NotAllowed {
            group: host.group.clone(),
            verb: verb.name(),
        })
    }
}

/// Some of them; endpoint text.
fn names(hosts: &[HostRef]) -> String {
    const NAMED: usize = 8;
    let name = |host: &HostRef| format!("{:?}", host.name.chars().take(64).collect::<String>());
    let named: Vec<String> = hosts.iter().take(NAMED).map(name).collect();
    let more = if hosts.len() > NAMED { ", ..." } else { "" };
    format!("{}{more}", named.join(", "))
}

/// What undoes an order as it stands, or why nothing does.
pub fn undo_of(order: &OrderRow) -> Result<Verb, String> {
    let verb = order.verb.undo(order.id);
    let verb = verb.ok_or_else(|| format!("nothing undoes {}", order.verb.name()))?;
    match (order.state, order.undo) {
        (_, Some(Undo { id, state })) if !is_in_vain(state) => {
            Err(format!("order {id} does so already"))
        }
        // What failed may have been done in part.
        (OrderState::Done | OrderState::Failed, _) => Ok(verb),
        _ => Err("the host has not said that it was done".to_owned()),
    }
}

fn is_in_vain(state: OrderState) -> bool {
    matches!(
        state,
        OrderState::Failed | OrderState::Refused | OrderState::Expired
    )
}

fn in_the_trail(order: &Order, host_name: &str) -> String {
    let subject = match order.verb.subject() {
        subject if subject.is_empty() => subject,
        subject => format!(" {subject:?} on"),
    };
    let undoes = order
        .undoes
        .map_or_else(String::new, |id| format!(", undoes order {id}"));
    format!(
        "{}{subject} {} ({host_name:?}), order {}{undoes}: {:?}",
        order.verb.name(),
        order.host,
        order.id,
        order.reason
    )
}

fn check(request: &OrderRequest) -> Result<(), OrderError> {
    request.verb.check()?;
    let length = request.reason.chars().count();
    if length > LONGEST_REASON {
        return Err(OrderError::LongReason(length));
    }
    if request.lifetime < SignedDuration::from_secs(1) || request.lifetime > LONGEST_LIFETIME {
        return Err(OrderError::Lifetime);
    }
    Ok(())
}
