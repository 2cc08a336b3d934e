//! Pure: Story in, verdict out: cache, rules, gate, model, calibration, reasons.
//!
//! No clock, no disk, no network: the model was loaded by the caller, and [`Verdict::micros`] is 0
//! for the caller to fill in.
//!
//! Cheapest first: a story that was read before is answered from the cache; rules and indicators
//! answer for what is certain ([`Floor`]); the model's gate answers for what is far below suspicion;
//! its network answers for the rest ([`Judge`]). [`Cascade`] has them all. A verdict of
//! `suspicious` or worse carries reasons, found by asking the model again without parts of the
//! story; the module `reasons` says how their weights are to be read.
//!
//! What the other steps of a story's process tree were like is evidence too (the module `risk`): a doubtful step among
//! others is an attack's, one among harmless ones is not.
//! Where the network has less time than there are stories the riskiest come first (the module `queue`).
//!
//! A story that lacks what a judgement needs, and a score that is not a number, are
//! `not_evaluable`: never benign.
//!
//! [`Verdict::micros`]: cordon_proto::verdict::Verdict::micros
#![forbid(unsafe_code)]

mod cache;
mod cascade;
mod combine;
mod evaluable;
mod fact;
mod fingerprint;
mod floor;
mod front;
mod judge;
mod occlude;
mod part;
mod queue;
mod reasons;
mod risk;
mod wording;

pub use cascade::{Cascade, StoryPrint, Told};
pub use fingerprint::Fingerprint;
pub use floor::{Around, Floor, QUIET_BYTES};
pub use judge::{Counters, Judge, Options};
pub use queue::{Budget, Queue, Waiting};
pub use risk::{Risks, TreeRisk};
