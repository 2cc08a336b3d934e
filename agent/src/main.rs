//! `cordon-agent`: see `cordon-agent --help` and `docs/agent.md`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use cordon_agent::cli::{self, Arguments};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match cli::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", cordon_agent::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
