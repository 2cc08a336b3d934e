//! Processes that the bench starts, and what they cost.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::guard::{Duty, Guard, start_of};
use crate::wait;

const STOP_LIMIT: Duration = Duration::from_secs(20);
/// A tool that used less than this share of a core over a pause has dealt with what it got.
const IDLE: f64 = 0.02;
const PAUSE: Duration = Duration::from_millis(250);
const SETTLE_LIMIT: Duration = Duration::from_secs(15);

/// A running process of the bench, known to the guard. Dropping it ends it.
pub struct Process<'a> {
    name: String,
    child: Child,
    duty: Duty,
    guard: &'a Guard,
}

impl<'a> Process<'a> {
    /// Starts a program whose errors, and output unless it is piped, go to the file `log`.
    pub fn start(
        guard: &'a Guard,
        command: &mut Command,
        log: &Path,
        output: Stdio,
    ) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = File::options().create(true).append(true).open(log)?;
        // Out of reach of the terminal's interrupt: the guard ends it, in order.
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let pid = child.id() as i32;
        let duty = Duty::Process(pid, start_of(pid)?);
        guard.undo(duty.clone())?;
        Ok(Self {
            name,
            child,
            duty,
            guard,
        })
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// What it prints, when it was started so; once.
    pub fn output(&mut self) -> Result<ChildStdout> {
        let output = self.child.stdout.take();
        output.with_context(|| format!("the output of {} is taken", self.name))
    }

    /// An error when it ended by itself.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself: {status}", self.name),
        }
    }

    /// Waits for its good end.
    pub fn wait(mut self) -> Result<()> {
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        bail!("{} failed: {status}", self.name)
    }

    /// Asks it to end, and insists when it does not.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            kill(Pid::from_raw(self.pid()), signal)?;
            let ended = || Ok(self.child.try_wait()?);
            if wait::until(&format!("end of {}", self.name), STOP_LIMIT, ended).is_ok() {
                return Ok(());
            }
        }
        bail!("{} does not end", self.name)
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        let ended = self.end();
        if ended
            .and_then(|()| self.guard.done(self.duty.clone()))
            .is_err()
        {
            // The guard still knows it, and ends it.
            eprintln!("cordon-bench: {} is left to the guard", self.name);
        }
    }
}

/// Runs a program to its end; what it printed.
pub fn read(
    program: impl Into<OsString>,
    arguments: &[impl AsRef<std::ffi::OsStr>],
) -> Result<String> {
    let program = program.into();
    let shown = program.to_string_lossy().into_owned();
    let output = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{shown} failed ({}): {}", output.status, complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// CPU time of a process, all its threads and those that ended, to the nanosecond.
pub fn cpu(pid: i32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid))
        .with_context(|| format!("process {pid} has no CPU clock"))?;
    Ok(clock_gettime(clock)?.into())
}

/// CPU time of several.
pub fn cpu_of(pids: &[i32]) -> Result<Duration> {
    pids.iter().map(|pid| cpu(*pid)).sum()
}

/// Waits until the processes have dealt with what they got, by what they use.
pub fn settle(pids: &[i32]) -> Result<()> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let mut quiet = 0;
    while quiet < 2 && Instant::now() < deadline {
        let (before, began) = (cpu_of(pids)?, Instant::now());
        std::thread::sleep(PAUSE);
        let used = cpu_of(pids)?.saturating_sub(before);
        let is_idle = used.as_secs_f64() < IDLE * began.elapsed().as_secs_f64();
        quiet = if is_idle { quiet + 1 } else { 0 };
    }
    Ok(())
}

/// The one process with this name that has no command line: a thread of the kernel.
pub fn kernel_thread(name: &str) -> Option<i32> {
    let pids = fs::read_dir("/proc").ok()?.flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| {
            let text = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
            text("comm").is_ok_and(|comm| comm.trim_end() == name)
                && text("cmdline").is_ok_and(|line| line.is_empty())
        })
}

/// The first child of a process with this name.
pub fn child_named(parent: i32, name: &str) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children
        .split_whitespace()
        .filter_map(|word| word.parse::<i32>().ok())
        .find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.trim_end() == name)
        })
}

/// Resident memory now and its peak since the last [`forget_peak`], bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// The most.
    pub peak: u64,
}

/// Reads it from the kernel's own account: no sample is missed.
pub fn memory(pid: i32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = |key: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.with_context(|| format!("process {pid} has no {key}"))? << 10)
    };
    Ok(Memory {
        resident: value("VmRSS:")?,
        peak: value("VmHWM:")?,
    })
}

/// Begins a new peak.
pub fn forget_peak(pid: i32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("cannot reset the peak of memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_costs_what_it_did() {
        let own = std::process::id() as i32;
        let before = cpu(own).expect("CPU clock");
        let began = Instant::now();
        while cpu(own).expect("CPU clock") < before + Duration::from_millis(20) {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "the clock stands"
            );
        }
        let memory = memory(own).expect("status");
        assert!(memory.resident > 0 && memory.peak >= memory.resident / 2);
    }
}
