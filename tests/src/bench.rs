//! The sensor's bench: one run, rounds that alternate between nothing, Cordon, auditd, auditd with laurel, and
//! bpftrace, with a generator of our own. What each row means is in docs/benchmarks.md.
//!
//! Every number is measured where the bench runs. What cannot be measured there is said to be so.

mod audit;
mod completeness;
mod memory;
mod process;
pub(crate) mod report;
mod rounds;
mod site;
mod sweep;
mod tool;
mod unrelated;
mod work;

pub mod contain;
pub mod emulated;
pub mod generate;
pub mod guard;
pub mod judging;
pub mod protect;
pub mod reboot;
pub mod storm;
pub mod syscalls;
pub mod witness;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

use crate::narrator::Narrator;
use guard::{Duty, Guard};
use report::{Goal, Report, Run};
use site::Site;
use tool::Running;
use work::{Load, Place};

const LOCK: &str = "/run/cordon-bench.lock";

/// How it is run.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: Run,
    /// Only this part: rounds, whole, sweep, burst, memory or syscalls. May be given several times.
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
}

/// How much is done.
struct Size {
    rounds: usize,
    work: Load,
    rates: Vec<u64>,
    rate_seconds: u64,
    burst: Load,
    bomb_seconds: u64,
    storm_processes: u64,
    storm_paths: u64,
    storm_sockets: u64,
    syscall_rounds: usize,
    syscall_blocks: u32,
}

impl Size {
    fn full() -> Self {
        Self {
            rounds: 5,
            work: work(5000, 2000, 2000),
            rates: vec![100, 400, 1600],
            rate_seconds: 30,
            burst: burst(6),
            bomb_seconds: 10,
            storm_processes: 100_000,
            storm_paths: 1_000_000,
            storm_sockets: 50_000,
            syscall_rounds: 11,
            syscall_blocks: 150,
        }
    }

    fn quick() -> Self {
        Self {
            rounds: 1,
            work: work(300, 120, 120),
            rates: vec![100],
            rate_seconds: 2,
            burst: burst(1),
            bomb_seconds: 1,
            storm_processes: 1000,
            storm_paths: 5000,
            storm_sockets: 500,
            syscall_rounds: 1,
            syscall_blocks: 10,
        }
    }
}

fn work(execs: u64, connects: u64, files: u64) -> Load {
    Load {
        execs,
        connects,
        files,
        threads: 1,
        ..Load::default()
    }
}

/// As fast as all cores can start programs.
fn burst(seconds: u64) -> Load {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    Load {
        seconds,
        threads: 2 * cores as u64,
        ..Load::default()
    }
}

/// What every part of it works with.
struct Bench<'a> {
    run: String,
    size: Size,
    quick: bool,
    narrator: Narrator,
    site: Site<'a>,
    place: Place<'a>,
}

impl Bench<'_> {
    /// A goal of a time, which a short run has not.
    fn timed(&self, goal: Goal) -> Goal {
        if self.quick { Goal::None } else { goal }
    }
}

/// The agent's own counters; of another tool there are none.
fn counters(running: &Running) -> Result<Value> {
    match running {
        Running::Cordon(agent) => agent.status(),
        _ => Ok(json!({})),
    }
}

/// Events of a class, as `status` tells them.
fn count(status: &Value, class: &str) -> u64 {
    status["events_by_class"][class].as_u64().unwrap_or(0)
}

/// Events that the agent knows to be missing.
fn lost(status: &Value) -> u64 {
    status["events_lost"].as_u64().unwrap_or(0)
}

/// Runs the bench. Success: what was to hold, holds.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "run as root: the bench starts an agent that watches the whole machine"
    );
    check_parts(&arguments.only)?;
    let _lock = claim()?;
    let report = measure(arguments)?;
    report.conclude(arguments.run.json.as_deref())
}

fn measure(arguments: &Arguments) -> Result<Report> {
    let narrator = Narrator::to_stderr();
    let mut report = Report::new("sensor", &arguments.run.profile, arguments.run.quick);
    let guard = Guard::start()?;
    let folder = tempfile::Builder::new()
        .prefix("cordon-bench-")
        .tempdir()?
        .keep();
    guard.undo(Duty::Folder(folder.clone()))?;
    narrator.step("a controller, a policy that observes, an enrolled agent");
    let place = Place::make(&guard, &folder)?;
    let cordon = folder.join("cordon");
    let site = Site::start(&guard, &programs()?, &cordon, &place.work())?;
    let bench = Bench {
        run: run_name(),
        size: if arguments.run.quick {
            Size::quick()
        } else {
            Size::full()
        },
        quick: arguments.run.quick,
        narrator,
        place,
        site,
    };
    for (name, title, part) in PARTS {
        if arguments.only.is_empty() || arguments.only.iter().any(|only| only == name) {
            bench.narrator.step(title);
            part(&bench, &mut report);
        }
    }
    bench.narrator.step("putting the machine back as it was");
    drop(bench);
    drop(guard);
    audit::is_unused()?;
    Ok(report)
}

type Part = fn(&Bench, &mut Report);

const PARTS: [(&str, &str, Part); 6] = [
    ("whole", "how much of the work is seen", completeness::run),
    ("rounds", "the same work under each tool", rounds::run),
    ("sweep", "steady rates", sweep::run),
    ("burst", "as fast as it goes", completeness::burst),
    ("memory", "storms", memory::run),
    (
        "syscalls",
        "a workload that is none of our business",
        unrelated::run,
    ),
];

fn check_parts(only: &[String]) -> Result<()> {
    let names = PARTS.map(|(name, ..)| name);
    let unknown = only.iter().find(|only| !names.contains(&only.as_str()));
    unknown.map_or(Ok(()), |name| {
        Err(anyhow!("no part {name:?}, only {}", names.join(" ")))
    })
}

/// One bench a machine: two would measure each other.
fn claim() -> Result<Flock<File>> {
    let file = File::create(LOCK).with_context(|| format!("cannot make {LOCK}"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| anyhow!("another bench is running (it holds {LOCK}): wait for its end"))
}

/// The product's programs lie beside this one.
fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().unwrap_or(Path::new("/"));
    for name in ["cordon-agent", "cordon-controller", "cordonctl"] {
        ensure!(
            folder.join(name).exists(),
            "{name} is not beside {}: build it with `cargo xtask bench sensor`",
            own.display()
        );
    }
    Ok(folder.to_owned())
}

/// In no other run's arguments.
fn run_name() -> String {
    format!("{:x}", now_nanos() ^ u64::from(std::process::id()))
}

/// Another one each time.
fn seed() -> u32 {
    (now_nanos() / 1000) as u32
}

fn now_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}
