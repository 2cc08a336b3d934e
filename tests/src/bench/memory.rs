//! What the agent's memory does when somebody tries to fill it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::process::{Process, forget_peak, memory, settle};
use super::report::{Goal, Report};
use super::site::Agent;
use super::sweep::MB;
use super::work::own;
use super::{Bench, lost};
use crate::wait;

const STORM_LIMIT: Duration = Duration::from_mins(5);
const SAMPLE: Duration = Duration::from_secs(1);
/// Most processes of the fork bomb.
const BOMB: u64 = 1000;

/// Runs the storms and adds their rows.
pub fn run(bench: &Bench, report: &mut Report) {
    let goal = bench.timed(Goal::AtMost(120.0));
    let mut agent = match bench.site.start_agent() {
        Ok(agent) => agent,
        Err(error) => return report.add("rss_peak", "MB", goal, Err(error)),
    };
    let mut fullest = 0.0_f64;
    for (name, command) in storms(bench) {
        bench.narrator.note(&format!("storm: {name}"));
        let peak = command.and_then(|command| storm(bench, &mut agent, command, &mut fullest));
        report.add(
            &format!("rss_peak_{name}"),
            "MB",
            goal,
            peak.map(|peak| peak / MB),
        );
    }
    report.add(
        "fullest_cache",
        "of its bound",
        Goal::AtMost(1.0),
        Ok(fullest),
    );
    let counted = agent.status().map(|status| lost(&status) as f64);
    report.add("storms_counted_lost", "events", Goal::None, counted);
    if let Err(error) = agent.stop() {
        bench.narrator.note(&format!("{error:#}"));
    }
}

fn storms(bench: &Bench) -> Vec<(&'static str, Result<Command>)> {
    let size = &bench.size;
    let bomb = || {
        let cgroup = bench.place.bounded_cgroup(BOMB)?;
        let mut command = own("storm")?;
        let seconds = size.bomb_seconds.to_string();
        command
            .args(["bomb", "--seconds", &seconds, "--cgroup"])
            .arg(cgroup);
        Ok(command)
    };
    let processes = || {
        let mut command = own("generate")?;
        let execs = size.storm_processes.to_string();
        command.args(["--run", "storm", "--threads", "4", "--execs", &execs]);
        command.arg("--folder").arg(bench.place.work());
        Ok(command)
    };
    let paths = || {
        let mut command = own("storm")?;
        let count = size.storm_paths.to_string();
        command
            .args(["paths", "--count", &count, "--folder"])
            .arg(bench.place.work());
        Ok(command)
    };
    let sockets = || {
        let mut command = own("storm")?;
        command.args(["sockets", "--count", &size.storm_sockets.to_string()]);
        Ok(command)
    };
    vec![
        ("fork_bomb", bomb()),
        ("short_lived_processes", processes()),
        ("opened_paths", paths()),
        ("sockets", sockets()),
    ]
}

/// Peak of the agent's memory while it lasts and until what it left is dealt with.
fn storm(bench: &Bench, agent: &mut Agent, mut command: Command, fullest: &mut f64) -> Result<f64> {
    let log = bench.place.folder.join("parts.err");
    forget_peak(agent.pid())?;
    let mut storm = Process::start(bench.place.guard, &mut command, &log, Stdio::null())?;
    let mut sampled = Instant::now();
    wait::until("the end of a storm", STORM_LIMIT, || {
        agent.still_runs()?;
        if sampled.elapsed() >= SAMPLE {
            sampled = Instant::now();
            look(agent, fullest)?;
        }
        Ok(storm.still_runs().is_err().then_some(()))
    })?;
    storm.wait().with_context(|| complaint(&log))?;
    settle(&[agent.pid()])?;
    agent.still_runs()?;
    look(agent, fullest)?;
    Ok(memory(agent.pid())?.peak as f64)
}

fn complaint(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

/// How full the fullest cache is, in parts of its bound.
fn look(agent: &Agent, fullest: &mut f64) -> Result<()> {
    let status = agent.status()?;
    let caches = status["caches"].as_array();
    for cache in caches.context("the agent does not tell its caches")? {
        let number = |key: &str| cache.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
        *fullest = fullest.max(number("bytes") / number("limit_bytes").max(1.0));
    }
    Ok(())
}
