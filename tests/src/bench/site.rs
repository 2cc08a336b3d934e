//! Cordon on the machine itself: a real controller, a signed policy that only observes, an enrolled agent with
//! its model, everything in one folder and on loopback.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use super::guard::Guard;
use super::process::{self, Process};
use crate::wait;

const SITE: &str = "bench";
const GROUP: &str = "servers";
const READY: Duration = Duration::from_mins(1);

/// A controller with an enrolled host.
pub struct Site<'a> {
    programs: PathBuf,
    folder: PathBuf,
    watched: PathBuf,
    guard: &'a Guard,
    controller: Process<'a>,
}

impl<'a> Site<'a> {
    /// Makes the site in `folder`, starts the controller, pushes the policy and enrols this machine.
    /// `programs` is where the product's programs are, `watched` a folder in which the agent is to watch files.
    pub fn start(guard: &'a Guard, programs: &Path, folder: &Path, watched: &Path) -> Result<Self> {
        let data = folder.join("controller");
        let (grpc, http) = (free_port()?, free_port()?);
        let address = format!("127.0.0.1:{grpc}");
        let program = programs.join("cordon-controller");
        let arguments = [
            "init",
            "--data",
            &text(&data),
            "--site",
            SITE,
            "--address",
            &address,
            "--json",
        ];
        let made: Value = serde_json::from_str(&process::read(&program, &arguments)?)?;
        let settings = data.join("controller.toml");
        let listening = fs::read_to_string(&settings)?.replace(":8443", &format!(":{http}"));
        fs::write(&settings, listening)?;
        let mut command = Command::new(program);
        command.args(["serve", "--data"]).arg(&data);
        command.env("CORDON_LOG", "warn");
        let log = folder.join("controller.log");
        let serving = Process::start(guard, &mut command, &log, Stdio::null())?;
        let mut site = Self {
            programs: programs.to_owned(),
            folder: folder.to_owned(),
            watched: watched.to_owned(),
            guard,
            controller: serving,
        };
        site.wait_for_controller()?;
        site.push_policy()?;
        let fingerprint = made["ca_fingerprint"].as_str();
        site.enrol(&address, fingerprint.context("init names no CA")?)?;
        Ok(site)
    }

    fn wait_for_controller(&mut self) -> Result<()> {
        let log = self.folder.join("controller.log");
        wait::until("the controller's first answer", READY, || {
            self.controller.still_runs()?;
            self.ctl(&["hosts"]).map(Some)
        })
        .with_context(|| fs::read_to_string(log).unwrap_or_default())
        .map(drop)
    }

    fn ctl(&self, arguments: &[&str]) -> Result<Value> {
        let data = text(&self.folder.join("controller"));
        let arguments = [&["--data", &data, "--json"], arguments].concat();
        let said = process::read(self.programs.join("cordonctl"), &arguments)?;
        serde_json::from_str(&said).with_context(|| format!("cordonctl did not print JSON: {said}"))
    }

    fn push_policy(&self) -> Result<()> {
        let keys = self.folder.join("controller/keys");
        let order_key = fs::read_to_string(keys.join("order.pub"))?;
        let now = Timestamp::now();
        let policy = json!({
            "version": 1, "site": SITE, "group": GROUP,
            "issued_at": now, "expires_at": now + (24 * 30).hours(),
            "mode": "observe",
            "isolation": { "lease_seconds": 3600, "without_proof": "stay_shut", "allow": [] },
            "caps": { "isolations_per_hour": 0 },
            "protected_processes": [],
            "order_keys": [{ "public_key": order_key.trim(), "verbs": ["isolate", "release"] }],
        });
        let (plain, signed) = (
            self.folder.join("policy.json"),
            self.folder.join("policy.signed.json"),
        );
        fs::write(&plain, policy.to_string())?;
        let key = text(&keys.join("policy.key"));
        let arguments = ["policy", "sign", "--key", &key, &text(&plain)];
        fs::write(
            &signed,
            process::read(self.programs.join("cordonctl"), &arguments)?,
        )?;
        self.ctl(&["policy", "push", &text(&signed)]).map(drop)
    }

    fn enrol(&self, controller: &str, fingerprint: &str) -> Result<()> {
        let token = self.ctl(&["token", "create", "--group", GROUP, "--uses", "1"])?;
        let token = token["token"].as_str().context("no token")?.to_owned();
        fs::write(self.config(), self.settings())?;
        let arguments = [
            "enroll",
            "--config",
            &text(&self.config()),
            "--controller",
            controller,
            "--ca-fingerprint",
            fingerprint,
            "--token",
            &token,
        ];
        process::read(self.agent_program(), &arguments).map(drop)
    }

    /// The whole machine, the folder of the work, and all else by default.
    fn settings(&self) -> String {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/model/artifact");
        format!(
            "state_dir = {state:?}\nrun_dir = {run:?}\n[sensor]\nscope = \"host\"\n\
             [sensor.files]\nwatched = [{watched:?}]\n[model]\ndir = {model:?}\n",
            state = text(&self.folder.join("agent")),
            run = text(&self.folder.join("run")),
            watched = text(&self.watched),
            model = text(&model),
        )
    }

    fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }

    fn agent_program(&self) -> PathBuf {
        self.programs.join("cordon-agent")
    }

    /// Starts the agent and waits until it watches, judges and is heard.
    pub fn start_agent(&self) -> Result<Agent<'a>> {
        let mut command = Command::new(self.agent_program());
        command.args(["run", "--config"]).arg(self.config());
        let log = self.folder.join("agent.log");
        let daemon = Process::start(self.guard, &mut command, &log, Stdio::null())?;
        let mut agent = Agent {
            daemon,
            program: self.agent_program(),
            config: self.config(),
        };
        let ready = wait::until("the agent", READY, || {
            agent.daemon.still_runs()?;
            let status = agent.status()?;
            let is_ready = status["connected"] == true && status["policy_version"] == 1;
            let starting = |key: &str| status[key] == "starting";
            Ok((is_ready && !starting("sensor_mode") && !starting("model")).then_some(status))
        });
        let status = ready.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        for (key, lacking) in [("sensor_mode", "ebpf"), ("model", "none")] {
            let is_good = (status[key] == lacking) == (key == "sensor_mode");
            ensure!(is_good, "the agent runs with {key} {}", status[key]);
        }
        process::settle(&[agent.daemon.pid()])?;
        Ok(agent)
    }
}

/// The running daemon.
pub struct Agent<'a> {
    daemon: Process<'a>,
    program: PathBuf,
    config: PathBuf,
}

impl Agent<'_> {
    /// Its pid: all of its work is done in this one process.
    pub fn pid(&self) -> i32 {
        self.daemon.pid()
    }

    /// What `cordon-agent status --json` says.
    pub fn status(&self) -> Result<Value> {
        let arguments = ["status", "--json", "--config", &text(&self.config)];
        Ok(serde_json::from_str(&process::read(
            &self.program,
            &arguments,
        )?)?)
    }

    /// An error when it ended by itself.
    pub fn still_runs(&mut self) -> Result<()> {
        self.daemon.still_runs()
    }

    /// Ends it.
    pub fn stop(self) -> Result<()> {
        self.daemon.stop()
    }
}

/// A port of loopback that nobody had just now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
