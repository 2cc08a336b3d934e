//! The behaviour model: tokenizer, networks, GGUF artifact, quantized inference and training.
//!
//! - [`text`], [`tokens`], [`facts`]: a story becomes a bounded stream of normalised pieces and a vector of typed facts.
//! - [`reads`]: which parts of a story that is, for a given model.
//! - [`levels`]: what was counted and measured, on coarse scales.
//! - [`network`], [`gate`]: the quantized networks and the linear gate before it.
//! - [`artifact`]: the files of a model, verified before anything is allocated for them.
//! - [`model`]: what the judge calls.
//! - [`tune`]: the last layer and the calibration, fitted again on a site's own labels.
//! - [`train`]: how the artifact is made; nothing of it runs in the agent.
//!
//! Absent: no clock, no network, no list of bad words. What a story means is learned.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests may"))]

pub mod artifact;
pub mod calibration;
pub mod facts;
pub mod gate;
mod hash;
pub mod levels;
pub mod lexicon;
pub mod model;
pub mod network;
pub mod place;
pub mod reads;
pub mod shape;
pub mod text;
pub mod tokens;
pub mod train;
pub mod tune;

pub use artifact::ModelError;
pub use calibration::Thresholds;
pub use model::{Assessment, Model, Part};
pub use reads::{Reads, Section};
