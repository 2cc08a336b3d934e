//! Training: data, fitting, measuring, and the artifact with its card. Run by `cordon-train`.
//!
//! One seed decides everything that is drawn. The model that is written is the model that was measured: sources and
//! families on the calibration and test sides are never fitted.

pub mod adam;
pub mod card;
pub mod checkpoint;
pub mod compare;
pub mod data;
pub mod draw;
pub mod dress;
pub mod fit;
pub mod float;
pub mod lineages;
pub mod measure;
pub mod packs;
pub mod recording;
pub mod scrub;
pub mod services;
pub mod session;
pub mod shell;
pub mod sockets;
pub mod vary;

mod calibrate;
mod held_out;
mod run;

use std::path::PathBuf;

use clap::Parser;

use crate::artifact::ModelError;

pub use data::reported_as;
pub use run::run;

/// Trains the behaviour model and writes its artifact.
#[derive(Parser, Clone, Debug)]
#[command(name = "cordon-train", version)]
pub struct Arguments {
    /// Directory of the public text (see docs/model.md for its sources)
    #[arg(long, default_value = "corpus")]
    pub corpus: PathBuf,
    /// Only write the stories that are left out and are not public text, a labelled one a line, to this file
    #[arg(long)]
    pub held_out: Option<PathBuf>,
    /// Only write the stories that a model must not unlearn when a site tunes it to this file, compressed
    #[arg(long)]
    pub regression: Option<PathBuf>,
    /// Directory of recordings; none is used when it does not exist
    #[arg(long, default_value = "tests/recordings")]
    pub recordings: PathBuf,
    /// Where the artifact goes
    #[arg(long, default_value = "agent/model/artifact")]
    pub out: PathBuf,
    /// Do not fit: measure and calibrate the weights of this artifact again
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Fit each architecture, measure it on what is left out, and write `--comparison`; no artifact
    #[arg(long)]
    pub compare: bool,
    /// Where the comparison is, for the card
    #[arg(long, default_value = "agent/model/comparison.json")]
    pub comparison: PathBuf,
    /// Where a fit keeps its place after each pass; one that was cut off goes on from there
    #[arg(long, default_value = "target/train")]
    pub checkpoints: PathBuf,
    /// Leave this source out of fitting and report it (`pack:intruder`, `tldr`, `recorded:backup`); may be repeated
    #[arg(long)]
    pub without: Vec<String>,
    /// Decides everything that is drawn
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Passes over freshly drawn stories
    #[arg(long, default_value_t = 12)]
    pub epochs: usize,
    /// Stories of a pass, at most
    #[arg(long, default_value_t = 120_000)]
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
    /// A pack of ours is not one.
    #[error("pack {name} is damaged: {why}")]
    Pack {
        /// Which.
        name: &'static str,
        /// Where and why.
        why: String,
    },
    /// Candle failed.
    #[error("the network cannot be fitted")]
    Fit(#[from] candle_core::Error),
    /// The artifact cannot be written or does not load.
    #[error("the artifact is not usable")]
    Artifact(#[from] ModelError),
    /// The comparison cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A source that was to be left out is not there.
    #[error("no source is called {0}: see the sources of the model card")]
    NoSource(String),
    /// Weights of an earlier run were fitted on other data.
    #[error(
        "the weights in {0} were fitted on other data, or with other sources left out: train again"
    )]
    Changed(PathBuf),
    /// Nothing to learn from.
    #[error("no {0} stories to train on")]
    NoStories(&'static str),
}
