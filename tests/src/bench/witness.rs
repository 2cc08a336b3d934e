//! Cordon's sensor in a process of its own that watches one cgroup: what of the work made there is seen, and
//! how well. Nothing else runs in the cgroup, so made and seen can be compared to the last one.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cordon_behavior::story::StdioKind;
use cordon_sensor::{CLASSES, Event, EventBody, Exec, Mode, Scope, Sensor, SensorConfig};
use serde::{Deserialize, Serialize};

use crate::wait;

const QUIET: Duration = Duration::from_millis(500);
const QUIET_LIMIT: Duration = Duration::from_mins(1);
/// What the generator starts its programs with.
const STDIO: [StdioKind; 3] = [StdioKind::Null, StdioKind::Pipe, StdioKind::File];

/// What to watch.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The cgroup.
    #[arg(long)]
    pub cgroup: PathBuf,
    /// The run whose programs are counted.
    #[arg(long)]
    pub run: String,
}

/// What was seen of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// The run's programs, each once.
    pub execs: u64,
    /// Of those, with all of their arguments and the path of the program.
    pub with_arguments: u64,
    /// Of those, by the pid of the parent that was told.
    pub by_parent: BTreeMap<u32, u64>,
    /// Of those, with descriptors 0, 1 and 2 as they were.
    pub with_stdio: u64,
    /// Connections by process and port of the other end.
    pub connects: BTreeMap<String, u64>,
    /// Events handed over, by class.
    pub by_class: BTreeMap<String, u64>,
    /// Events counted and not handed over, by source.
    pub losses: BTreeMap<String, u64>,
}

impl Seen {
    /// Programs counted and not handed over.
    pub fn execs_lost(&self) -> u64 {
        let of_exec = |(source, _): &(&String, &u64)| source.ends_with("/exec");
        self.losses
            .iter()
            .filter(of_exec)
            .map(|(_, count)| count)
            .sum()
    }

    /// Connections of a process to one of these ports.
    pub fn connects_of(&self, pid: u32, ports: &[u16]) -> u64 {
        let count = |port: &u16| self.connects.get(&flow(pid, *port)).copied().unwrap_or(0);
        ports.iter().map(count).sum()
    }
}

/// Says `ready`, watches until standard input ends, waits until no more comes, and prints what was seen.
pub fn run(arguments: &Arguments) -> Result<()> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mark = format!("cordon-bench-{}-", arguments.run);
    let taking = Arc::clone(&seen);
    let config = SensorConfig {
        scope: Scope::Cgroup(arguments.cgroup.clone()),
        mode: Mode::Ebpf,
        ..SensorConfig::default()
    };
    let sensor = Sensor::start(config, move |event| {
        let mut seen = taking.lock().unwrap_or_else(PoisonError::into_inner);
        take(&mut seen, &event, &mark);
    });
    let sensor = sensor.map_err(|error| anyhow::anyhow!(error.chain()))?;
    say("ready")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    wait_quiet(&sensor)?;
    let mut seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    let counts = sensor.counters().by_class;
    seen.by_class = CLASSES
        .iter()
        .map(|class| (*class).to_owned())
        .zip(counts)
        .collect();
    seen.losses = sensor.losses().into_iter().collect();
    say(&serde_json::to_string(&seen)?)
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    out.flush().context("nobody listens to the witness")
}

fn wait_quiet(sensor: &Sensor) -> Result<()> {
    let mut before = sensor.counters();
    wait::until("the end of the events", QUIET_LIMIT, || {
        std::thread::sleep(QUIET);
        let now = sensor.counters();
        let is_quiet = now == before;
        before = now;
        Ok(is_quiet.then_some(()))
    })
}

fn take(seen: &mut Seen, event: &Event, mark: &str) {
    match &event.body {
        EventBody::Exec(exec) if !exec.snapshot && is_of(exec, mark) => program(seen, exec),
        EventBody::Connect { remote } => {
            let flow = flow(event.process.pid, remote.port());
            *seen.connects.entry(flow).or_default() += 1;
        }
        _ => {}
    }
}

fn is_of(exec: &Exec, mark: &str) -> bool {
    let first = exec.argv.get(1);
    first.is_some_and(|argument| argument.starts_with(mark))
}

fn program(seen: &mut Seen, exec: &Exec) {
    seen.execs += 1;
    let is_whole = exec.argv.len() == 2 && exec.argv[0] == "/bin/true" && !exec.argv_truncated;
    seen.with_arguments += u64::from(is_whole && exec.exe.ends_with("/true"));
    seen.with_stdio += u64::from(exec.stdio == STDIO);
    if let Some(parent) = exec.parent {
        *seen.by_parent.entry(parent.pid).or_default() += 1;
    }
}

fn flow(pid: u32, port: u16) -> String {
    format!("{pid}:{port}")
}
