//! Who is measured: nothing, Cordon, and what else Debian has for the same purpose.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::audit::Auditd;
use super::process::{self, Process};
use super::site::{Agent, Site};
use super::work::Place;
use crate::wait;

const READY: Duration = Duration::from_mins(1);
const BPFTRACE: &str = "/usr/bin/bpftrace";

/// bpftrace finds tracepoints below debugfs, which is not mounted everywhere; here it is mounted for
/// bpftrace alone, which then has the shell's pid.
const IN_OWN_MOUNTS: &str = "mount -t debugfs none /sys/kernel/debug 2>/dev/null; exec \"$@\"";

/// Programs, connections and removed files, as its manual would have it.
const SCRIPT: &str = r#"
BEGIN { printf("ready\n"); }
tracepoint:syscalls:sys_enter_execve { printf("exec %d %d ", pid, uid); join(args->argv); }
tracepoint:syscalls:sys_enter_connect { printf("connect %d %s\n", pid, comm); }
tracepoint:syscalls:sys_enter_unlink { printf("unlink %d %s\n", pid, str(args->pathname)); }
tracepoint:syscalls:sys_enter_unlinkat { printf("unlink %d %s\n", pid, str(args->pathname)); }
tracepoint:syscalls:sys_enter_rename { printf("rename %d %s\n", pid, str(args->oldname)); }
"#;

/// One contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// The workload alone.
    Nothing,
    /// The agent.
    Cordon,
    /// The audit daemon, raw records to a file.
    Auditd,
    /// The audit daemon with laurel as its plugin.
    Laurel,
    /// A bpftrace script.
    Bpftrace,
}

/// All of them.
pub const TOOLS: [Tool; 5] = [
    Tool::Nothing,
    Tool::Cordon,
    Tool::Auditd,
    Tool::Laurel,
    Tool::Bpftrace,
];

impl Tool {
    /// In names of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Cordon => "cordon",
            Self::Auditd => "auditd",
            Self::Laurel => "auditd_laurel",
            Self::Bpftrace => "bpftrace",
        }
    }

    /// Starts it and waits until it records.
    pub fn start<'a>(self, site: &Site<'a>, place: &Place<'a>) -> Result<Running<'a>> {
        let folder = tempfile::Builder::new()
            .prefix(self.name())
            .tempdir_in(&place.folder)?
            .keep();
        let audit = |laurel| Auditd::start(place.guard, &folder, &place.work(), laurel);
        match self {
            Self::Nothing => Ok(Running::Nothing),
            Self::Cordon => Ok(Running::Cordon(site.start_agent()?)),
            Self::Auditd => Ok(Running::Auditd(audit(false)?)),
            Self::Laurel => Ok(Running::Auditd(audit(true)?)),
            Self::Bpftrace => Ok(Running::Bpftrace(bpftrace(place, &folder)?)),
        }
    }
}

/// A contender at work.
pub enum Running<'a> {
    /// The workload alone.
    Nothing,
    /// The agent.
    Cordon(Agent<'a>),
    /// The audit daemon, with or without laurel.
    Auditd(Auditd<'a>),
    /// A bpftrace script.
    Bpftrace(Process<'a>),
}

impl Running<'_> {
    /// The processes whose CPU time is the tool's.
    pub fn costs(&self) -> Vec<i32> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Cordon(agent) => vec![agent.pid()],
            Self::Auditd(auditd) => auditd.costs().to_vec(),
            Self::Bpftrace(process) => vec![process.pid()],
        }
    }

    /// Ends it.
    pub fn stop(self) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Cordon(agent) => agent.stop(),
            Self::Auditd(auditd) => auditd.stop(),
            Self::Bpftrace(process) => process.stop(),
        }
    }
}

fn bpftrace<'a>(place: &Place<'a>, folder: &Path) -> Result<Process<'a>> {
    ensure!(
        Path::new(BPFTRACE).exists(),
        "bpftrace is not installed: `cargo xtask bench sensor` installs it"
    );
    let (script, output) = (folder.join("bench.bt"), folder.join("output"));
    fs::write(&script, SCRIPT)?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", IN_OWN_MOUNTS, "sh", BPFTRACE]);
    // Not `-o`: what goes to a file of its own is not written by lines, and on a quiet machine its first
    // one is not written at all.
    command.args(["-B", "line"]).arg(&script);
    let log = folder.join("bpftrace.err");
    let lines = Stdio::from(File::create(&output)?);
    let mut process = Process::start(place.guard, &mut command, &log, lines)?;
    wait::until("bpftrace", READY, || {
        if process.still_runs().is_err() {
            // What it complained of is the answer; waiting longer is of no use.
            return Ok(Some(false));
        }
        let said = fs::read_to_string(&output)?;
        Ok(said.contains("ready\n").then_some(true))
    })
    .and_then(|is_ready| {
        let complaint = || fs::read_to_string(&log).unwrap_or_default();
        ensure!(
            is_ready,
            "bpftrace does not run on this kernel: {}",
            complaint().trim()
        );
        Ok(())
    })
    .context("bpftrace")?;
    process::settle(&[process.pid()])?;
    Ok(process)
}
