//! Which orders this host obeys.

use cordon_proto::envelope::{Envelope, EnvelopeError};
use cordon_proto::id::{HostId, OrderId};
use cordon_proto::order::Order;
use cordon_proto::policy::Policy;
use jiff::Timestamp;

/// Why an order is not carried out. The text goes into the receipt.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Without a policy no key may sign anything.
    #[error("no policy is in force, so no key may sign orders")]
    NoPolicy,
    /// Not signed by any key of the policy, or not an order.
    #[error("order envelope refused")]
    Envelope(#[source] EnvelopeError),
    /// Signed by a key of the policy that may not sign this verb.
    #[error("order {order} is signed by a key that the policy does not allow to sign {verb}")]
    VerbNotAllowed {
        /// The order.
        order: OrderId,
        /// What it asks for.
        verb: &'static str,
    },
    /// Made for another host.
    #[error("order {order} is for host {found}, this is host {wanted}")]
    Audience {
        /// The order.
        order: OrderId,
        /// The host it names.
        found: HostId,
        /// This host.
        wanted: HostId,
    },
    /// Arrived too late.
    #[error("order {order} expired at {expired_at}")]
    Expired {
        /// The order.
        order: OrderId,
        /// From when on it is refused.
        expired_at: Timestamp,
    },
    /// Already carried out or refused: answer with the earlier receipt and do nothing.
    #[error("order {order} was already taken")]
    Seen {
        /// The order.
        order: OrderId,
    },
}

impl Refusal {
    /// The order that is refused, where the envelope was good enough to tell.
    pub fn order(&self) -> Option<OrderId> {
        match self {
            Self::NoPolicy | Self::Envelope(_) => None,
            Self::VerbNotAllowed { order, .. }
            | Self::Audience { order, .. }
            | Self::Expired { order, .. }
            | Self::Seen { order } => Some(*order),
        }
    }
}

/// Checks signature, verb, audience, repetition and expiry, in this order, so that nothing in an
/// envelope is believed before its signature is.
///
/// `seen` says whether the id was taken before. It is asked before expiry: a repeated order that has
/// expired meanwhile is still a repetition, answered by its receipt.
pub fn admit(
    envelope: &Envelope,
    policy: Option<&Policy>,
    host: HostId,
    seen: &dyn Fn(OrderId) -> bool,
    now: Timestamp,
) -> Result<Order, Refusal> {
    let policy = policy.ok_or(Refusal::NoPolicy)?;
    let mut keys = Vec::new();
    for verb in policy.order_keys.iter().flat_map(|key| &key.verbs) {
        keys.extend(policy.order_keys_for(verb));
    }
    let order: Order = envelope.open(&keys).map_err(Refusal::Envelope)?;
    let verb = order.verb.name();
    if envelope
        .open::<Order>(&policy.order_keys_for(verb))
        .is_err()
    {
        return Err(Refusal::VerbNotAllowed {
            order: order.id,
            verb,
        });
    }
    if order.host != host {
        return Err(Refusal::Audience {
            order: order.id,
            found: order.host,
            wanted: host,
        });
    }
    if seen(order.id) {
        return Err(Refusal::Seen { order: order.id });
    }
    if order.expires_at <= now {
        return Err(Refusal::Expired {
            order: order.id,
            expired_at: order.expires_at,
        });
    }
    Ok(order)
}
