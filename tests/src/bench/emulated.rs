//! A lab whose endpoint is an emulated machine: a Debian that boots, with systemd and the agent's own units, enrolled with the
//! lab's controller. Benches that need more of a host than a namespace is are played on it.

pub mod machine;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::report::{Goal, Report};
use crate::command::program;
use crate::fleet::{Fleet, FleetOptions, GRPC_PORT};
use crate::lab::{LabOptions, Node};
use crate::narrator::Narrator;
use machine::{Machine, SHARE, TAP};

/// The endpoint whose place the machine takes.
pub const HOST: &str = "ep1";
/// What is sure to come takes less, emulated.
pub const LIMIT: Duration = Duration::from_mins(5);

/// Where the site keeps its release key, on the controller.
const RELEASE_KEY: &str = "/var/lib/cordon-controller/keys/release.pub";
/// What the guest needs, beside the agent and its model.
const FILES: [(&str, &str); 8] = [
    ("run", include_str!("emulated/guest/run")),
    ("lan.network", include_str!("emulated/guest/lan.network")),
    (
        "cordon-agent.service",
        include_str!("../../../packaging/cordon-agent.service"),
    ),
    (
        "cordon-agent-restore.service",
        include_str!("../../../packaging/cordon-agent-restore.service"),
    ),
    (
        "cordon-agent-quarantine.socket",
        include_str!("../../../packaging/cordon-agent-quarantine.socket"),
    ),
    (
        "cordon-agent-quarantine@.service",
        include_str!("../../../packaging/cordon-agent-quarantine@.service"),
    ),
    (
        "cordon-agent-protect.conf",
        include_str!("../../../packaging/cordon-agent-protect.conf"),
    ),
    ("agent.toml", include_str!("../../../packaging/agent.toml")),
];
/// Makes the machine a host of the lab; run in it once.
const INSTALL: &str = include_str!("emulated/guest/install.sh");

/// How such a bench is run.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Write the result to this file, as one JSON object.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// QEMU with a processor, memory, and a Debian to boot that runs `/share/run`.
    #[arg(last = true, required = true)]
    machine: Vec<String>,
}

/// What a bench does with the machine that this command starts.
pub type Play = fn(&[String], &Narrator, &mut Report) -> Result<()>;

/// Runs a bench. Success: what was to hold, holds.
pub fn run(name: &str, arguments: &Arguments, play: Play) -> Result<ExitCode> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "run as root: a lab of namespaces is made"
    );
    let narrator = Narrator::to_stderr();
    let mut report = Report::new(name, "dev", false);
    if let Err(error) = play(&arguments.machine, &narrator, &mut report) {
        narrator.note(&format!("{error:#}"));
        report.add("story", "", Goal::Exactly(0.0), Err(error));
    }
    report.conclude(arguments.json.as_deref())
}

/// What is wanted of an endpoint.
pub struct Plan<'a> {
    /// QEMU with a processor, memory, a kernel and a disk.
    pub command: &'a [String],
    /// And with more of its options.
    pub options: &'a [&'a str],
    /// Files to share with the guest, beside those of the agent: name and content.
    pub files: &'a [(&'a str, &'a str)],
    /// What is run in the guest once it is a host of the lab, before its agent starts.
    pub prepare: &'a str,
    /// What the policy says beside the holder of a release key.
    pub policy: &'a dyn Fn(&mut Value),
}

/// The endpoint and its controller.
pub struct Endpoint {
    /// The machine.
    pub machine: Machine,
    /// The lab with everybody else.
    pub fleet: Fleet,
}

impl Endpoint {
    /// A controller, and the machine as an enrolled host of the lab that is online.
    pub fn begin(plan: &Plan<'_>, narrator: &Narrator) -> Result<Self> {
        narrator.step("a controller, an emulated machine with systemd, a host outside");
        let fleet = fleet(plan.policy, narrator)?;
        let host = fleet.node(HOST)?;
        provide(host, plan.files)?;
        fleet.lab().stand_in(HOST, TAP)?;
        let began = Instant::now();
        let mut machine = Machine::start(host, plan.command, plan.options)?;
        machine.wait_booted()?;
        narrator.note(&format!("booted in {:.0} s", began.elapsed().as_secs_f64()));
        machine.run(INSTALL, LIMIT)?;
        machine.run(plan.prepare, LIMIT)?;
        let enrol = format!(
            "cordon-agent enroll --controller controller:{GRPC_PORT} --ca-fingerprint {} --token {}",
            fleet.site().ca_fingerprint,
            fleet.join_token(1)?
        );
        machine.run(&enrol, LIMIT)?;
        machine.run("systemctl start cordon-agent.service", LIMIT)?;
        let endpoint = Self { machine, fleet };
        let host = endpoint.wait_host("online with the policy", |host| {
            host["online"] == true && host["policy_version"] == 1
        })?;
        let sensor = &host["sensor_mode"];
        narrator.note(&format!("{HOST} is online, its sensor is {sensor}"));
        Ok(endpoint)
    }

    /// Has the guest boot anew; returns when it went down.
    pub fn reboot(&mut self) -> Result<Instant> {
        self.machine.go_down("systemctl reboot")?;
        Ok(Instant::now())
    }

    /// Waits until the controller sees the host so.
    pub fn wait_host(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        self.fleet.wait_host(HOST, what, LIMIT, wanted)
    }

    /// Bodies of the host's records of a kind that the controller has.
    pub fn records(&self, kind: &str) -> Result<Vec<Value>> {
        let events = self
            .fleet
            .ctl(&["events", "--host", HOST, "--limit", "1000"])?;
        let events = events.as_array().context("no list of events")?;
        let of_kind = events.iter().filter(|event| event["kind"] == kind);
        Ok(of_kind.map(|event| event["body"].clone()).collect())
    }
}

/// Nodes, a controller, and a policy that names a release key.
fn fleet(policy: &dyn Fn(&mut Value), narrator: &Narrator) -> Result<Fleet> {
    let program = program()?.with_file_name("cordon-lab");
    let options = FleetOptions::of(LabOptions {
        endpoints: 1,
        program,
    });
    let fleet = Fleet::with_controller(&options, narrator)?;
    let key = fleet.node("controller")?.read(RELEASE_KEY)?;
    fleet.push_changed_policy(|changed| {
        changed["release_keys"] = json!([{ "name": "night desk", "public_key": key.trim() }]);
        policy(changed);
    })?;
    Ok(fleet)
}

/// Lays what the guest needs into the folder that it shares with the node.
fn provide(node: &Node, files: &[(&str, &str)]) -> Result<()> {
    for (name, content) in FILES.iter().chain(files) {
        node.write(&format!("{SHARE}/{name}"), content)?;
    }
    node.write(&format!("{SHARE}/hosts"), node.read("/etc/hosts")?)?;
    let agent = format!("{SHARE}/cordon-agent");
    for command in [
        ["chmod", "755", &format!("{SHARE}/run")].as_slice(),
        // What only a debugger reads would come through an emulated wire.
        &[
            "strip",
            "--strip-debug",
            "-o",
            &agent,
            "/usr/bin/cordon-agent",
        ],
        &["cp", "-r", "/usr/share/cordon/model", SHARE],
    ] {
        node.succeed(command)?;
    }
    Ok(())
}
