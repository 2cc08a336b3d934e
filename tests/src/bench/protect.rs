//! What the agent does for itself, under a real systemd: stops that are refused, signals that are told, a code that ends it for
//! good, shutdowns that it does not hold up, and the limits of its unit as the kernel has them. What each row means is in
//! docs/benchmarks.md.

mod journal;
mod limits;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::emulated::{self, Arguments, Endpoint, HOST, LIMIT, Plan};
use super::report::{Goal, Report};
use crate::narrator::Narrator;
use crate::wait;

/// `TimeoutStopSec` of the unit, seconds.
const STOP_LIMIT: f64 = 15.0;
/// What systemd waits for processes that outlive every unit, seconds.
const LAST_LIMIT: f64 = 90.0;
const RELEASE_KEY: &str = "/var/lib/cordon-controller/keys/release.key";
/// What was logged in a boot is kept for the next one.
const KEEP_JOURNAL: &str =
    "install -d /var/log/journal\nsystemctl restart systemd-journald.service\n";
const ADD_DROP_IN: &str = "install -D -m 644 /share/cordon-agent-protect.conf \
                           /etc/systemd/system/cordon-agent.service.d/protect.conf\n\
                           systemctl daemon-reload\n";
/// Where a drop-in of the unit lies.
const DROP_INS: &str = "/etc/systemd/system/cordon-agent.service.d";
/// What a person does to a unit with systemctl that ends it.
const MANUAL_STOPS: [&str; 4] = ["stop", "restart", "try-restart", "reload-or-restart"];

/// Runs it. Success: what was to hold, holds.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    emulated::run("protect", arguments, play)
}

fn play(machine: &[String], narrator: &Narrator, report: &mut Report) -> Result<()> {
    let plan = Plan {
        command: machine,
        options: &[],
        files: &[],
        prepare: KEEP_JOURNAL,
        policy: &|policy: &mut Value| policy["protection"] = json!({ "stop": "code" }),
    };
    let mut story = Story {
        endpoint: Endpoint::begin(&plan, narrator)?,
        narrator,
        report,
    };
    story.narrator.step("the limits of the running agent");
    limits::add(&mut story.endpoint.machine, story.report)?;
    story.stop_without_drop_in()?;
    story.manual_stops()?;
    story.signals()?;
    story.code()?;
    story.reboot()?;
    story.forced_reboot()?;
    story.endpoint.machine.end()
}

/// What it is played with.
struct Story<'a> {
    endpoint: Endpoint,
    narrator: &'a Narrator,
    report: &'a mut Report,
}

impl Story<'_> {
    /// SIGTERM is refused, SIGKILL is not, and systemd takes its own stop for the owner's will.
    fn stop_without_drop_in(&mut self) -> Result<()> {
        self.narrator.step("systemctl stop, without the drop-in");
        let is_named = self.protection()?;
        let is_named = is_named["ok"] == false
            && text(&is_named, "detail").contains("cordon-agent-protect.conf");
        self.add_fact("doctor_names_missing_drop_in", is_named);
        let killed = self.told("tamper", is_killed_by_systemd)?;
        let stop = "began=$(date +%s%3N)\n\
                    systemctl stop cordon-agent.service\n\
                    echo $(($(date +%s%3N) - began))\n";
        let stopped = self.seconds(stop)?;
        self.report.add(
            "stop_without_drop_in",
            "s",
            Goal::AtLeast(STOP_LIMIT),
            Ok(stopped),
        );
        self.start()?;
        self.wait_told("tamper", is_killed_by_systemd, killed + 1)
            .map(|()| self.add_fact("stop_without_drop_in_is_told", true))
    }

    fn manual_stops(&mut self) -> Result<()> {
        self.narrator
            .step("the same and its like, with the drop-in");
        self.run(ADD_DROP_IN)?;
        let protection = self.protection()?;
        self.add_fact("doctor_is_content_with_drop_in", protection["ok"] == true);
        let is_drop_in = |told: &Value| text(told, "what").contains(DROP_INS);
        self.wait_told("tamper", is_drop_in, 1)?;
        self.add_fact("drop_in_is_told", true);
        let pid = self.pid()?;
        let mut refused = 0.0;
        for act in MANUAL_STOPS {
            let command = format!("systemctl {act} cordon-agent.service");
            let (code, said) = self.endpoint.machine.attempt(&command, LIMIT)?;
            self.narrator.note(&format!("{act}: {}", said.trim()));
            if code != "0" {
                refused += 1.0;
            }
        }
        let all = Goal::Exactly(MANUAL_STOPS.len() as f64);
        self.report
            .add("manual_stops_refused", "", all, Ok(refused));
        let same = self.pid()? == pid;
        self.add_fact("manual_stops_lived_through", same);
        Ok(())
    }

    fn signals(&mut self) -> Result<()> {
        self.narrator.step("systemctl kill");
        let pid = self.pid()?;
        let refused = self.told("tamper", is_refused_to_systemd)?;
        self.run("systemctl kill --signal=TERM cordon-agent.service")?;
        self.wait_told("tamper", is_refused_to_systemd, refused + 1)?;
        let same = self.pid()? == pid;
        self.add_fact("sigterm_is_refused_and_told", same);

        let killed = self.told("tamper", is_killed_by_systemd)?;
        let kill = format!(
            "began=$(date +%s%3N)\n\
             systemctl kill --signal=KILL cordon-agent.service\n\
             pid={pid}\n\
             while [ $pid = {pid} ] || [ $pid = 0 ]; do\n\
             \tsleep 0.2\n\
             \tpid=$(systemctl show --value --property=MainPID cordon-agent.service)\n\
             done\n\
             echo $(($(date +%s%3N) - began))\n"
        );
        let again = self.seconds(&kill)?;
        self.report
            .add("sigkill_to_next_start", "s", Goal::None, Ok(again));
        self.wait_told("tamper", is_killed_by_systemd, killed + 1)?;
        self.add_fact("sigkill_is_told_with_who", true);
        Ok(())
    }

    /// It is the owner's will that it stays stopped.
    fn code(&mut self) -> Result<()> {
        self.narrator.step("a stop by code");
        let ask = "cordon-agent --json stop --reason drill 2>/dev/null || true";
        let asked: Value = serde_json::from_str(&self.run(ask)?).context("no challenge")?;
        let challenge = asked["challenge"].as_str().context("no challenge")?;
        let command = ["stop-code", "--key", RELEASE_KEY, "--challenge", challenge];
        let answer = self.endpoint.fleet.ctl(&command)?;
        let code = answer["code"].as_str().context("no code")?;
        self.run(&format!("cordon-agent stop --reason drill --code {code}"))?;
        // Five times what systemd waits before it starts an agent again.
        let look = "sleep 10\n\
                    systemctl show --property=ActiveState,Result,ExecMainStatus cordon-agent.service";
        let stands = self.run(look)?;
        let wanted = ["ActiveState=inactive", "Result=success", "ExecMainStatus=6"];
        let stays = wanted.iter().all(|line| stands.contains(line));
        self.narrator.note(stands.trim());
        self.add_fact("stopped_by_code_stays_stopped", stays);
        let is_leave = |told: &Value| text(told, "reason").contains("by stop code of");
        self.wait_told("agent", is_leave, 1)?;
        self.add_fact("stop_by_code_is_told", true);
        self.start()
    }

    /// Nobody's attempt on the agent, and no slower for it.
    fn reboot(&mut self) -> Result<()> {
        self.narrator.step("a reboot");
        self.wait_outbox()?;
        let tampering = self.endpoint.records("tamper")?.len();
        let began = Instant::now();
        let down = self.endpoint.reboot()?;
        let seconds = (down - began).as_secs_f64();
        self.report
            .add("reboot_to_restart", "s", Goal::None, Ok(seconds));
        self.endpoint.machine.wait_booted()?;
        let log = "journalctl --boot=-1 --unit=cordon-agent.service --output=short-unix --no-pager";
        let log = self.run(log)?;
        let stop = journal::last_stop(&log);
        if stop.is_err() {
            self.narrator.note(&log);
        }
        self.report
            .add("reboot_stop_of_agent", "s", Goal::Below(STOP_LIMIT), stop);
        let is_shutdown = |told: &Value| text(told, "reason").contains("the system goes down");
        self.wait_told("agent", is_shutdown, 1)?;
        self.add_fact("reboot_is_told_as_one", true);
        self.endpoint
            .wait_host("online after the boot", |host| host["online"] == true)?;
        self.wait_outbox()?;
        let told = self.endpoint.records("tamper")?;
        let more = (told.len() - tampering) as f64;
        if more > 0.0 {
            self.narrator.note(&json!(told).to_string());
        }
        let none = Goal::Exactly(0.0);
        self.report
            .add("reboot_told_as_attempt", "records", none, Ok(more));
        Ok(())
    }

    /// systemd asks no unit any more then, and every process once.
    fn forced_reboot(&mut self) -> Result<()> {
        self.narrator.step("a forced reboot");
        let began = Instant::now();
        self.endpoint.machine.go_down("systemctl reboot --force")?;
        let seconds = began.elapsed().as_secs_f64();
        let goal = Goal::Below(LAST_LIMIT);
        self.report
            .add("forced_reboot_to_restart", "s", goal, Ok(seconds));
        Ok(())
    }

    fn run(&mut self, script: &str) -> Result<String> {
        self.endpoint.machine.run(script, LIMIT)
    }

    /// What a script measured and printed in milliseconds.
    fn seconds(&mut self, script: &str) -> Result<f64> {
        let said = self.run(script)?;
        let millis: f64 = said
            .trim()
            .parse()
            .with_context(|| format!("no time: {said}"))?;
        Ok(millis / 1000.0)
    }

    /// Starts the agent, and waits until the controller hears it.
    fn start(&mut self) -> Result<()> {
        self.run("systemctl start cordon-agent.service")?;
        self.endpoint.fleet.wait_heartbeat(HOST, LIMIT).map(drop)
    }

    fn pid(&mut self) -> Result<u32> {
        let said = self.run("systemctl show --value --property=MainPID cordon-agent.service")?;
        let pid = said
            .trim()
            .parse()
            .with_context(|| format!("no pid: {said}"))?;
        ensure!(pid > 0, "the agent does not run");
        Ok(pid)
    }

    /// What `doctor` says of stops.
    fn protection(&mut self) -> Result<Value> {
        let said = self.run("cordon-agent --json doctor 2>/dev/null || true")?;
        let said: Value = serde_json::from_str(&said).context("doctor did not print JSON")?;
        let checks = said["checks"].as_array().context("no checks")?;
        let found = checks.iter().find(|check| check["name"] == "protection");
        let found = found.with_context(|| format!("nothing about protection in {said}"))?;
        self.narrator.note(text(found, "detail"));
        Ok(found.clone())
    }

    /// How many records of a kind the controller has that are such.
    fn told(&self, kind: &str, is_wanted: impl Fn(&Value) -> bool) -> Result<usize> {
        let records = self.endpoint.records(kind)?;
        Ok(records.iter().filter(|body| is_wanted(body)).count())
    }

    /// Waits until there are so many, and shows the newest.
    fn wait_told(
        &self,
        kind: &str,
        is_wanted: impl Fn(&Value) -> bool,
        wanted: usize,
    ) -> Result<()> {
        let mut last = Vec::new();
        wait::until(&format!("{wanted} records of kind {kind}"), LIMIT, || {
            last = self.endpoint.records(kind)?;
            let count = last.iter().filter(|body| is_wanted(body)).count();
            Ok((count >= wanted).then_some(()))
        })
        .with_context(|| format!("there are {}", json!(last)))?;
        if let Some(told) = last.iter().find(|body| is_wanted(body)) {
            self.narrator.note(&told.to_string());
        }
        Ok(())
    }

    /// Waits until the controller has all that the agent has to say.
    fn wait_outbox(&mut self) -> Result<()> {
        wait::until("an empty outbox", LIMIT, || {
            let status = self.run("cordon-agent --json status 2>/dev/null")?;
            let status: Value = serde_json::from_str(&status)?;
            Ok((status["spool_records"] == 0).then_some(()))
        })
    }

    /// 1: it is so.
    fn add_fact(&mut self, metric: &str, is_so: bool) {
        let value = if is_so { 1.0 } else { 0.0 };
        self.report.add(metric, "", Goal::Exactly(1.0), Ok(value));
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Told by the start after it.
fn is_killed_by_systemd(told: &Value) -> bool {
    text(told, "what").contains("was ended by SIGKILL of") && told["by"]["pid"] == 1
}

fn is_refused_to_systemd(told: &Value) -> bool {
    let what = text(told, "what");
    what.starts_with("SIGTERM to the agent by")
        && what.contains("was refused")
        && told["by"]["pid"] == 1
}
