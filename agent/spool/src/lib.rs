//! The crash-safe outbox: what the agent reports is here before it is sent, and leaves when the
//! controller has committed it.
//!
//! - [`Spool::append_all`] returns when the records are on the disk.
//! - [`Spool::pending`] hands them out, oldest boot first; [`Spool::acknowledge`] removes them.
//! - Over its quota in bytes the least important [`Class`] goes first, oldest first. What went is a
//!   [`Gap`] on the disk until [`Spool::report_gaps`] has turned it into a record of its own.
//! - A damaged database is set aside under another name, never deleted, and is a [`Gap`] too.
//!
//! Sequences are unique within a boot whatever happens to the file: see `opening.rs`.
#![forbid(unsafe_code)]

mod error;
mod opening;
mod record;
mod spool;
mod store;

pub use error::SpoolError;
pub use opening::Opened;
pub use record::{Appended, Class, Gap, Pending, Position, Stats};
pub use spool::{Options, Spool};
