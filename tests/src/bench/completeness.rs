//! What of the work made in a cgroup is seen: the same work, watched by a sensor that watches this cgroup only.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Bench;
use super::generate::Made;
use super::guard::{Duty, start_of};
use super::report::{Goal, Report};
use super::witness::Seen;
use super::work::{Load, own};

/// The fixed workload, in full detail.
pub fn run(bench: &Bench, report: &mut Report) {
    let watched = watched(bench, "whole", bench.size.work);
    let row = |report: &mut Report, metric: &str, value: fn(&Made, &Seen) -> (u64, u64)| {
        let share = watched.as_ref().map(|(made, seen)| {
            let (seen, made) = value(made, seen);
            seen as f64 / made as f64
        });
        let share = share.map_err(|error| anyhow::anyhow!("{error:#}"));
        report.add(metric, "ratio", Goal::Exactly(1.0), share);
    };
    row(report, "execs_seen", |made, seen| (seen.execs, made.execs));
    row(report, "execs_with_arguments", |made, seen| {
        (seen.with_arguments, made.execs)
    });
    row(report, "execs_with_parent", |made, seen| {
        let by = seen.by_parent.get(&made.pid);
        (by.copied().unwrap_or(0), made.execs)
    });
    row(report, "execs_with_stdio", |made, seen| {
        (seen.with_stdio, made.execs)
    });
    row(report, "connects_seen", |made, seen| {
        let ports: Vec<u16> = made.listeners.iter().map(SocketAddr::port).collect();
        (seen.connects_of(made.pid, &ports), made.connects)
    });
}

/// As many programs as this machine can start: each is seen or counted.
pub fn burst(bench: &Bench, report: &mut Report) {
    let watched = watched(bench, "burst", bench.size.burst);
    let value = |of: fn(&Made, &Seen) -> f64| match &watched {
        Ok((made, seen)) => Ok(of(made, seen)),
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    let rate = value(|made, _| made.execs as f64 / made.seconds);
    report.add("burst_rate", "exec/s", Goal::None, rate);
    let missing = value(|made, seen| made.execs as f64 - (seen.execs + seen.execs_lost()) as f64);
    report.add(
        "burst_execs_unaccounted",
        "execs",
        Goal::Exactly(0.0),
        missing,
    );
    let lost = value(|_, seen| seen.execs_lost() as f64);
    report.add("burst_execs_counted_lost", "execs", Goal::None, lost);
}

fn watched(bench: &Bench, name: &str, load: Load) -> Result<(Made, Seen)> {
    bench
        .narrator
        .note(&format!("a sensor of its own watches: {name}"));
    let run = format!("{}-{name}", bench.run);
    let mut command = own("witness")?;
    command
        .args(["--run", &run, "--cgroup"])
        .arg(&bench.place.cgroup);
    let mut witness = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let pid = witness.id() as i32;
    let duty = Duty::Process(pid, start_of(pid)?);
    bench.place.guard.undo(duty.clone())?;
    let answer = observe(bench, &mut witness, &run, load);
    if answer.is_err() {
        // Its input ends with this handle, and it with that.
        drop(witness.stdin.take());
    }
    let status = witness.wait()?;
    bench.place.guard.done(duty)?;
    let answer = answer?;
    ensure!(status.success(), "the witness failed: {status}");
    Ok(answer)
}

fn observe(bench: &Bench, witness: &mut Child, run: &str, load: Load) -> Result<(Made, Seen)> {
    let output = witness.stdout.take().context("the witness has no output")?;
    let mut output = BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line)?;
    ensure!(line == "ready\n", "the witness did not start: {line:?}");
    let made = bench.place.generate(run, load)?;
    drop(witness.stdin.take());
    let mut said = String::new();
    output.read_to_string(&mut said)?;
    let seen = serde_json::from_str(&said).with_context(|| format!("the witness said {said:?}"))?;
    Ok((made, seen))
}
