//! Containment's bench: a lab with a real controller and agent, and packets that say from outside the host when it was
//! cut off, whether it stayed so, and when it was open again. What each row means is in docs/benchmarks.md.
//!
//! Nothing is left behind however it ends: all that runs, runs in the lab's nodes, which end with this process.

mod attack;
mod flush;
mod kills;
mod orders;
pub mod packets;
mod stage;
mod verdict;

use std::process::ExitCode;

use anyhow::{Result, ensure};

use super::claim;
use super::report::{Goal, Report, Run, percentile};
use crate::narrator::Narrator;
use stage::Stage;

/// How it is run.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: Run,
    /// Only this part: reachable, unreachable, orders, flush or kills. May be given several times.
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Draws the same attacks and moments again; another one each time unless given.
    #[arg(long)]
    seed: Option<u32>,
}

/// How often each thing is done.
struct Size {
    /// With the controller, and as often without.
    attacks: usize,
    orders: usize,
    flushes: usize,
    kills: usize,
}

const FULL: Size = Size {
    attacks: 200,
    orders: 100,
    flushes: 100,
    kills: 100,
};
const QUICK: Size = Size {
    attacks: 3,
    orders: 2,
    flushes: 2,
    kills: 4,
};

/// What every part of it works with.
struct Bench {
    stage: Stage,
    size: Size,
    seed: u64,
    quick: bool,
    narrator: Narrator,
}

impl Bench {
    /// A goal of a time, which a short run has not.
    fn timed(&self, goal: Goal) -> Goal {
        if self.quick { Goal::None } else { goal }
    }
}

type Part = fn(&mut Bench, &mut Report) -> Result<()>;

const PARTS: [(&str, &str, Part); 5] = [
    (
        "reachable",
        "attacks, the controller within reach",
        verdict::reachable,
    ),
    (
        "unreachable",
        "attacks, the controller out of reach",
        verdict::unreachable,
    ),
    ("orders", "orders of the controller", orders::run),
    ("flush", "the isolation's rules are flushed", flush::run),
    (
        "kills",
        "the agent is killed while it isolates and opens",
        kills::run,
    ),
];

/// Runs the bench. Success: what was to hold, holds.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let names = PARTS.map(|(name, ..)| name);
    let unknown = arguments
        .only
        .iter()
        .find(|only| !names.contains(&only.as_str()));
    if let Some(unknown) = unknown {
        anyhow::bail!("no part {unknown:?}, only {}", names.join(" "));
    }
    ensure!(
        nix::unistd::geteuid().is_root(),
        "run as root: the bench makes a lab of namespaces"
    );
    let _lock = claim()?;
    measure(arguments)?.conclude(arguments.run.json.as_deref())
}

fn measure(arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("contain", &arguments.run.profile, arguments.run.quick);
    let narrator = Narrator::to_stderr();
    let seed = arguments.seed.unwrap_or_else(super::seed);
    report.add("seed", "", Goal::None, Ok(f64::from(seed)));
    narrator.step(&format!(
        "a controller, an endpoint, a host outside; --seed {seed}"
    ));
    let mut bench = Bench {
        stage: Stage::up(&narrator)?,
        size: if arguments.run.quick { QUICK } else { FULL },
        seed: seed.into(),
        quick: arguments.run.quick,
        narrator,
    };
    for (name, title, part) in PARTS {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        bench.narrator.step(title);
        if let Err(error) = part(&mut bench, &mut report) {
            let log = bench.stage.fleet.agent_log(stage::HOST);
            bench.narrator.note(&format!("{error:#}\n{log}"));
            report.add(name, "", Goal::Exactly(0.0), Err(error));
            // The stage is not as the next part expects it.
            break;
        }
    }
    Ok(report)
}

/// The middle and nearly the worst of some times, milliseconds.
fn add_times(report: &mut Report, name: &str, times: &[f64], goals: [Goal; 2]) {
    for (point, share, goal) in [("p50", 0.5, goals[0]), ("p99", 0.99, goals[1])] {
        report.add(
            &format!("{name}_{point}"),
            "ms",
            goal,
            percentile(times, share),
        );
    }
}
