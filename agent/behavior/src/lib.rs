//! Pure: events in, process graph and each tree's Story out.
//!
//! No clock, no disk, no runtime: time arrives inside the events.
#![forbid(unsafe_code)]

pub mod event;
pub mod story;
