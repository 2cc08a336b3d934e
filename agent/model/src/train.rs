//! Training: data, fitting, measuring, and the artifact with its card. Run by `cordon-train`.
//!
//! One seed decides everything that is drawn. The model that is written is the model that was measured: sources and
//! families on the calibration and test sides are never fitted.

pub mod card;
pub mod data;
pub mod draw;
pub mod dress;
pub mod fit;
pub mod float;
pub mod measure;
pub mod recording;
pub mod scrub;
pub mod services;
pub mod session;
pub mod shell;
pub mod sockets;
pub mod vary;

mod run;

use std::path::PathBuf;

use clap::Parser;

use crate::artifact::ModelError;

pub use run::run;

/// Trains the behaviour model and writes its artifact.
#[derive(Parser, Clone, Debug)]
#[command(name = "cordon-train", version)]
pub struct Arguments {
    /// Directory of the public text (see docs/model.md for its sources)
    #[arg(long)]
    pub corpus: PathBuf,
    /// Directory of recordings; none is used when it does not exist
    #[arg(long, default_value = "tests/recordings")]
    pub recordings: PathBuf,
    /// Where the artifact goes
    #[arg(long, default_value = "agent/model/artifact")]
    pub out: PathBuf,
    /// Do not fit: measure and calibrate the weights of this artifact again
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Decides everything that is drawn
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Passes over freshly drawn stories
    #[arg(long, default_value_t = 6)]
    pub epochs: usize,
    /// Stories of a pass, at most
    #[arg(long, default_value_t = 24_000)]
    pub stories: usize,
}

/// Why training failed. Nothing is left half written that a loader would accept.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A file of the data cannot be read.
    #[error("cannot read training file {path}: name its directory with --corpus or --recordings")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A recording's line is not one.
    #[error("line {line} of {path} is not a recording")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Candle failed.
    #[error("the network cannot be fitted")]
    Fit(#[from] candle_core::Error),
    /// The artifact cannot be written or does not load.
    #[error("the artifact is not usable")]
    Artifact(#[from] ModelError),
    /// Weights of an earlier run were fitted on other data.
    #[error("the weights in {0} were fitted on other data: train again")]
    Changed(PathBuf),
    /// Nothing to learn from.
    #[error("no {0} stories to train on")]
    NoStories(&'static str),
}
