//! A fleet on one machine. Each node has its own network, process, mount, host name, IPC and cgroup
//! namespaces and an overlay of the machine's files; a bridge in a namespace of its own joins them.
//!
//! The machine itself is not touched: no interface, rule, mount or named namespace of its own
//! changes; its cgroup2 has a cgroup for each node while the lab is up. Each node's first process holds the end of a pipe whose other end is here. However the
//! supervisor dies, that process sees end-of-file and leaves, and the kernel removes the rest.
//!
//! ```text
//!                         switch: bridge br0
//!        ┌────────────────┬───────┴────────┬────────────────┐
//!  controller .10      ep1 .11          ep2 .12        outside .200      10.99.0.0/24, fd99::/64
//! ```

mod cgroup;
mod forward;
mod guest;
mod init;
mod mounts;
mod network;
mod node;
pub mod state;

use std::io::{BufRead as _, BufReader, PipeWriter, Read as _, pipe};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

pub use forward::Forward;
pub use guest::Guest;
pub use init::{FIRST_PROCESS, be_first_process, enter_namespaces, prepare};
pub use node::Node;

/// Most endpoints that a lab may have: their addresses end below the outside host's.
pub const MAX_ENDPOINTS: u8 = 100;

/// What to build.
pub struct LabOptions {
    /// How many endpoints; `ep1` is the first.
    pub endpoints: u8,
    /// The `cordon-lab` program: each node starts from it, and the product's programs lie beside it.
    pub program: PathBuf,
}

/// A running fleet of nodes. Dropping it ends every process in it and removes it.
pub struct Lab {
    nodes: Vec<Node>,
    switch: Node,
    // Dropped first, so that no thread of ours keeps a node's network alive.
    forwards: Vec<Forward>,
    holds: Vec<Hold>,
}

/// What keeps one node alive.
struct Hold {
    lifeline: Option<PipeWriter>,
    child: Child,
}

impl Lab {
    /// Builds the nodes and joins them. Nothing of Cordon runs in them yet.
    pub fn up(options: &LabOptions) -> Result<Self> {
        ensure!(
            (1..=MAX_ENDPOINTS).contains(&options.endpoints),
            "a lab has 1 to {MAX_ENDPOINTS} endpoints, {} were asked for",
            options.endpoints
        );
        ensure!(
            nix::unistd::geteuid().is_root(),
            "the lab makes namespaces and overlay mounts: run it as root"
        );
        let plans = init::plans(options);
        let mut holds = Vec::new();
        let mut nodes = Vec::new();
        for plan in &plans {
            let (hold, pid) = start(&options.program, plan)
                .with_context(|| format!("cannot start node {}", plan.name))?;
            holds.push(hold);
            nodes.push(Node::new(&plan.name, pid, plan.number));
        }
        let switch = nodes.remove(0);
        network::join(&switch, &nodes)?;
        Ok(Self {
            nodes,
            switch,
            forwards: Vec::new(),
            holds,
        })
    }

    /// A node by name: `controller`, `ep1` and on, `outside`.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let known = || {
            let names: Vec<&str> = self.nodes.iter().map(Node::name).collect();
            format!("no node {name:?}; there are {}", names.join(", "))
        };
        self.nodes
            .iter()
            .find(|node| node.name() == name)
            .with_context(known)
    }

    /// All nodes that stand for machines, the switch aside.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The namespace that holds the bridge.
    pub fn switch(&self) -> &Node {
        &self.switch
    }

    /// Pulls the node's cable.
    pub fn cut(&self, name: &str) -> Result<()> {
        network::set_link(&self.switch, self.node(name)?.name(), false)
    }

    /// Plugs it in again.
    pub fn mend(&self, name: &str) -> Result<()> {
        network::set_link(&self.switch, self.node(name)?.name(), true)
    }

    /// Gives a node's cable to a new tap device in its network, for a virtual machine that takes the node's place; the
    /// node's own addresses are its from now on.
    pub fn stand_in(&self, name: &str, tap: &str) -> Result<()> {
        network::stand_in(self.node(name)?, tap)
    }

    /// Makes a node's TCP port reachable on the machine's own loopback, and there only.
    pub fn forward(&mut self, name: &str, port: u16) -> Result<SocketAddr> {
        let forward = Forward::start(self.node(name)?, port)?;
        let address = forward.address();
        self.forwards.push(forward);
        Ok(address)
    }

    /// Where things stand, for `status` and for other processes' `exec`.
    pub fn status(&self) -> Result<Vec<state::NodeStatus>> {
        let network = state::SwitchHandle::new(self.switch.pid());
        self.nodes
            .iter()
            .map(|node| state::NodeStatus::of(node, &network))
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.forwards.clear();
        for hold in &mut self.holds {
            drop(hold.lifeline.take());
        }
        for hold in &mut self.holds {
            // It may have been killed by somebody else; gone is what was wanted.
            drop(hold.child.wait());
        }
    }
}

fn start(program: &Path, plan: &init::Plan) -> Result<(Hold, i32)> {
    let (their_end, lifeline) = pipe().context("cannot make a pipe")?;
    let mut child = Command::new(program)
        .arg("node-start")
        .arg(serde_json::to_string(plan)?)
        .stdin(their_end)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let stdout = child.stdout.take().context("no standard output")?;
    let Some(pid) = read_ready(stdout)? else {
        drop(lifeline);
        let mut complaint = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr
                .read_to_string(&mut complaint)
                .context("it ended at once, and what it said cannot be read")?;
        }
        let status = child.wait().context("it ended at once, nobody knows how")?;
        bail!("it ended at once ({status}): {}", complaint.trim());
    };
    let hold = Hold {
        lifeline: Some(lifeline),
        child,
    };
    Ok((hold, pid))
}

/// Reads `pid N` and `ready`, in either order; `None` when the node ended before.
fn read_ready(stdout: impl std::io::Read) -> Result<Option<i32>> {
    let (mut pid, mut ready) = (None, false);
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        match line.strip_prefix("pid ") {
            Some(number) => pid = Some(number.parse().context("bad pid")?),
            None => ready |= line == "ready",
        }
        if ready && pid.is_some() {
            return Ok(pid);
        }
    }
    Ok(None)
}
