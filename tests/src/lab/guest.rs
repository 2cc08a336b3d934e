//! Processes inside a node that the supervisor started.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup;
use super::node::Node;
use crate::wait;

pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const START_LIMIT: Duration = Duration::from_secs(10);

/// The command line that runs `command` in the node, with a fresh environment.
pub(super) fn command(node_pid: i32, command: &[&str]) -> Command {
    let mut enter = into_cgroup(node_pid);
    enter
        .arg(format!("--target={node_pid}"))
        .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--"])
        .args(command)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm");
    enter
}

/// `nsenter` enters a cgroup namespace, and leaves the caller in the cgroup where it is.
fn into_cgroup(node_pid: i32) -> Command {
    let Some(procs) = cgroup::procs_of(node_pid) else {
        return Command::new("nsenter");
    };
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "echo 0 > \"$0\" && exec nsenter --cgroup \"$@\""])
        .arg(procs);
    shell
}

/// A running process of a node. Dropping the handle leaves it running; it ends with the lab.
pub struct Guest {
    // `nsenter` stays outside as the parent of the process proper.
    outer: Child,
    pid: Pid,
}

impl Guest {
    pub(super) fn start(node: &Node, argv: &[&str], log: File) -> Result<Self> {
        let mut outer = command(node.pid(), argv)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run nsenter (package util-linux)")?;
        let found = wait::until(&format!("start of {argv:?}"), START_LIMIT, || {
            if let Some(status) = outer.try_wait()? {
                return Ok(Some(Err(status)));
            }
            Ok(child_of(outer.id()).map(Ok))
        })?;
        match found {
            Ok(pid) => Ok(Self { outer, pid }),
            Err(status) => bail!("in {}: {argv:?} ended at once: {status}", node.name()),
        }
    }

    /// The process, as the machine sees it.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid, signal).with_context(|| format!("cannot send {signal} to {}", self.pid))
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        // `nsenter` stops itself when the process is stopped. The agent lets go on whoever waits for somebody it has
        // killed, but cannot reach it: it is outside of the node.
        if is_zombie(self.pid) {
            kill(Pid::from_raw(self.outer.id() as i32), Signal::SIGCONT).ok();
        }
        Ok(self.outer.try_wait()?)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        wait::until(&format!("end of process {}", self.pid), limit, || {
            self.ended()
        })
    }

    /// Ends it without a chance to tidy up, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait(START_LIMIT).map(drop)
    }
}

/// Runs a command to its end and collects what it said.
pub(super) fn run(node: &Node, argv: &[&str], limit: Duration) -> Result<Output> {
    let child = command(node.pid(), argv)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run nsenter (package util-linux)")?;
    let outer = child.id();
    let (sender, receiver) = mpsc::sync_channel(1);
    let collector = thread::spawn(move || sender.send(child.wait_with_output()));
    let answer = receiver.recv_timeout(limit);
    if answer.is_err() {
        let inner = child_of(outer);
        for pid in inner.into_iter().chain([Pid::from_raw(outer as i32)]) {
            // Either may have ended meanwhile.
            kill(pid, Signal::SIGKILL).ok();
        }
    }
    let output = answer.map_err(|_| anyhow!("in {}: {argv:?} took over {limit:?}", node.name()))?;
    drop(collector.join());
    Ok(output?)
}

/// It has ended, and nobody has asked how.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|rest| rest.starts_with('Z'))
}

/// The process that `nsenter` made on the other side.
fn child_of(pid: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let first = children.split_whitespace().next()?;
    first.parse().ok().map(Pid::from_raw)
}
