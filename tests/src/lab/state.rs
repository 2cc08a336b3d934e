//! What another process must know of a running lab: kept in a file under `/run/cordon-lab`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::{guest, network, node::Node};

const FOLDER: &str = "/run/cordon-lab";

/// A running lab.
#[derive(Debug, Serialize, Deserialize)]
pub struct LabState {
    /// Its name: several labs may run side by side.
    pub name: String,
    /// The process that holds it.
    pub supervisor: i32,
    /// When that process started, in clock ticks since boot: a reused pid is another process.
    pub supervisor_started: u64,
    /// The namespace with the bridge.
    pub switch: i32,
    /// Its machines.
    pub nodes: Vec<NodeStatus>,
    /// The console, where a controller runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<ConsoleAccess>,
}

/// How to sign in to the console.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsoleAccess {
    /// On the machine's own loopback.
    pub url: String,
    /// Account.
    pub user: String,
    /// Its one-time password.
    pub password: String,
}

/// One machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Host name.
    pub name: String,
    /// Its first process, as the machine sees it.
    pub pid: i32,
    /// Last part of its addresses.
    pub number: u8,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Whether its cable is plugged in.
    pub link_up: bool,
}

/// Knows where the cables end.
pub struct SwitchHandle {
    pid: i32,
}

impl SwitchHandle {
    /// By the first process of the switch.
    pub fn new(pid: i32) -> Self {
        Self { pid }
    }
}

impl NodeStatus {
    /// Looks at a node and its cable.
    pub fn of(node: &Node, switch: &SwitchHandle) -> Result<Self> {
        Ok(Self {
            name: node.name().to_owned(),
            pid: node.pid(),
            number: node.number(),
            addresses: node.addresses().map(|address| address.to_string()).into(),
            link_up: network::link_is_up(switch.pid, node.name())?,
        })
    }
}

/// File of a lab's state.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(format!("{name}.json"))
}

/// File of what a lab's supervisor says once it is in the background.
pub fn log_file(name: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(format!("{name}.log"))
}

impl LabState {
    /// Writes the state for others to find.
    pub fn save(&self) -> Result<()> {
        fs::create_dir_all(FOLDER).with_context(|| format!("cannot make {FOLDER}"))?;
        let path = file(&self.name);
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The running lab of that name. A file left by a supervisor that is gone is removed.
    pub fn load(name: &str) -> Result<Option<Self>> {
        let path = file(name);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let state: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a lab's state; remove it", path.display()))?;
        if state.is_alive() {
            return Ok(Some(state));
        }
        state.forget()?;
        Ok(None)
    }

    /// Like [`Self::load`], but no lab is an error that says what to do.
    pub fn running(name: &str) -> Result<Self> {
        let hint = || format!("no lab {name:?} is up; start one with `cargo xtask lab up`");
        Self::load(name)?.with_context(hint)
    }

    fn is_alive(&self) -> bool {
        start_time(self.supervisor).is_some_and(|time| time == self.supervisor_started)
    }

    fn node(&self, name: &str) -> Result<&NodeStatus> {
        let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        let hint = || format!("no node {name:?}; there are {}", names.join(", "));
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .with_context(hint)
    }

    /// Looks at the cables again.
    pub fn refresh(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.link_up = network::link_is_up(self.switch, &node.name)?;
        }
        Ok(())
    }

    /// Runs a command in a node with the caller's terminal.
    pub fn exec(&self, name: &str, command: &[String]) -> Result<u8> {
        let argv: Vec<&str> = command.iter().map(String::as_str).collect();
        let status = guest::command(self.node(name)?.pid, &argv)
            .status()
            .context("cannot run nsenter (package util-linux)")?;
        Ok(exit_code(status))
    }

    /// Pulls a node's cable, or plugs it in.
    pub fn set_link(&self, name: &str, up: bool) -> Result<()> {
        let switch = Node::new("switch", self.switch, 0);
        network::set_link(&switch, &self.node(name)?.name, up)
    }

    /// Ends the lab and waits until nothing of it is left.
    pub fn down(&self) -> Result<()> {
        let supervisor = Pid::from_raw(self.supervisor);
        kill(supervisor, Signal::SIGTERM).context("cannot end the lab's supervisor")?;
        let limit = std::time::Duration::from_secs(30);
        crate::wait::until("end of the lab", limit, || {
            let pids = self.nodes.iter().map(|node| node.pid);
            let left = pids.chain([self.switch, self.supervisor]);
            let any = left.into_iter().any(|pid| start_time(pid).is_some());
            Ok((!any).then_some(()))
        })?;
        self.forget()
    }

    fn forget(&self) -> Result<()> {
        for path in [file(&self.name), log_file(&self.name)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    bail!("cannot remove {}: {error}", path.display())
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// As a shell would report it.
fn exit_code(status: ExitStatus) -> u8 {
    let by_signal = || status.signal().map(|signal| 128 + signal);
    let code = status.code().or_else(by_signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// When a process started, in clock ticks since boot; `None` when it is gone or only its exit
/// status is left.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets; the fields start after the last bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let is_left_over = matches!(*fields.first()?, "Z" | "X");
    if is_left_over {
        return None;
    }
    fields.get(19)?.parse().ok()
}
