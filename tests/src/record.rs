//! Training recordings: every scenario of `tests/scenarios` run in a disposable node and watched by our own sensor.
//!
//! One variant of one scenario has one node with namespaces and an overlay of its own, and one recorder in a PID
//! namespace of its own: what the recorder sees belongs to that variant, whatever else the machine does. Which stories
//! carry the attack follows from the process tree (how deep below the recorder's child a process was forked), never
//! from the clock. See `docs/recordings.md`.

mod chain;
mod draw;
mod kit;
mod label;
mod manifest;
mod node;
mod peers;
mod plan;
mod recorder;
mod rng;
mod store;
mod work;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use clap::Args;

pub use manifest::{Label, Scenario};
pub use recorder::watch;
pub(crate) use rng::Rng;
pub use store::Line;
pub(crate) use store::read_all as read_recordings;

/// `cordon-lab record`.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Where the recordings go, one compressed file a family
    #[arg(long, default_value = "tests/recordings")]
    out: PathBuf,
    /// Where the scenarios are
    #[arg(long, default_value = "tests/scenarios")]
    scenarios: PathBuf,
    /// Only scenarios whose name or family starts with this
    #[arg(long)]
    only: Option<String>,
    /// List the scenarios and stop
    #[arg(long)]
    list: bool,
    /// Nodes at one time
    #[arg(long, default_value_t = 3)]
    jobs: usize,
    /// At most this many variants of each scenario
    #[arg(long)]
    variants: Option<u32>,
    /// Seed of ports, addresses, paths, users, chains
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run the scenarios and print what each node said, record nothing
    #[arg(long)]
    dry_run: bool,
}

/// Records the scenarios that `arguments` select.
pub fn run(arguments: &Arguments) -> Result<()> {
    let manifest = manifest::Manifest::load(&arguments.scenarios)?;
    let chosen: Vec<&Scenario> = manifest
        .scenarios
        .iter()
        .filter(|scenario| scenario.matches(arguments.only.as_deref()))
        .collect();
    if chosen.is_empty() {
        bail!("no scenario starts with {:?}: see --list", arguments.only);
    }
    if arguments.list {
        list(&chosen);
        return Ok(());
    }
    let bench = node::Bench::prepare(&arguments.scenarios)?;
    let mut plans = Vec::new();
    for scenario in &chosen {
        if let Some(tool) = bench.lacks(&scenario.needs) {
            eprintln!("{} is left out: there is no {tool}", scenario.name);
            continue;
        }
        let count = arguments
            .variants
            .unwrap_or(u32::MAX)
            .min(scenario.variants);
        for index in 0..count {
            plans.push(plan::Plan::draw(
                scenario,
                &manifest.chains,
                index,
                arguments.seed,
            )?);
        }
    }
    let recorded = record_all(&plans, &bench, arguments);
    report(&chosen, &recorded);
    if arguments.dry_run {
        return Ok(());
    }
    store::write(&arguments.out, recorded, arguments.only.is_some())
}

#[expect(clippy::print_stdout, reason = "a command line tool talks to its user")]
fn list(scenarios: &[&Scenario]) {
    for scenario in scenarios {
        println!(
            "{:32} {:16} {:6} {:24} x{}",
            scenario.name,
            scenario.family,
            scenario.label.name(),
            scenario.techniques.join(","),
            scenario.variants,
        );
    }
}

fn record_all(plans: &[plan::Plan], bench: &node::Bench, arguments: &Arguments) -> Vec<Line> {
    let next = AtomicUsize::new(0);
    let lines = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = bench.run(plan, arguments.dry_run).with_context(|| {
                        format!("record {} variant {}", plan.scenario, plan.variant)
                    });
                    match outcome {
                        Ok(mut new) => {
                            let work = new.iter().filter(|line| line.label != label::CONTEXT);
                            eprintln!(
                                "{} {} {}: {} stories, {} of the work",
                                plan.scenario,
                                plan.variant,
                                plan.chain,
                                new.len(),
                                work.count()
                            );
                            if let Ok(mut lines) = lines.lock() {
                                lines.append(&mut new);
                            }
                        }
                        Err(error) => eprintln!("{error:#}"),
                    }
                }
            });
        }
    });
    lines.into_inner().unwrap_or_default()
}

fn report(scenarios: &[&Scenario], lines: &[Line]) {
    let mut per_label: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        *per_label.entry(line.label.as_str()).or_default() += 1;
    }
    eprintln!(
        "{} scenarios, {} stories: {per_label:?}",
        scenarios.len(),
        lines.len()
    );
    for scenario in scenarios {
        let mine = lines.iter().filter(|line| line.scenario == scenario.name);
        let carrying = mine
            .filter(|line| line.label == scenario.label.name())
            .count();
        if carrying == 0 {
            eprintln!(
                "{}: nothing recorded that is {}",
                scenario.name,
                scenario.label.name()
            );
        }
    }
}
