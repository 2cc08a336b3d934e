//! Running the generator, and the cgroups that it runs in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;

use super::generate::Made;
use super::guard::{Duty, Guard};
use super::process::Process;

/// How much work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Programs.
    pub execs: u64,
    /// Connections.
    pub connects: u64,
    /// Files.
    pub files: u64,
    /// Programs a second; 0: as fast as it goes.
    pub rate: u64,
    /// How long, when it is not counted.
    pub seconds: u64,
    /// Threads.
    pub threads: u64,
}

/// Where the bench works.
pub struct Place<'a> {
    /// The guard.
    pub guard: &'a Guard,
    /// Folder of all that is written.
    pub folder: PathBuf,
    /// The generator's cgroup (version 2): nobody else is in it.
    pub cgroup: PathBuf,
}

impl<'a> Place<'a> {
    /// Makes the folder's parts and the cgroup.
    pub fn make(guard: &'a Guard, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("work"))?;
        let cgroup = cgroup2()?.join(format!("cordon-bench-{}", std::process::id()));
        fs::create_dir(&cgroup)
            .with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
        guard.undo(Duty::Cgroup(cgroup.clone()))?;
        Ok(Self {
            guard,
            folder: folder.to_owned(),
            cgroup,
        })
    }

    /// Where the generator makes its files.
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// A cgroup in which there can be at most so many processes.
    pub fn bounded_cgroup(&self, most: u64) -> Result<PathBuf> {
        let parents = [PathBuf::from("/sys/fs/cgroup/pids"), cgroup2()?];
        for parent in parents {
            let path = parent.join(format!("cordon-bench-bomb-{}", std::process::id()));
            if parent.join("cgroup.procs").exists() && fs::create_dir(&path).is_ok() {
                self.guard.undo(Duty::Cgroup(path.clone()))?;
                if fs::write(path.join("pids.max"), most.to_string()).is_ok() {
                    return Ok(path);
                }
            }
        }
        bail!("no cgroup here bounds the number of processes (controller pids)")
    }

    /// Does the work and returns what was done.
    pub fn generate(&self, run: &str, load: Load) -> Result<Made> {
        let mut command = own("generate")?;
        command
            .args(["--run", run])
            .arg("--folder")
            .arg(self.work());
        command.arg("--cgroup").arg(&self.cgroup);
        for (option, value) in [
            ("--execs", load.execs),
            ("--connects", load.connects),
            ("--files", load.files),
            ("--rate", load.rate),
            ("--seconds", load.seconds),
            ("--threads", load.threads),
        ] {
            command.arg(option).arg(value.to_string());
        }
        self.answer(&mut command)
    }

    /// Runs one of the bench's own parts to its end and reads what it printed.
    pub fn answer<T: DeserializeOwned>(&self, command: &mut Command) -> Result<T> {
        let log = self.folder.join("parts.err");
        let mut process = Process::start(self.guard, command, &log, Stdio::piped())?;
        let mut output = process.output()?;
        let said = std::io::read_to_string(&mut output)?;
        process
            .wait()
            .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        serde_json::from_str(&said).with_context(|| format!("a part of the bench said {said:?}"))
    }
}

/// A part of the bench, as a process of its own.
pub fn own(part: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(part);
    Ok(command)
}

fn cgroup2() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mount = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_, path, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    });
    mount.context("cgroup2 is not mounted")
}
