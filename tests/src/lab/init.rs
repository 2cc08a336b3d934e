//! A node's first process: it enters new namespaces, builds the node's file system, becomes the
//! node's `/sbin/init`, reaps orphans, and leaves when the supervisor is gone.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use serde::{Deserialize, Serialize};

use super::{LabOptions, cgroup, mounts};

/// Path of a node's first process inside the node, and how `cordon-lab` knows that it is one.
pub const FIRST_PROCESS: &str = "/sbin/init";

const CONTROLLER_NUMBER: u8 = 10;
const OUTSIDE_NUMBER: u8 = 200;

/// The product's programs, where a package would put them, and the bench, which sends from within.
const PROGRAMS: [&str; 5] = [
    "cordon-agent",
    "cordon-controller",
    "cordonctl",
    "cordon-train",
    "cordon-bench",
];
const MODEL_INSIDE: &str = "/usr/share/cordon/model";

/// What one node is to be.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Host name.
    pub name: String,
    /// Last part of its addresses; 0 for the switch.
    pub number: u8,
    /// Content of `/etc/hosts`.
    pub hosts: String,
    /// Files and folders of the machine that appear inside: from, to.
    pub shared: Vec<(PathBuf, PathBuf)>,
    /// Its uppermost cgroup, as the machine has it; set by whoever keeps the node.
    pub cgroup: Option<PathBuf>,
}

/// The switch first, then the machines.
pub(super) fn plans(options: &LabOptions) -> Vec<Plan> {
    let mut members = vec![("controller".to_owned(), CONTROLLER_NUMBER)];
    members.extend((1..=options.endpoints).map(|n| (format!("ep{n}"), CONTROLLER_NUMBER + n)));
    members.push(("outside".to_owned(), OUTSIDE_NUMBER));
    let hosts = hosts_file(&members);
    let shared = shared(&options.program);
    members.insert(0, ("switch".to_owned(), 0));
    members
        .into_iter()
        .map(|(name, number)| Plan {
            name,
            number,
            hosts: hosts.clone(),
            shared: shared.clone(),
            cgroup: None,
        })
        .collect()
}

fn hosts_file(members: &[(String, u8)]) -> String {
    use std::fmt::Write as _;
    let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for (name, number) in members {
        let line = writeln!(hosts, "10.99.0.{number} {name}\nfd99::{number} {name}");
        line.expect("writing to a string cannot fail");
    }
    hosts
}

fn shared(program: &Path) -> Vec<(PathBuf, PathBuf)> {
    let beside = program.parent().unwrap_or(Path::new("/"));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/model/artifact");
    let mut shared: Vec<(PathBuf, PathBuf)> = PROGRAMS
        .iter()
        .map(|name| (beside.join(name), Path::new("/usr/bin").join(name)))
        .collect();
    shared.push((model, MODEL_INSIDE.into()));
    shared.push((program.to_owned(), FIRST_PROCESS.into()));
    // A part that is not built yet is simply not there: the bare lab is of use without it.
    shared.retain(|(from, _)| from.exists());
    shared
}

/// `cordon-lab node-start PLAN`: makes the namespaces and waits for the node's end.
pub fn enter_namespaces(plan: &str) -> Result<ExitStatus> {
    let fresh = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    let mut plan: Plan = serde_json::from_str(plan).context("bad plan")?;
    plan.cgroup = cgroup::make(&plan.name)?;
    let enter = || {
        unshare(fresh).context("cannot make namespaces; run as root")?;
        keep(&plan)
    };
    // Namespaces are a thread's: this one still sees the machine's files when the node has changed its root.
    let ended = thread::scope(|scope| scope.spawn(enter).join())
        .map_err(|_| anyhow!("the thread that keeps node {} panicked", plan.name))?;
    // Its first process has ended, so the kernel has ended all of them.
    let removed = plan.cgroup.as_deref().map_or(Ok(()), cgroup::remove);
    ended.and_then(|status| removed.map(|()| status))
}

/// Starts the node's first process and waits for its end. Only a child is in the new PID namespace.
fn keep(plan: &Plan) -> Result<ExitStatus> {
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    // Of a program that was replaced while it ran, as by a build, the kernel says "(deleted)" behind its name.
    let cannot = |what: &str| {
        format!(
            "cannot {what} {} as {}'s first process",
            program.display(),
            plan.name
        )
    };
    let mut child = Command::new(&program)
        .arg("node-init")
        .arg(serde_json::to_string(plan)?)
        .spawn()
        .with_context(|| cannot("start"))?;
    say(&format!("pid {}", child.id()))?;
    child.wait().with_context(|| cannot("wait for"))
}

/// `cordon-lab node-init PLAN`: builds the node's file system and becomes its `/sbin/init`.
pub fn prepare(plan: &str) -> Result<()> {
    let plan: Plan = serde_json::from_str(plan).context("bad plan")?;
    if let Some(cgroup) = &plan.cgroup {
        cgroup::enter(cgroup)?;
    }
    mounts::build(&plan)?;
    nix::unistd::sethostname(&plan.name)
        .with_context(|| format!("cannot set the host name {:?}", plan.name))?;
    settle_network_defaults()?;
    let error = Command::new(FIRST_PROCESS)
        .env_clear()
        .env("PATH", super::guest::PATH)
        .exec();
    Err(error).with_context(|| format!("cannot become {FIRST_PROCESS} of node {}", plan.name))
}

/// No duplicate address detection and no router advertisements: an address serves at once.
fn settle_network_defaults() -> Result<()> {
    for (key, value) in [
        ("ipv6/conf/all/accept_dad", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/all/accept_ra", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv4/ping_group_range", "0 2147483647"),
    ] {
        let path = format!("/proc/sys/net/{key}");
        fs::write(&path, value).with_context(|| format!("cannot set {path}"))?;
    }
    Ok(())
}

/// The life of `/sbin/init`: reaps orphans until the supervisor's end of the pipe closes. The
/// kernel then ends every process of the node and removes its mounts and interfaces.
pub fn be_first_process() -> Result<ExitCode> {
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block().context("cannot block SIGCHLD")?;
    thread::spawn(move || {
        while children.wait().is_ok() {
            reap();
        }
    });
    say("ready")?;
    let mut nothing = Vec::new();
    io::stdin()
        .read_to_end(&mut nothing)
        .context("cannot wait for the end of the supervisor's pipe")?;
    Ok(ExitCode::SUCCESS)
}

fn reap() {
    let any = None;
    while waitpid(any, Some(WaitPidFlag::WNOHANG))
        .is_ok_and(|status| status != WaitStatus::StillAlive)
    {}
}

fn say(line: &str) -> Result<()> {
    let mut stdout = io::stdout();
    let said = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    said.with_context(|| format!("cannot tell the supervisor {line:?}"))
}
