//! What an act of isolating, opening or looking came to.

use std::collections::BTreeSet;

use crate::error::ContainError;
use crate::spec::IsolationSpec;

/// Rules in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// SHA-256 of the rules as the kernel lists them, hex.
    pub rules_sha256: String,
    /// CLOCK_MONOTONIC when the transaction was through, nanoseconds: the latest moment at which the
    /// last packet can have left.
    pub dropped_at_mono_ns: u64,
    /// Raw and packet sockets are stopped too (`netdev` egress; Linux 5.16 and later).
    pub egress: bool,
    /// Bridges forward nothing, whether egress chains stop it or not.
    pub bridge: bool,
    /// Network devices that were there, loopback aside.
    pub devices: BTreeSet<String>,
    /// TCP connections that were ended.
    pub cut_sockets: usize,
    /// Conntrack entries that were deleted.
    pub cut_conntrack: usize,
    /// What could not be done beside the drop itself, in words.
    pub warnings: Vec<String>,
}

/// The kernel's rules against those that were applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Exactly what was applied, on every device.
    Whole,
    /// A table is gone, or nothing was applied yet.
    Missing,
    /// The tables are there and differ.
    Altered,
    /// A device appeared that raw senders could use.
    Uncovered {
        /// Its name.
        device: String,
    },
}

/// What a start found, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// Nothing on disk, nothing in the kernel.
    Open,
    /// On disk and whole in the kernel.
    Adopted(IsolationSpec),
    /// On disk, and not or not wholly in the kernel: applied again.
    Reapplied(IsolationSpec, Applied),
    /// A release was cut short: finished.
    Released(IsolationSpec),
    /// The file was gone or damaged; the kernel's table says what it said, and the file is back.
    FromKernel(IsolationSpec),
    /// The file was gone or damaged, and the kernel's table does not say what isolation it is: left
    /// shut. A release opens it.
    ShutUnknown {
        /// What is wrong.
        why: String,
    },
    /// The file was damaged and the kernel has no table: open. The file is kept beside.
    OpenDamaged {
        /// What is wrong.
        why: String,
    },
}

/// What a release came to: the host is open.
#[derive(Debug)]
pub struct Opened {
    /// What was released; `None` when no isolation was on disk.
    pub spec: Option<IsolationSpec>,
    /// The disk takes nothing, not even that this isolation is over: the next start would shut the host again. The way
    /// out of that is another release, once it takes something.
    pub still_on_disk: Option<ContainError>,
}
