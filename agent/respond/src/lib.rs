//! Pure: verdict and policy in, plan out; the isolation and order state machines.
//!
//! - [`decide`]: what a verdict may lead to under the policy. The model proposes, policy disposes.
//! - [`block`]: which remote ends of a process are blocked, and which never.
//! - [`quiet_at`]: whether a policy's quiet hours are on.
//! - [`Place`]: whether the group has room for one more isolated host.
//! - [`proposal`]: what waits for a yes, what may be carried out of it, and what happens without one.
//! - [`isolation`]: the state machine that every isolation goes through, from intent to release.
//! - [`proof`]: what counts as proof that a host is cut off.
//! - [`order`]: which orders this host obeys.
//! - [`step`]: what of those about processes, remote ends and files the policy lets be done.
//!
//! No I/O and no clock: time is an argument, and effects are returned, not done.
#![forbid(unsafe_code)]

pub mod block;
mod decision;
pub mod isolation;
pub mod order;
mod place;
pub mod proof;
pub mod proposal;
mod quiet;
pub mod step;

pub use decision::{Action, Asking, Decision, Standing, Subject, decide};
pub use place::{Place, Taken};
pub use quiet::quiet_at;
