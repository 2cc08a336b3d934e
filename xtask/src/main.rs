//! `cargo xtask`: everything a person or CI runs. No dependencies, so that it builds with nothing installed.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line tool talks to its user")]

mod bench;
mod build;
mod fuzz;
mod lint;
mod setup;
mod shell;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use setup::Purpose;
use shell::{Failure, Step, root};

const USAGE: &str = "\
cargo xtask COMMAND

  demo [--once] [--json]     the product's main job on real input: a fleet, an attack, its isolation, the release
  test                       every check and every test, as CI runs them
  lint                       clippy on everything, warnings are errors
  tidy                       check the house rules
  fuzz [TARGET ...] [--seconds N]
                             feed the decoders what nobody would write; every target for a minute unless told otherwise
  lab up|exec|cut|mend|status|down ...
                             a fleet of network namespaces on this machine (see `cargo xtask lab --help`)
  setup [--test]             install what the machine lacks to build (and to test)
  record [ARGS]              record the training scenarios in the lab (see docs/recordings.md)
  vm sensor [PROGRAM[::TEST] ...]
                             the sensor's tests, or these of them, in an emulated Debian 12 with its own kernel
  vm contain [--json FILE]   reboot an isolated Debian 12, and capture what leaves it (see docs/benchmarks.md)
  vm protect [--json FILE]   try to end the agent under systemd, and to shut its machine down (see docs/benchmarks.md)
  train [ARGS]               train the behaviour model (see docs/model.md)
  eval [ARGS]                judge what the model was not fitted on, and whole days of honest work (see docs/model.md)
  bench sensor [--json FILE] [--quick] [--only PART] [--profile release|dev]
                             measure Cordon beside other tools (see docs/benchmarks.md)
  bench judge [--json FILE] [--quick] [--profile release|dev]
                             what a verdict costs
  bench contain [--json FILE] [--quick] [--only PART] [--seed N] [--profile release|dev]
                             from an attack, an order or an interference to its effect, in the lab

Exit code 0: done, and everything held. Anything else: the last line on standard error says what did not.
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
    // Before anything is installed or built: a typing mistake is told at once.
    match command {
        "demo" => only(rest, &["--once", "--json"])?,
        "setup" => only(rest, &["--test"])?,
        "bench" => bench::check(rest)?,
        "help" | "--help" | "-h" | "test" | "ci" | "lint" | "tidy" => only(rest, &[])?,
        "fuzz" => fuzz::check(rest)?,
        "vm" => vm::check(rest)?,
        _ => {}
    }
    match command {
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        "setup" if rest.is_empty() => setup::install(Purpose::Run),
        "setup" => setup::install(Purpose::Test),
        "demo" => built(Purpose::Run, "cordon-lab", &[command], rest),
        "record" => built(Purpose::Record, "cordon-lab", &[command], rest),
        "lab" => built(Purpose::Run, "cordon-lab", &[], rest),
        "train" => train(rest),
        "eval" => eval(rest),
        "bench" => bench::run(rest),
        "test" | "ci" => test::all(),
        "fuzz" => fuzz::command(rest),
        "lint" => {
            setup::install(Purpose::Run)?;
            lint::all()
        }
        "tidy" => tidy::check(&root()),
        "vm" => vm::run(rest),
        other => Err(Failure::new(format!(
            "no command {other:?}; `cargo xtask help` lists them"
        ))),
    }
}

fn only(rest: &[String], known: &[&str]) -> Result<(), Failure> {
    match rest.iter().find(|word| !known.contains(&word.as_str())) {
        None => Ok(()),
        Some(word) if known.is_empty() => Err(Failure::new(format!("takes no {word:?}"))),
        Some(word) => Err(Failure::new(format!(
            "does not know {word:?}, only {}",
            known.join(" ")
        ))),
    }
}

/// Trains. Parts of a batch are worked on side by side already: candle's own threads, which spin while they wait, would
/// only be in their way, and a fit takes twice as long with them.
fn train(rest: &[String]) -> Result<(), Failure> {
    setup::install(Purpose::Run)?;
    build::product()?;
    let step = Step::new(build::binary("cordon-train"))
        .env("CANDLE_NUM_THREADS", "1")
        .args(rest);
    Err(step.replace())
}

/// Writes down the stories that are left out, and has them judged by the agent's own command.
fn eval(rest: &[String]) -> Result<(), Failure> {
    setup::install(Purpose::Run)?;
    build::product()?;
    let stories = bench::held_out(&build::binary("cordon-bench"))?;
    let step = Step::new(build::binary("cordon-bench"))
        .args(["eval".as_ref(), "--stories".as_ref(), stories.as_os_str()])
        .args(["--model", "agent/model/artifact"])
        .args(rest);
    Err(step.replace())
}

/// Installs what is missing, builds the product, and becomes one of its programs in the repository's
/// root: signals, standard input and the exit code are that program's own.
fn built(purpose: Purpose, program: &str, first: &[&str], rest: &[String]) -> Result<(), Failure> {
    setup::install(purpose)?;
    build::product()?;
    let step = Step::new(build::binary(program)).args(first).args(rest);
    Err(step.replace())
}
