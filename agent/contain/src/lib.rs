//! Effects: cutting a host off the network, proving it, and opening it again.
//!
//! - [`Containment`]: isolate, verify, repair, release; the state on disk comes before the drop.
//! - [`NftWatch`]: wakes when somebody changes our tables, or a network device comes or goes.
//! - [`ProbeTarget`] and [`Containment::prove`]: the evidence.
//!
//! What passes and what does not is written in `rules.rs`, and for people in `docs/containment.md`.
//! Everything works on the network namespace that the calling process is in, and on no other.

mod chains;
mod clock;
mod containment;
mod error;
mod flows;
mod listing;
mod netlink;
mod nft;
mod probe;
mod rules;
mod spec;
mod state;
mod watch;

pub use clock::monotonic_ns;
pub use containment::{Applied, Containment, Health, Recovered, supported};
pub use error::ContainError;
pub use probe::ProbeTarget;
pub use spec::IsolationSpec;
pub use watch::NftWatch;
