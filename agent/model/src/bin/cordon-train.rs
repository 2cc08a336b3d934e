//! Trains the behaviour model and writes its artifact: `cargo xtask train`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use cordon_model::train::{Arguments, run};

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cordon-train: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
