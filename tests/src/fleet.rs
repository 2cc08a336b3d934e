//! Cordon in the lab: a controller, a signed policy, an agent on each endpoint.

mod agents;
mod controller;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

pub use controller::{Notify, Site};

use crate::lab::{Guest, Lab, LabOptions, Node};
use crate::narrator::Narrator;
use crate::wait;

/// Group of all the lab's endpoints.
pub const GROUP: &str = "servers";
/// Site of the lab.
pub const SITE: &str = "lab";
/// Lease of an isolation in the lab's policy.
pub const LEASE_SECONDS: u64 = 3600;

/// Where the controller listens to agents.
pub const GRPC_PORT: u16 = 7443;
const CONSOLE_PORT: u16 = 8443;
const ONLINE_LIMIT: Duration = Duration::from_mins(1);

/// What to bring up.
pub struct FleetOptions {
    /// The nodes.
    pub lab: LabOptions,
    /// Where the controller tells people.
    pub notify: Vec<Notify>,
    /// What the policy lets agents do by themselves.
    pub mode: String,
}

impl FleetOptions {
    /// Autonomous agents, nobody to tell.
    pub fn of(lab: LabOptions) -> Self {
        Self {
            lab,
            notify: Vec::new(),
            mode: "autonomous".to_owned(),
        }
    }
}

/// A lab with Cordon running in it.
pub struct Fleet {
    lab: Lab,
    site: Site,
    controller: Option<Guest>,
    agents: BTreeMap<String, Guest>,
    policy_version: u64,
}

impl Fleet {
    /// Builds the nodes, starts the controller, pushes the policy, enrols and starts every agent,
    /// and waits until all are online.
    pub fn up(options: &FleetOptions, narrator: &Narrator) -> Result<Self> {
        let mut fleet = Self::with_controller(options, narrator)?;
        fleet.push_policy(&options.mode)?;
        narrator.note(&format!(
            "policy {} signed and pushed, mode {}",
            fleet.policy_version, options.mode
        ));
        let names = fleet.endpoints();
        let token = fleet.join_token(names.len())?;
        for name in &names {
            fleet.enrol(name, &token)?;
            fleet.start_agent(name)?;
        }
        for name in &names {
            let host = fleet.wait_online(name)?;
            narrator.note(&format!(
                "{name} is online: agent {}, sensor {}, model {}",
                text(&host, "agent_version"),
                text(&host, "sensor_mode"),
                text(&host, "model"),
            ));
        }
        Ok(fleet)
    }

    /// The nodes and the controller, and no agent yet.
    pub fn with_controller(options: &FleetOptions, narrator: &Narrator) -> Result<Self> {
        let lab = Lab::up(&options.lab)?;
        let names: Vec<&str> = lab.nodes().iter().map(Node::name).collect();
        narrator.note(&format!("nodes: {}", names.join(", ")));
        let site = controller::init(lab.node("controller")?, &options.notify)?;
        let mut fleet = Self {
            lab,
            site,
            controller: None,
            agents: BTreeMap::new(),
            policy_version: 0,
        };
        fleet.start_controller()?;
        narrator.note(&format!(
            "controller serves; CA fingerprint {}",
            fleet.site.ca_fingerprint
        ));
        Ok(fleet)
    }

    /// The nodes.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.lab.node(name)
    }

    /// What `init` said.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Names of the endpoints.
    pub fn endpoints(&self) -> Vec<String> {
        let nodes = self.lab.nodes().iter();
        nodes
            .map(|node| node.name().to_owned())
            .filter(|name| name.starts_with("ep"))
            .collect()
    }

    /// Makes the console reachable on the machine's loopback.
    pub fn open_console(&mut self) -> Result<SocketAddr> {
        self.lab.forward("controller", CONSOLE_PORT)
    }

    /// Starts the controller and waits until it answers.
    pub fn start_controller(&mut self) -> Result<()> {
        let node = self.lab.node("controller")?;
        let mut serving = controller::serve(node)?;
        wait::until("the controller's first answer", ONLINE_LIMIT, || {
            controller::still_running(node, &mut serving)?;
            self.ctl(&["hosts"]).map(Some)
        })?;
        self.controller = Some(serving);
        Ok(())
    }

    /// Ends the controller without a chance to tidy up.
    pub fn kill_controller(&mut self) -> Result<()> {
        self.controller
            .take()
            .context("no controller is running")?
            .kill()
    }

    /// Runs `cordonctl` on the controller and reads its answer.
    pub fn ctl(&self, arguments: &[&str]) -> Result<Value> {
        controller::ctl(self.lab.node("controller")?, arguments)
    }

    /// Runs `cordonctl` on the controller and returns what a person would read.
    pub fn show(&self, arguments: &[&str]) -> Result<String> {
        controller::show(self.lab.node("controller")?, arguments)
    }

    /// HTTP status of a page of the console for somebody who has not signed in.
    pub fn status_of_page(&self, path: &str) -> Result<u16> {
        controller::status_of_page(self.lab.node("controller")?, path)
    }

    /// Signs the next policy and pushes it.
    pub fn push_policy(&mut self, mode: &str) -> Result<()> {
        self.policy_version += 1;
        let node = self.lab.node("controller")?;
        let policy = controller::policy(node, self.policy_version, mode)?;
        controller::sign_and_push(node, &policy)
    }

    /// Changes the next policy before it is signed, and pushes it; [`Self::wait_online`] waits for
    /// the last one that [`Self::push_policy`] made all the same.
    pub fn push_changed_policy(&self, change: impl Fn(&mut Value)) -> Result<()> {
        let node = self.lab.node("controller")?;
        let mut policy = controller::policy(node, self.policy_version + 1, "observe")?;
        change(&mut policy);
        controller::sign_and_push(node, &policy)
    }

    /// Pushes the next policy, signed by a key that is not this site's.
    pub fn push_forged_policy(&self) -> Result<()> {
        let node = self.lab.node("controller")?;
        let policy = controller::policy(node, self.policy_version + 1, "observe")?;
        controller::forge_and_push(node, &policy)
    }

    /// A join token that serves `uses` hosts.
    pub fn join_token(&self, uses: usize) -> Result<String> {
        let uses = uses.to_string();
        let answer = self.ctl(&["token", "create", "--group", GROUP, "--uses", &uses])?;
        let token = answer["token"].as_str();
        token
            .map(str::to_owned)
            .with_context(|| format!("no token in {answer}"))
    }

    /// Enrols an endpoint.
    pub fn enrol(&self, name: &str, token: &str) -> Result<()> {
        self.enrol_with(name, &self.site.ca_fingerprint, token)
    }

    /// Tries to enrol an endpoint that takes the controller for one with this CA fingerprint.
    pub fn enrol_with(&self, name: &str, ca_fingerprint: &str, token: &str) -> Result<()> {
        let node = self.lab.node(name)?;
        agents::configure(node)?;
        agents::enrol(node, ca_fingerprint, token)
    }

    /// Starts an endpoint's agent.
    pub fn start_agent(&mut self, name: &str) -> Result<()> {
        let agent = agents::start(self.lab.node(name)?)?;
        self.agents.insert(name.to_owned(), agent);
        Ok(())
    }

    /// Starts an endpoint's agent with every right of root but those that eBPF needs.
    pub fn start_agent_without_bpf(&mut self, name: &str) -> Result<()> {
        let agent = agents::start_without_bpf(self.lab.node(name)?)?;
        self.agents.insert(name.to_owned(), agent);
        Ok(())
    }

    /// Ends an endpoint's agent without a chance to tidy up.
    pub fn kill_agent(&mut self, name: &str) -> Result<()> {
        self.take_agent(name)?.kill()
    }

    /// Hands over an endpoint's running agent.
    pub fn take_agent(&mut self, name: &str) -> Result<Guest> {
        let missing = || format!("no agent is running on {name}");
        self.agents.remove(name).with_context(missing)
    }

    /// An endpoint as the controller knows it.
    pub fn host(&self, name: &str) -> Result<Value> {
        let hosts = self.ctl(&["hosts"])?;
        let missing = || format!("the controller knows no host {name}: {hosts}");
        list(&hosts)
            .iter()
            .find(|host| host["name"] == name)
            .cloned()
            .with_context(missing)
    }

    /// Waits until the agent holds the policy and its sensor, and the controller hears it.
    pub fn wait_online(&self, name: &str) -> Result<Value> {
        self.wait_host(name, "online with the policy", ONLINE_LIMIT, |host| {
            host["online"] == true && host["policy_version"].as_u64() == Some(self.policy_version)
        })
        .with_context(|| self.agent_log(name))
    }

    /// Waits until a host is as wanted.
    pub fn wait_host(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        let found = wait::until(&format!("{name} {what}"), limit, || {
            last = self.host(name)?;
            Ok(wanted(&last).then(|| last.clone()))
        });
        found.with_context(|| format!("{name} was last seen as {last}"))
    }

    /// Waits for a sign of life that was sent after this call.
    pub fn wait_heartbeat(&self, name: &str, limit: Duration) -> Result<Duration> {
        let started = Instant::now();
        let before = self.host(name)?["last_seen_at"].clone();
        self.wait_host(name, "heard again", limit, |host| {
            host["online"] == true && host["last_seen_at"] != before
        })?;
        Ok(started.elapsed())
    }

    /// All incidents.
    pub fn incidents(&self) -> Result<Vec<Value>> {
        Ok(list(&self.ctl(&["incidents"])?).to_vec())
    }

    /// The end of what an agent logged, for error messages.
    pub fn agent_log(&self, name: &str) -> String {
        let node = self.lab.node(name);
        node.and_then(agents::log_tail)
            .unwrap_or_else(|error| format!("{error:#}"))
    }
}

/// A list that may be bare or under `items`.
fn list(value: &Value) -> &[Value] {
    let array = value.as_array().or_else(|| value["items"].as_array());
    array.map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("unknown")
}
