//! Who ordered what the agent does, for its records.

use cordon_proto::order::Order;
use cordon_proto::record::Ordered;

/// An order, as far as records tell of it.
#[derive(Clone, Debug)]
pub struct By {
    /// Which, and by whom.
    pub ordered: Ordered,
    /// Why, in words that say who wanted it.
    pub reason: String,
    /// Policy version that allows it.
    pub policy_version: u64,
}

impl By {
    /// Of an order that was admitted under this policy.
    pub fn of(order: &Order, policy_version: u64) -> Self {
        Self {
            ordered: Ordered {
                order: order.id,
                by: order.requested_by.clone(),
                undoes: order.undoes,
            },
            reason: format!("ordered by {}: {}", order.requested_by, order.reason),
            policy_version,
        }
    }
}
