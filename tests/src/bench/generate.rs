//! The work: programs started with arguments that can be counted, loopback connections, files made, renamed and
//! removed. Paced when a rate is given, else as fast as it goes.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::{WaitStatus, waitpid};
use serde::{Deserialize, Serialize};

const PROGRAM: &CStr = c"/bin/true";

/// How much, and how fast.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Names the run: argument 1 of each program is `cordon-bench-RUN-NUMBER`.
    #[arg(long)]
    pub run: String,
    /// Programs to start; with a rate, the rate and the time say how many.
    #[arg(long, default_value_t = 0)]
    pub execs: u64,
    /// Connections to make, spread over the programs.
    #[arg(long, default_value_t = 0)]
    pub connects: u64,
    /// Files to make, rename and remove, spread over the programs.
    #[arg(long, default_value_t = 0)]
    pub files: u64,
    /// Programs a second; 0: as fast as it goes.
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// How long, when a rate is given or nothing is counted.
    #[arg(long, default_value_t = 0)]
    pub seconds: u64,
    /// Threads that start programs.
    #[arg(long, default_value_t = 1)]
    pub threads: u64,
    /// Where files are made.
    #[arg(long)]
    pub folder: PathBuf,
    /// cgroups to be in.
    #[arg(long)]
    pub cgroup: Vec<PathBuf>,
}

/// What was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// Programs that ran and ended well.
    pub execs: u64,
    /// Connections that were accepted.
    pub connects: u64,
    /// Files that were made, renamed and removed.
    pub files: u64,
    /// Who did it.
    pub pid: u32,
    /// Where connections went.
    pub listeners: Vec<SocketAddr>,
    /// How long it took.
    pub seconds: f64,
    /// CPU time of it, programs included.
    pub cpu_seconds: f64,
}

/// Does it and prints what was done.
pub fn run(arguments: &Arguments) -> Result<()> {
    for cgroup in &arguments.cgroup {
        fs::write(cgroup.join("cgroup.procs"), "0")
            .with_context(|| format!("cannot enter {}", cgroup.display()))?;
    }
    let doors = Doors::open()?;
    let began = Instant::now();
    let cpu = cpu_seconds()?;
    let threads = arguments.threads.max(1);
    let counts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                let addresses = doors.addresses.clone();
                scope.spawn(move || Worker::new(arguments, number, addresses).work())
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .map_err(|_| anyhow::anyhow!("a worker panicked"))?
            })
            .collect::<Result<Vec<Counts>>>()
    })?;
    let made = Made {
        execs: counts.iter().map(|count| count.execs).sum(),
        connects: counts.iter().map(|count| count.connects).sum(),
        files: counts.iter().map(|count| count.files).sum(),
        pid: std::process::id(),
        listeners: doors.addresses,
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds()? - cpu,
    };
    let line = serde_json::to_string(&made)? + "\n";
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}

/// Of this process and of all that it started.
fn cpu_seconds() -> Result<f64> {
    let mut sum = 0.0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            sum += time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        }
    }
    Ok(sum)
}

/// Listeners of both families that accept and let go.
struct Doors {
    addresses: Vec<SocketAddr>,
}

impl Doors {
    fn open() -> Result<Self> {
        let mut addresses = Vec::new();
        for any in [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        ] {
            let listener = TcpListener::bind(any).context("cannot listen on loopback")?;
            addresses.push(listener.local_addr()?);
            // Ends with the process.
            std::thread::spawn(move || listener.incoming().for_each(drop));
        }
        Ok(Self { addresses })
    }
}

#[derive(Clone, Copy, Default)]
struct Counts {
    execs: u64,
    connects: u64,
    files: u64,
}

struct Worker<'a> {
    arguments: &'a Arguments,
    number: u64,
    addresses: Vec<SocketAddr>,
    counts: Counts,
    actions: Option<PosixSpawnFileActions>,
    attributes: Option<PosixSpawnAttr>,
}

impl<'a> Worker<'a> {
    fn new(arguments: &'a Arguments, number: u64, addresses: Vec<SocketAddr>) -> Self {
        Self {
            arguments,
            number,
            addresses,
            counts: Counts::default(),
            actions: None,
            attributes: None,
        }
    }

    fn work(mut self) -> Result<Counts> {
        self.actions = Some(PosixSpawnFileActions::init()?);
        self.attributes = Some(PosixSpawnAttr::init()?);
        let Arguments {
            rate,
            seconds,
            threads,
            execs,
            connects,
            files,
            ..
        } = *self.arguments;
        let threads = threads.max(1);
        let execs = if rate > 0 { rate * seconds } else { execs };
        let share = |all: u64| all / threads + u64::from(self.number < all % threads);
        let (execs, connects, files) = (share(execs), share(connects), share(files));
        let began = Instant::now();
        let end = (seconds > 0).then(|| began + Duration::from_secs(seconds));
        let steps = execs.max(connects).max(files);
        let unbounded = steps == 0;
        let mut step = 0;
        while unbounded || step < steps {
            if unbounded && end.is_none_or(|end| Instant::now() >= end) {
                break;
            }
            if rate > 0 {
                // This thread's part of the rate.
                let due = step as f64 * threads as f64 / rate as f64;
                let due = began + Duration::from_secs_f64(due);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            // Spread evenly: one is due whenever its share of the steps passes a whole number.
            let due = |all: u64| unbounded || all * (step + 1) / steps > all * step / steps;
            if due(execs) {
                self.exec()?;
            }
            if !unbounded && due(connects) {
                self.connect()?;
            }
            if !unbounded && due(files) {
                self.file()?;
            }
            step += 1;
        }
        Ok(self.counts)
    }

    fn exec(&mut self) -> Result<()> {
        let (Some(actions), Some(attributes)) = (&self.actions, &self.attributes) else {
            bail!("the worker has not begun");
        };
        let mark = mark(&self.arguments.run, self.number, self.counts.execs);
        let mark = CString::new(mark)?;
        let argv = [PROGRAM, mark.as_c_str()];
        let env = [c"PATH=/usr/bin:/bin"];
        let pid = posix_spawn(PROGRAM, actions, attributes, &argv, &env)
            .context("cannot start /bin/true")?;
        let status = waitpid(pid, None)?;
        ensure!(
            status == WaitStatus::Exited(pid, 0),
            "/bin/true ended with {status:?}"
        );
        self.counts.execs += 1;
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        let to = self.addresses[self.counts.connects as usize % self.addresses.len()];
        drop(TcpStream::connect(to).with_context(|| format!("cannot connect to {to}"))?);
        self.counts.connects += 1;
        Ok(())
    }

    fn file(&mut self) -> Result<()> {
        let name = format!(
            "{}-{}-{}",
            self.arguments.run, self.number, self.counts.files
        );
        cycle(&self.arguments.folder, &name)?;
        self.counts.files += 1;
        Ok(())
    }
}

/// Makes, renames and removes a file.
fn cycle(folder: &Path, name: &str) -> Result<()> {
    let (first, second) = (
        folder.join(format!("{name}.part")),
        folder.join(format!("{name}.txt")),
    );
    fs::write(&first, name)?;
    fs::rename(&first, &second)?;
    Ok(fs::remove_file(&second)?)
}

/// Argument 1 of a program.
pub fn mark(run: &str, thread: u64, number: u64) -> String {
    format!("cordon-bench-{run}-{thread}-{number}")
}
