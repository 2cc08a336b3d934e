//! Effects: cutting a host off the network, stopping processes, proving it, and undoing it.
//!
//! - [`Containment`]: isolate, verify, repair, release; the state on disk comes before the drop.
//! - [`NftWatch`]: wakes when somebody changes our tables, or a network device comes or goes.
//! - [`Blocks`]: remote ends and isolated hosts of the fleet that are blocked for a time, apart from any isolation of this host.
//! - [`Trees`]: a process and everything that descends from it, frozen, thawed or killed.
//! - [`Cuts`]: the same, cut off the network while the rest of the host is not.
//! - [`Quarantine`]: files taken out of reach, sealed, and put back as they were.
//! - [`leftovers`]: what of all that is in the kernel.
//! - [`ProbeTarget`] and [`Containment::prove`]: the evidence.
//!
//! What passes and what does not is written in `rules.rs`, and for people in `docs/containment.md`.
//! What is about the network works on the network namespace that the calling process is in, and on no other.

mod blocks;
mod chains;
mod clock;
mod containment;
mod error;
mod flows;
mod hold;
mod leftovers;
mod listing;
mod netlink;
mod nft;
mod outcome;
mod probe;
mod quarantine;
mod rules;
mod spec;
mod state;
mod surroundings;
mod tree;
mod watch;

pub use blocks::{Block, Blocked, Blocks, MOST_BLOCKS, Peer};
pub use clock::{Moment, boottime_ns, monotonic_ns};
pub use containment::{Containment, supported};
pub use error::ContainError;
pub use leftovers::{is_isolated_in_kernel, leftovers};
pub use outcome::{Applied, Health, Opened, Recovered};
pub use probe::ProbeTarget;
pub use quarantine::{
    Facts, Held, MAX_FILE_BYTES, MOST_FILES, Quarantine, QuarantineError, Wanted,
};
pub use spec::IsolationSpec;
pub use tree::{CutOff, Cuts, HeldProcess, Maker, Stopped, Tree, Trees};
pub use watch::NftWatch;
