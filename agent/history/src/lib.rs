//! Pure: lines of recordings and of other tools' logs in, events and stories out.
//!
//! [`History`] takes one line after the other and answers with [`Item`]s. It holds back a few seconds of a log, because
//! the records of one event lie between those of others and are not always in the order of their time; it holds a bounded
//! number of bytes, whatever the lines are. Every decoder here reads bytes that others wrote and is fuzzed.
//!
//! # Time
//!
//! A log knows the wall clock only: what it gives has `mono_ns` equal to `wall_ns`, except that `mono_ns` never goes back.
//!
//! # Processes
//!
//! A log names a process by its pid, which the kernel gives again to others. The key of a process is its pid with the start
//! time that the log tells, else with the time at which the log first names it. A pid means another process than before when
//!
//! - the log's own id of the process (Sysmon's `ProcessGuid`, OCSF's `process.uid`) is another one, or else
//! - the start time that the log tells differs by more than a second, or
//! - it executes something after its end, or does anything more than a second after its end, or
//! - somebody forks it, or
//! - it executes something and its parent is another process than before and is not pid 1, or
//! - it executes something after ten minutes of silence.
//!
//! What a log does not tell is unknown, never no: a uid that is only a name other than `root` is `u32::MAX`, the kernel's
//! own "no uid"; standard input and output are unknown.
#![forbid(unsafe_code)]

mod audit;
mod command;
mod damage;
mod format;
mod history;
mod keys;
mod laurel;
mod lenient;
mod ocsf;
mod order;
mod own;
mod seen;
mod sysmon;

pub use damage::Damage;
pub use format::{Format, UnknownFormat};
pub use history::{History, Item};
pub use own::LossLine;
