//! Pure: events in, process graph and each tree's Story out.
//!
//! No clock, no disk, no runtime: time arrives inside the events.
//!
//! [`Behavior::apply`] takes what a sensor saw and answers which processes are worth judging now;
//! [`Behavior::story`] writes down what is known of one of them: what it and its descendants did,
//! and the flows and names of its nearest makers. Memory is bounded in bytes by
//! [`Limits`], whatever the events are: the ended processes that nobody descends from go first.
#![forbid(unsafe_code)]

mod assemble;
mod capabilities;
pub mod event;
mod graph;
mod kinship;
mod limits;
pub mod story;

pub use graph::{Behavior, Trigger};
pub use limits::Limits;
