//! Puts the machine back as it was, however the bench ends.
//!
//! The guard is a process of its own that reads from a pipe what there is to undo. When the pipe ends, because
//! the bench is done, failed or was killed, it ends the processes that are still there, removes the audit
//! rules, and then what lies on disk. A pid is only ended when it still is the process that was started.

use std::fs;
use std::io::{BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::audit;
use crate::wait;

const END_LIMIT: Duration = Duration::from_secs(5);

/// Something to undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Duty {
    /// A process that is to be ended: pid and start time in clock ticks.
    Process(i32, u64),
    /// Audit rules that are to be removed, and the kernel's audit settings as they were.
    Audit(audit::Settings),
    /// A cgroup that is to be removed, with everything in it.
    Cgroup(PathBuf),
    /// A folder that is to be removed.
    Folder(PathBuf),
}

#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Undo(Duty),
    Done(Duty),
}

/// The bench's end of the guard.
pub struct Guard {
    pipe: Mutex<Option<ChildStdin>>,
    process: Child,
}

impl Guard {
    /// Starts it, out of reach of the terminal's interrupt.
    pub fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("guard")
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start the guard")?;
        let pipe = Mutex::new(process.stdin.take());
        Ok(Self { pipe, process })
    }

    /// From here on it is undone.
    pub fn undo(&self, duty: Duty) -> Result<()> {
        self.say(&Word::Undo(duty))
    }

    /// It was undone already.
    pub fn done(&self, duty: Duty) -> Result<()> {
        self.say(&Word::Done(duty))
    }

    fn say(&self, word: &Word) -> Result<()> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let pipe = pipe.as_mut().context("the guard was dismissed")?;
        let line = serde_json::to_string(word)? + "\n";
        pipe.write_all(line.as_bytes())
            .context("the guard is gone: start the bench again")
    }
}

impl Drop for Guard {
    /// Waits until everything is undone.
    fn drop(&mut self) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        drop(pipe.take());
        match self.process.wait() {
            Ok(status) if status.success() => {}
            told => eprintln!("cordon-bench: the guard could not undo everything: {told:?}"),
        }
    }
}

/// The guard's own life.
pub fn stand() -> Result<()> {
    let mut duties: Vec<Duty> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        // A line that was cut short by the bench's death says nothing.
        match serde_json::from_str(&line) {
            Ok(Word::Undo(duty)) => duties.push(duty),
            Ok(Word::Done(duty)) => duties.retain(|known| *known != duty),
            Err(_) => {}
        }
    }
    let mut failures = Vec::new();
    for step in [is_process, is_audit, is_cgroup, is_folder] {
        // The newest first: a daemon goes before the controller that it talks to.
        for duty in duties.iter().rev().filter(|duty| step(duty)) {
            if let Err(error) = undo(duty) {
                failures.push(format!("{duty:?}: {error:#}"));
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    bail!("left behind: {}", failures.join("; "))
}

fn is_process(duty: &Duty) -> bool {
    matches!(duty, Duty::Process(..))
}

fn is_audit(duty: &Duty) -> bool {
    matches!(duty, Duty::Audit(_))
}

fn is_cgroup(duty: &Duty) -> bool {
    matches!(duty, Duty::Cgroup(_))
}

fn is_folder(duty: &Duty) -> bool {
    matches!(duty, Duty::Folder(_))
}

fn undo(duty: &Duty) -> Result<()> {
    match duty {
        Duty::Process(pid, start) => end(*pid, *start),
        Duty::Audit(settings) => audit::restore(settings),
        Duty::Cgroup(path) => remove_cgroup(path),
        Duty::Folder(path) if path.exists() => Ok(fs::remove_dir_all(path)?),
        Duty::Folder(_) => Ok(()),
    }
}

/// Asks first, then insists.
fn end(pid: i32, start: u64) -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if !is_alive(pid, start) {
            return Ok(());
        }
        // It may have ended in between.
        kill(Pid::from_raw(pid), signal).ok();
        let gone = || Ok((!is_alive(pid, start)).then_some(()));
        if wait::until("end of a process", END_LIMIT, gone).is_ok() {
            return Ok(());
        }
    }
    bail!("process {pid} does not end")
}

/// Whether the pid still is the process that had it, and not only its remains.
pub fn is_alive(pid: i32, start: u64) -> bool {
    stat(pid).is_some_and(|(state, started)| started == start && !matches!(state, 'Z' | 'X'))
}

/// When a process was started, in clock ticks since the boot.
pub fn start_of(pid: i32) -> Result<u64> {
    let (_, start) = stat(pid).with_context(|| format!("process {pid} is gone"))?;
    Ok(start)
}

fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = text.rsplit_once(')')?;
    let mut words = after.split_whitespace();
    let state = words.next()?.chars().next()?;
    Some((state, words.nth(18)?.parse().ok()?))
}

/// Ends what is in it; `cgroup.kill` exists in version 2 since Linux 5.14.
fn remove_cgroup(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    if path.join("cgroup.kill").exists() {
        fs::write(path.join("cgroup.kill"), "1")?;
    }
    wait::until("end of a cgroup", END_LIMIT, || {
        Ok(Some(fs::remove_dir(path)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_that_another_process_has_now_is_left_alone() {
        let own = std::process::id() as i32;
        let start = start_of(own).expect("own start time");
        assert!(is_alive(own, start));
        assert!(!is_alive(own, start + 1));
        end(own, start + 1).expect("nothing to end");
    }
}
