//! `cordon-bench`: what Cordon costs and what it sees, beside others, measured on this machine.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use cordon_tests::bench::{
    self, contain, emulated, generate, guard, judging, protect, reboot, storm, syscalls, witness,
};
use cordon_tests::eval;

/// Measures Cordon beside other tools. Needs root; leaves nothing behind.
#[derive(Parser)]
#[command(name = "cordon-bench", version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The sensor: CPU, slow-down, completeness, memory; see docs/benchmarks.md.
    Sensor(bench::Arguments),
    /// The judge: what an answer costs; see docs/benchmarks.md. Needs no root.
    Judge(judging::Arguments),
    /// The judge: what it finds and what it mistakes among stories left out; see docs/model.md. Needs no root.
    Eval(eval::Arguments),
    /// Containment: times from an attack, an order or an interference to its effect; see docs/benchmarks.md.
    Contain(contain::Arguments),
    /// Containment over reboots of an emulated machine: what leaves it while it boots; see docs/benchmarks.md.
    Reboot(emulated::Arguments),
    /// The agent's protection of itself under systemd, in an emulated machine; see docs/benchmarks.md.
    Protect(emulated::Arguments),
    #[command(hide = true)]
    Send(contain::packets::Arguments),
    #[command(hide = true)]
    Guard,
    #[command(hide = true)]
    Generate(generate::Arguments),
    #[command(hide = true)]
    Witness(witness::Arguments),
    #[command(hide = true)]
    Storm(storm::Arguments),
    #[command(hide = true)]
    Syscalls(syscalls::Arguments),
}

fn main() -> ExitCode {
    finish(run(Arguments::parse().what))
}

fn run(what: What) -> Result<ExitCode> {
    match what {
        What::Sensor(arguments) => return bench::run(&arguments),
        What::Judge(arguments) => return judging::run(&arguments),
        What::Eval(arguments) => return eval::run(&arguments),
        What::Contain(arguments) => return contain::run(&arguments),
        What::Reboot(arguments) => return reboot::run(&arguments),
        What::Protect(arguments) => return protect::run(&arguments),
        What::Send(arguments) => contain::packets::send(&arguments)?,
        What::Guard => guard::stand()?,
        What::Generate(arguments) => generate::run(&arguments)?,
        What::Witness(arguments) => witness::run(&arguments)?,
        What::Storm(arguments) => storm::run(&arguments)?,
        What::Syscalls(arguments) => syscalls::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn finish(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("cordon-bench: {error:#}");
        ExitCode::FAILURE
    })
}
