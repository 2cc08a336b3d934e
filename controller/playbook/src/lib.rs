//! Connectors and notifications.
//!
//! - [`notify`]: tells people on a chat channel or a webhook what happened and what was done.
#![forbid(unsafe_code)]

pub mod notify;
