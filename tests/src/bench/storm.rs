//! What no cache may grow with: a fork bomb, a million paths, tens of thousands of sockets.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::process;

/// Files that a part has open beside its sockets, or may have.
const SPARE_FILES: u64 = 64;
const MOST_PARTS: usize = 250;
/// What a part says when it has all of its sockets.
const HELD: &str = "held\n";

/// Which.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Kind {
    /// Forks without end, in a PID namespace that ends with its first process.
    Bomb {
        /// How long.
        #[arg(long)]
        seconds: u64,
        /// The cgroup that bounds it.
        #[arg(long)]
        cgroup: PathBuf,
    },
    /// The first process of that namespace.
    BombInside {
        /// How long.
        #[arg(long)]
        seconds: u64,
    },
    /// Makes, opens and removes files, each with a path of its own.
    Paths {
        /// How many.
        #[arg(long)]
        count: u64,
        /// Where.
        #[arg(long)]
        folder: PathBuf,
    },
    /// Opens TCP sockets, all at once, in a network namespace of its own.
    Sockets {
        /// How many: both ends count.
        #[arg(long)]
        count: u64,
    },
    /// One process's part of them, held until its input ends.
    SocketsPart {
        /// How many.
        #[arg(long)]
        count: u64,
        /// Which part.
        #[arg(long)]
        part: u8,
    },
}

/// Does it; returns when it is over.
pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.kind {
        Kind::Bomb { seconds, cgroup } => bomb(*seconds, cgroup),
        Kind::BombInside { seconds } => bomb_inside(*seconds),
        Kind::Paths { count, folder } => paths(*count, folder),
        Kind::Sockets { count } => sockets(*count),
        Kind::SocketsPart { count, part } => sockets_part(*count, *part),
    }
}

fn bomb(seconds: u64, cgroup: &Path) -> Result<()> {
    let limit = fs::read_to_string(cgroup.join("pids.max"))?;
    ensure!(limit.trim() != "max", "the bomb's cgroup has no limit");
    fs::write(cgroup.join("cgroup.procs"), "0")?;
    unshare(CloneFlags::CLONE_NEWPID).context("cannot make a PID namespace")?;
    let status = Command::new(std::env::current_exe()?)
        .args(["storm", "bomb-inside", "--seconds", &seconds.to_string()])
        .stdin(Stdio::null())
        .status()?;
    ensure!(
        status.success(),
        "the bomb's first process failed: {status}"
    );
    Ok(())
}

/// When this process ends, the kernel ends all others of the namespace.
fn bomb_inside(seconds: u64) -> Result<()> {
    ensure!(
        std::process::id() == 1,
        "not the first process of a PID namespace"
    );
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        // A shell that may not fork gives up, so the bomb is lit again and again.
        let lit = Command::new("/bin/sh")
            .args(["-c", "b() { b | b & }; b"])
            .stderr(Stdio::null())
            .status();
        // The limit may be reached: then there are forks enough.
        drop(lit);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn paths(count: u64, folder: &Path) -> Result<()> {
    for number in 0..count {
        // A thousand a folder, as a real tree would have.
        let sub = folder.join(format!("d{}", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir_all(&sub)?;
        }
        let path = sub.join(format!("file-{number}"));
        drop(fs::File::create(&path)?);
        fs::remove_file(&path)?;
        if number % 1000 == 999 || number + 1 == count {
            fs::remove_dir(&sub)?;
        }
    }
    Ok(())
}

/// Over as many processes as the limit of open files asks for: not every machine lets it be raised.
fn sockets(count: u64) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    process::read("ip", &["link", "set", "lo", "up"])?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let each = most.saturating_sub(SPARE_FILES).max(2) / 2 * 2;
    let mut parts = Vec::new();
    let mut left = count / 2 * 2;
    while left > 0 {
        ensure!(
            parts.len() < MOST_PARTS,
            "the limit of open files, {most}, is too low"
        );
        let now = left.min(each);
        parts.push(start_part(now, parts.len())?);
        left -= now;
    }
    for part in &mut parts {
        let mut line = String::new();
        let output = part.stdout.as_mut().context("a part has an output")?;
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == HELD, "sockets are missing: {line:?}");
    }
    for mut part in parts {
        // Its input ends.
        drop(part.stdin.take());
        let status = part.wait()?;
        ensure!(status.success(), "a part of the sockets failed: {status}");
    }
    Ok(())
}

fn start_part(count: u64, part: usize) -> Result<Child> {
    let (count, part) = (count.to_string(), part.to_string());
    let started = Command::new(std::env::current_exe()?)
        .args(["storm", "sockets-part", "--count", &count, "--part", &part])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    started.context("cannot start a part of the sockets")
}

fn sockets_part(count: u64, part: u8) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("cannot open that many files")?;
    let mut open = Vec::new();
    // Each address and port pair has some 28,000 ports for the other end.
    let at = |last| SocketAddr::from((Ipv4Addr::new(127, 0, part, last), 0));
    let listeners: Vec<TcpListener> = (1..=4)
        .map(|last| TcpListener::bind(at(last)))
        .collect::<std::io::Result<_>>()?;
    for number in 0..count / 2 {
        let listener = &listeners[number as usize % listeners.len()];
        open.push(TcpStream::connect(listener.local_addr()?)?);
        open.push(listener.accept()?.0);
    }
    std::io::stdout().write_all(HELD.as_bytes())?;
    // Until everybody has all of theirs, or the first process is gone.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
