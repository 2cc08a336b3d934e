//! Pure: verdict and policy in, plan out; the isolation and order state machines.
//!
//! - [`decide`]: what a verdict may lead to under the policy. The model proposes, policy disposes.
//! - [`block`]: which remote ends of a process are blocked, and which never.
//! - [`isolation`]: the state machine that every isolation goes through, from intent to release.
//! - [`proof`]: what counts as proof that a host is cut off.
//! - [`order`]: which orders this host obeys.
//!
//! No I/O and no clock: time is an argument, and effects are returned, not done.
#![forbid(unsafe_code)]

pub mod block;
mod decision;
pub mod isolation;
pub mod order;
pub mod proof;

pub use decision::{Action, Decision, Standing, Subject, decide};
