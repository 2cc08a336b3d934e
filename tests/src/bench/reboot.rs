//! An isolated host is rebooted: is it shut before its first packet leaves? An emulated machine with systemd and the agent's
//! own units takes the place of a lab's endpoint, sends in every way there is from the first moment of each boot on, and all
//! that its card sends is captured outside of it. What each row means is in docs/benchmarks.md.

mod capture;
mod frames;
mod noise;
mod wire;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::emulated::{self, Arguments, Endpoint, HOST, LIMIT, Plan};
use super::report::{Goal, Report};
use crate::fleet::GRPC_PORT;
use crate::narrator::Narrator;
use crate::wait;
use frames::{Ends, Sort, Tally};
use noise::kinds_of_noise;
use wire::Wire;

/// Packets that the guest tries to send in a shut boot before it has shown anything.
const TRIES: u64 = 10_000;

/// Runs it. Success: what was to hold, holds.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    emulated::run("reboot", arguments, play)
}

fn play(machine: &[String], narrator: &Narrator, report: &mut Report) -> Result<()> {
    let mut story = Story::begin(machine, narrator, report)?;
    story.open_boot()?;
    story.isolate()?;
    story.shut_boot()?;
    story.agent_starts()?;
    story.release()?;
    story.isolate()?;
    story.damaged_boot()?;
    story.endpoint.machine.end()?;
    story.wire.end()
}

/// What it is played with.
struct Story<'a> {
    endpoint: Endpoint,
    wire: Wire,
    narrator: &'a Narrator,
    report: &'a mut Report,
}

impl<'a> Story<'a> {
    /// The policy leaves root at the machine no way to open it without a code.
    fn begin(command: &[String], narrator: &'a Narrator, report: &'a mut Report) -> Result<Self> {
        let plan = Plan {
            command,
            options: &wire::OPTIONS,
            files: &noise::FILES,
            prepare: noise::INSTALL,
            policy: &|policy: &mut Value| policy["isolation"]["local_release"] = json!(false),
        };
        let endpoint = Endpoint::begin(&plan, narrator)?;
        let host = endpoint.fleet.node(HOST)?;
        let ends = Ends {
            controller: endpoint.fleet.node("controller")?.addresses().into(),
            port: GRPC_PORT,
            subnet: (host.address_v4(), 24),
        };
        let wire = Wire::open(host, ends)?;
        Ok(Self {
            endpoint,
            wire,
            narrator,
            report,
        })
    }

    /// The control: what is sent in a boot gets out while nothing is isolated.
    fn open_boot(&mut self) -> Result<()> {
        self.narrator.step("a boot while the host is open");
        let began = self.endpoint.reboot()?;
        self.endpoint.machine.wait_booted()?;
        self.add_seconds("open_boot_seconds", began);
        self.wait_noise("open_boot_kinds_out")?;
        self.endpoint
            .wait_host("online", |host| host["online"] == true)
            .map(drop)
    }

    fn isolate(&mut self) -> Result<()> {
        self.narrator.step("the controller orders an isolation");
        let order = [
            "isolate", HOST, "--reason", "drill", "--lease", "none", "--wait",
        ];
        let order = self.endpoint.fleet.ctl(&order)?;
        ensure!(order["state"] == "done", "the order came to {order}");
        self.endpoint.wait_host("isolated with proof", |host| {
            host["isolation"]["state"] == "confirmed"
        })?;
        // What left before is of no interest.
        self.wire.take().map(drop)
    }

    /// Nobody but the restore unit holds the host.
    fn shut_boot(&mut self) -> Result<()> {
        self.narrator
            .step("a boot while it is isolated, without the daemon");
        self.endpoint.machine.run("touch /etc/cordon/held", LIMIT)?;
        let began = self.endpoint.reboot()?;
        let down = self.wire.take()?;
        self.add_window("going_down", Goal::None, &down, began);
        self.endpoint.machine.wait_booted()?;
        self.add_seconds("shut_boot_seconds", began);
        self.endpoint
            .wait_host("silent", |host| host["online"] == false)?;
        let early = self.wait_tries("early")?;
        let late = self.wait_tries("late")?;
        let boot = self.wire.take()?;
        self.add_window("shut_boot", Goal::Exactly(0.0), &boot, began);
        let tries = (early + late) as f64;
        let goal = Goal::AtLeast(2.0 * TRIES as f64);
        self.report
            .add("shut_boot_tries", "packets", goal, Ok(tries));
        self.add_order_of_units();
        let daemon = "systemctl is-active cordon-agent.service || true";
        let daemon = self.endpoint.machine.run(daemon, LIMIT)?;
        ensure!(daemon.trim() == "inactive", "the daemon is {daemon}");
        Ok(())
    }

    fn agent_starts(&mut self) -> Result<()> {
        self.narrator
            .step("the daemon starts and adopts the isolation");
        let began = Instant::now();
        let start = "rm /etc/cordon/held && systemctl start cordon-agent.service";
        self.endpoint.machine.run(start, LIMIT)?;
        let seen = self.endpoint.wait_host("online and isolated", |host| {
            host["online"] == true && host["isolation"]["state"] == "confirmed"
        });
        self.add_fact("controller_sees_it_isolated", seen.map(drop));
        let tally = self.wire.take()?;
        self.add_window("agent_started", Goal::AtLeast(1.0), &tally, began);
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        self.narrator.step("a release code is typed in the guest");
        let asked = ["release-code", HOST, "--reason", "the drill is over"];
        let answer = self.endpoint.fleet.ctl(&asked)?;
        let code = answer["code"].as_str().context("no code")?;
        let with = "cordon-agent release --reason 'the drill is over'";
        let root = format!("{with} && exit 1 || true");
        self.endpoint.machine.run(&root, LIMIT)?;
        self.endpoint
            .machine
            .run(&format!("{with} --code {code}"), LIMIT)?;
        self.wait_noise("released_kinds_out")?;
        let seen = self
            .endpoint
            .wait_host("released", |host| host["isolation"]["state"] == "released");
        self.add_fact("controller_sees_it_released", seen.map(drop));
        Ok(())
    }

    /// The file that the restore unit obeys says nothing any more.
    fn damaged_boot(&mut self) -> Result<()> {
        self.narrator
            .step("a boot while it is isolated, the state file damaged");
        let damage = "systemctl stop cordon-agent.service\n\
                      printf '{\"version\":1,\"pha' >/var/lib/cordon/isolation.json";
        self.endpoint.machine.run(damage, LIMIT)?;
        let began = self.endpoint.reboot()?;
        self.wire.take()?;
        self.endpoint.machine.wait_booted()?;
        self.add_seconds("damaged_boot_seconds", began);
        self.wait_noise("damaged_boot_kinds_out")?;
        let kept = self
            .endpoint
            .machine
            .run("test -s /var/lib/cordon/isolation.json.damaged", LIMIT);
        self.add_fact("damaged_boot_keeps_the_file", kept.map(drop));
        let reported = wait::until("a report of the damage", LIMIT, || {
            let is_report = |body: &&Value| {
                let what = body["what"].as_str();
                what.is_some_and(|what| what.contains("state file was damaged"))
            };
            let told = self.endpoint.records("tamper")?;
            Ok(told.iter().find(is_report).map(ToString::to_string))
        });
        if let Ok(report) = &reported {
            self.narrator.note(report);
        }
        self.add_fact("damaged_boot_is_reported", reported.map(drop));
        Ok(())
    }

    /// Waits until packets of every kind leave the guest, and adds how many kinds there were.
    fn wait_noise(&mut self, row: &str) -> Result<()> {
        let kinds = kinds_of_noise(self.endpoint.fleet.node("outside")?);
        let mut missing: BTreeSet<&str> = kinds.iter().map(String::as_str).collect();
        let all = wait::until("every kind of packet", LIMIT, || {
            for (what, _) in self.wire.take()?.others() {
                missing.remove(what);
            }
            Ok(missing.is_empty().then_some(()))
        });
        let out = (kinds.len() - missing.len()) as f64;
        let goal = Goal::Exactly(kinds.len() as f64);
        self.report.add(row, "kinds", goal, Ok(out));
        all.with_context(|| format!("missing: {missing:?}"))
    }

    /// Waits until a sender of the guest has tried often enough in this boot; the tries.
    fn wait_tries(&mut self, sender: &str) -> Result<u64> {
        let file = format!("cat /run/noise-{sender}");
        wait::until("tries to send", LIMIT, || {
            let tries: u64 = self.endpoint.machine.run(&file, LIMIT)?.trim().parse()?;
            Ok((tries >= TRIES).then_some(tries))
        })
    }

    /// A row a kind of packet that left; nobody may have sent any other.
    fn add_window(&mut self, name: &str, controller: Goal, tally: &Tally, since: Instant) {
        for (sort, goal) in [
            (Sort::Arp, Goal::None),
            (Sort::Discovery, Goal::None),
            (Sort::Mld, Goal::None),
            (Sort::Dhcp, Goal::None),
            (Sort::LinkControl, Goal::None),
            (Sort::Controller, controller),
        ] {
            let frames = tally.frames(&sort) as f64;
            self.report
                .add(&format!("{name}_{sort}"), "frames", goal, Ok(frames));
        }
        let mut others = 0;
        let (now, ago) = (wire::now_us(), since.elapsed().as_secs_f64());
        let began = |at_us: u64| ago - now.saturating_sub(at_us) as f64 / 1e6;
        for (what, count) in tally.others() {
            others += count.frames;
            self.narrator.note(&format!(
                "OFFENDER {what}: {} frames, from {:.1} s to {:.1} s",
                count.frames,
                began(count.first_us),
                began(count.last_us)
            ));
        }
        let metric = format!("{name}_other");
        self.report
            .add(&metric, "frames", Goal::Exactly(0.0), Ok(others as f64));
    }

    /// That the senders tried before the rules were there, and that those were before the network.
    fn add_order_of_units(&mut self) {
        let mut stamp = |unit: &str, property: &str| -> Result<f64> {
            let show = format!("systemctl show --value -p {property}TimestampMonotonic {unit}");
            let said = self.endpoint.machine.run(&show, LIMIT)?;
            let micros: f64 = said
                .trim()
                .parse()
                .with_context(|| format!("{show}: {said}"))?;
            ensure!(micros > 0.0, "{unit} did not start");
            Ok(micros / 1e6)
        };
        let sender = stamp("noise-early.service", "ExecMainStart");
        let restored = stamp("cordon-agent-restore.service", "ActiveEnter");
        let network = stamp("systemd-networkd.service", "InactiveExit");
        let difference = |later: &Result<f64>, earlier: &Result<f64>| match (later, earlier) {
            (Ok(later), Ok(earlier)) => Ok(later - earlier),
            (Err(error), _) | (_, Err(error)) => Err(anyhow::anyhow!("{error:#}")),
        };
        for (metric, value) in [
            ("sender_before_rules", difference(&restored, &sender)),
            ("rules_before_network", difference(&network, &restored)),
        ] {
            self.report.add(metric, "s", Goal::AtLeast(0.0), value);
        }
    }

    fn add_seconds(&mut self, metric: &str, since: Instant) {
        let seconds = since.elapsed().as_secs_f64();
        self.report.add(metric, "s", Goal::None, Ok(seconds));
    }

    /// 1: it is so. Else why not.
    fn add_fact(&mut self, metric: &str, fact: Result<()>) {
        let value = fact.map(|()| 1.0);
        self.report.add(metric, "", Goal::Exactly(1.0), value);
    }
}
