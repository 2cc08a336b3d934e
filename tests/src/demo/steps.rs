//! The demo's steps, in order. Each says what it does and what it found.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Attack, Outcome, Reach, Receiver, Standing, ordinary_work, peers_of};
use crate::command::program;
use crate::fleet::{Fleet, FleetOptions};
use crate::lab::LabOptions;
use crate::narrator::Narrator;
use crate::wait;

const VICTIM: &str = "ep1";
const NEIGHBOUR: &str = "ep2";
const ENDPOINTS: u8 = 3;
const LIMIT: Duration = Duration::from_secs(30);
/// How long a dead shell is listened to.
const SILENCE: Duration = Duration::from_secs(2);

/// The running demo.
pub(super) struct Demo<'a> {
    fleet: Fleet,
    receiver: Receiver,
    narrator: &'a Narrator,
}

impl<'a> Demo<'a> {
    pub(super) fn up(narrator: &'a Narrator) -> Result<Self> {
        narrator.step("a controller, three endpoints and an outside host");
        let mut options = FleetOptions::of(LabOptions {
            endpoints: ENDPOINTS,
            program: program()?,
        });
        options.notify = Receiver::channels();
        let fleet = Fleet::up(&options, narrator)?;
        let receiver = Receiver::start(fleet.node("controller")?)?;
        Attack::prepare(fleet.node(VICTIM)?)?;
        Ok(Self {
            fleet,
            receiver,
            narrator,
        })
    }

    pub(super) fn play(&mut self, outcome: &mut Outcome) -> Result<()> {
        self.work()?;
        let doors = self.doors()?;
        self.all_ways_open(&doors)?;
        let standing = self.standing()?;
        let mut attack = self.attack()?;
        let isolation = self.isolation(outcome)?;
        self.prove(&doors, &standing, &mut attack, outcome)?;
        self.incident(&isolation)?;
        self.cards()?;
        self.release(&doors, outcome)
    }

    /// Ordinary work, and then nothing on the controller.
    fn work(&self) -> Result<()> {
        self.narrator.step("ordinary work on ep1");
        let (host, neighbour) = (self.fleet.node(VICTIM)?, self.fleet.node(NEIGHBOUR)?);
        ordinary_work(host, neighbour, self.narrator)?;
        Attack::visit(neighbour, host)?;
        self.narrator.note("ep1: a visit of its status page");
        self.fleet.wait_heartbeat(VICTIM, LIMIT)?;
        let incidents = self.fleet.incidents()?;
        let calm = incidents.is_empty() && !is_isolated(&self.fleet.host(VICTIM)?);
        self.narrator.check("no incident, ep1 is open", calm);
        ensure!(calm, "ordinary work was taken for an attack: {incidents:?}");
        Ok(())
    }

    fn doors(&self) -> Result<(Reach, Vec<Reach>)> {
        let peers = [self.fleet.node("outside")?, self.fleet.node(NEIGHBOUR)?];
        let peers = peers.into_iter().map(Reach::open).collect::<Result<_>>()?;
        Ok((Reach::open(self.fleet.node(VICTIM)?)?, peers))
    }

    fn all_ways_open(&self, doors: &(Reach, Vec<Reach>)) -> Result<()> {
        for (way, open) in peers_of(&doors.0, &doors.1)? {
            self.narrator.check(&format!("{way} is open"), open);
            ensure!(open, "{way} must be open before the attack");
        }
        Ok(())
    }

    /// Connections that the isolation must end, whoever holds them.
    fn standing(&self) -> Result<Standing> {
        let (outside, victim) = (self.fleet.node("outside")?, self.fleet.node(VICTIM)?);
        let standing = Standing::open(outside, victim)?;
        let carries = standing.carries();
        self.narrator
            .check("connections outside -> ep1 stand, both families", carries);
        ensure!(carries, "a new connection must carry data");
        Ok(standing)
    }

    fn attack(&self) -> Result<Attack> {
        self.narrator
            .step("a reverse shell from ep1 to the outside host");
        let (outside, victim) = (self.fleet.node("outside")?, self.fleet.node(VICTIM)?);
        let mut attack = Attack::open(outside, victim)?;
        if !attack.has_shell() {
            self.narrator
                .note("the agent was faster: ep1 was cut off before the shell could call");
            return Ok(attack);
        }
        self.narrator.note("the outside host has a shell on ep1");
        // The agent may be faster than the attacker's first line; then there is no answer.
        let answered = attack.ask("id; uname -a", "uid=", SILENCE)?;
        let heard = if answered {
            "was answered"
        } else {
            "got no answer"
        };
        self.narrator.note(&format!("`id; uname -a` {heard}"));
        Ok(attack)
    }

    /// Waits for the agent's own proof.
    fn isolation(&self, outcome: &mut Outcome) -> Result<Value> {
        self.narrator.step("the agent judges and cuts ep1 off");
        let host = self
            .fleet
            .wait_host(VICTIM, "isolated with proof", LIMIT, |host| {
                host["isolation"]["state"] == "confirmed"
            })
            .with_context(|| self.fleet.agent_log(VICTIM))?;
        let isolation = host["isolation"].clone();
        outcome.detected = true;
        outcome.isolated = true;
        outcome.time_to_contain_ms = isolation["event_to_drop_micros"]
            .as_f64()
            .map(|micros| micros / 1000.0);
        self.narrator.check("isolated, proved by the agent", true);
        for probe in isolation["probes"].as_array().into_iter().flatten() {
            let (target, reached) = (&probe["target"], &probe["reached"]);
            self.narrator
                .note(&format!("agent's probe {target}: reached {reached}"));
        }
        let took = outcome
            .time_to_contain_ms
            .map_or("unknown".to_owned(), |ms| format!("{ms:.1} ms"));
        self.narrator
            .note(&format!("from the kernel's stamp to the drop: {took}"));
        Ok(isolation)
    }

    /// The lab's own probes, from both sides.
    fn prove(
        &self,
        doors: &(Reach, Vec<Reach>),
        standing: &Standing,
        attack: &mut Attack,
        outcome: &mut Outcome,
    ) -> Result<()> {
        self.narrator.step("proof from both sides");
        let heard = self.fleet.wait_heartbeat(VICTIM, LIMIT);
        outcome.controller_reachable = heard.is_ok();
        self.narrator
            .check("the controller hears the agent", heard.is_ok());
        let mut blocked = true;
        for (way, open) in peers_of(&doors.0, &doors.1)? {
            self.narrator.check(&format!("{way} is shut"), !open);
            blocked &= !open;
        }
        let dead = !attack.ask("id", "uid=", SILENCE)?;
        self.narrator.check("the attacker has no shell", dead);
        let cut = !standing.carries();
        self.narrator
            .check("the connections that stood before are dead", cut);
        outcome.forbidden_blocked = blocked && dead && cut;
        Ok(())
    }

    fn incident(&self, isolation: &Value) -> Result<()> {
        self.narrator.step("the incident on the controller");
        let incident = wait::until("the incident", LIMIT, || {
            let incidents = self.fleet.incidents()?;
            let ours = incidents
                .into_iter()
                .find(|one| one["host"]["name"] == VICTIM);
            Ok(ours)
        })?;
        let id = incident["id"].as_str().context("the incident has no id")?;
        self.show(&["hosts"])?;
        self.show(&["incidents"])?;
        self.show(&["incidents", id])?;
        let lease = &isolation["lease_expires_at"];
        self.narrator.note(&format!("lease until {lease}"));
        self.console(id)
    }

    /// What a person at a terminal reads.
    fn show(&self, arguments: &[&str]) -> Result<()> {
        self.narrator
            .note(&format!("$ cordonctl {}", arguments.join(" ")));
        for line in self.fleet.show(arguments)?.lines() {
            self.narrator.note(&format!("  {line}"));
        }
        Ok(())
    }

    /// The page is there for everybody, the incident only behind the login.
    fn console(&self, incident: &str) -> Result<()> {
        let page = self.fleet.status_of_page("/")? == 200;
        let path = format!("/api/v1/incidents/{incident}");
        let guarded = self.fleet.status_of_page(&path)? == 401;
        self.narrator
            .check("the console's page is served over HTTPS", page);
        self.narrator
            .check("the incident is behind the login", guarded);
        ensure!(page && guarded, "the console must answer, and ask who asks");
        Ok(())
    }

    fn cards(&self) -> Result<()> {
        self.narrator.step("a person is told");
        for kind in ["webhook", "feishu"] {
            let card = wait::until(&format!("a card by {kind}"), LIMIT, || {
                Ok(self.receiver.received(kind).into_iter().next())
            })?;
            ensure!(
                card.to_string().contains(VICTIM),
                "the card names no host: {card}"
            );
            self.narrator.check(&format!("a card came by {kind}"), true);
        }
        Ok(())
    }

    fn release(&self, doors: &(Reach, Vec<Reach>), outcome: &mut Outcome) -> Result<()> {
        self.narrator.step("cordonctl release ep1");
        let started = Instant::now();
        let order =
            self.fleet
                .ctl(&["release", VICTIM, "--reason", "the demo is over", "--wait"])?;
        self.narrator
            .note(&format!("took {:.0?}", started.elapsed()));
        self.order_life(&order)?;
        let mut open = true;
        for (way, reached) in peers_of(&doors.0, &doors.1)? {
            self.narrator
                .check(&format!("{way} is open again"), reached);
            open &= reached;
        }
        outcome.released = open && order["state"] == "done";
        Ok(())
    }

    fn order_life(&self, order: &Value) -> Result<()> {
        let id = order["id"].as_str().context("the order has no id")?;
        let order = self.fleet.ctl(&["order", id])?;
        for step in order["history"].as_array().into_iter().flatten() {
            let word = |field: &str| step[field].as_str().unwrap_or_default().to_owned();
            let whose = if step["signed"] == true {
                "signed by the host"
            } else {
                "the controller's word"
            };
            self.narrator.note(&format!(
                "order {:<9} {} ({whose}) {}",
                word("state"),
                word("at"),
                word("detail")
            ));
        }
        Ok(())
    }

    pub(super) fn farewell(&mut self) -> Result<()> {
        let address = self.fleet.open_console()?;
        let site = self.fleet.site();
        self.narrator.plain(&format!(
            "\nconsole  https://{address}\nsign in  {} / {} (one-time password)",
            site.admin_user, site.admin_password
        ));
        Ok(())
    }
}

fn is_isolated(host: &Value) -> bool {
    matches!(
        host["isolation"]["state"].as_str(),
        Some("applied" | "confirmed" | "unproven")
    )
}
