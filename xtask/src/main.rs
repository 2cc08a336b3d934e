//! `cargo xtask`: everything a person or CI runs. No dependencies, so that it builds with nothing installed.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line tool talks to its user")]

mod build;
mod setup;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use shell::{Failure, Step, root};

const USAGE: &str = "\
cargo xtask COMMAND

  demo [--once] [--json]     the product's main job on real input: a fleet, an attack, its isolation, the release
  test                       every test, as CI runs them
  lab up|exec|cut|mend|status|down ...
                             a fleet of network namespaces on this machine (see `cargo xtask lab --help`)
  setup [--test]             install what the machine lacks to build (and to test)
  record [ARGS]              record the training scenarios in the lab (see docs/recordings.md)
  train [ARGS]               train the behaviour model (see docs/model.md)
  tidy                       check the house rules
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    match run(command, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask {command}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, rest: &[String]) -> Result<(), Failure> {
    match command {
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        "setup" => setup::install(setup::Purpose::from_arguments(rest)?),
        "demo" => {
            setup::install(setup::Purpose::Run)?;
            build::product()?;
            lab("demo", rest)
        }
        "lab" => {
            setup::install(setup::Purpose::Run)?;
            build::product()?;
            Step::new(build::binary("cordon-lab")).args(rest).run()
        }
        "record" => {
            setup::install(setup::Purpose::Run)?;
            build::product()?;
            lab("record", rest)
        }
        "train" => train(rest),
        "test" | "ci" => test::all(),
        "tidy" => tidy::check(&root()),
        other => Err(Failure::new(format!(
            "no command {other:?}; `cargo xtask help` lists them"
        ))),
    }
}

fn lab(command: &str, rest: &[String]) -> Result<(), Failure> {
    Step::new(build::binary("cordon-lab"))
        .arg(command)
        .args(rest)
        .run()
}

fn train(rest: &[String]) -> Result<(), Failure> {
    Step::new("cargo")
        .args([
            "run",
            "--package",
            "cordon-model",
            "--bin",
            "cordon-train",
            "--",
        ])
        .args(rest)
        .run()
}
