//! Whether a workload of nothing but system calls notices that the agent is there.

use anyhow::Result;

use super::Bench;
use super::report::{Goal, Report, median};
use super::syscalls::Speed;
use super::work::own;

/// With and without the agent, many times in turn.
pub fn run(bench: &Bench, report: &mut Report) {
    let slower = (0..bench.size.syscall_rounds)
        .map(|number| pair(bench, number))
        .collect::<Result<Vec<f64>>>();
    let slower = slower.and_then(|all| median(&all));
    let goal = bench.timed(Goal::Below(1.0));
    report.add("unrelated_syscalls_slowdown", "%", goal, slower);
}

fn pair(bench: &Bench, number: usize) -> Result<f64> {
    bench
        .narrator
        .note(&format!("system calls, pair {}", number + 1));
    let alone_first = number.is_multiple_of(2);
    let early = alone_first.then(|| speed(bench)).transpose()?;
    let agent = bench.site.start_agent()?;
    let watched = speed(bench)?;
    agent.stop()?;
    let alone = match early {
        Some(speed) => speed,
        None => speed(bench)?,
    };
    Ok((watched / alone - 1.0) * 100.0)
}

fn speed(bench: &Bench) -> Result<f64> {
    let mut command = own("syscalls")?;
    command.args(["--blocks", &bench.size.syscall_blocks.to_string()]);
    let speed: Speed = bench.place.answer(&mut command)?;
    Ok(speed.nanoseconds)
}
