//! Where it is played: a controller, one endpoint with an agent that may act, a host outside, and senders that never stop.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::packets::{Ear, PORT, Packet};
use crate::command::program;
use crate::demo::{Attack, WEB_PORT};
use crate::fleet::{Fleet, FleetOptions};
use crate::lab::{Guest, LabOptions, Node};
use crate::narrator::Narrator;
use crate::wait;

/// The endpoint.
pub const HOST: &str = "ep1";
/// Whom it must not reach.
pub const OUTSIDE: &str = "outside";
/// No packet for so long: the host is shut, or about to be found open.
pub const SILENCE: Duration = Duration::from_millis(100);
/// What is sure to come takes less.
pub const LIMIT: Duration = Duration::from_mins(2);

/// Names of what is sent out of the host: by a process in the web server's tree and by one that is in no tree with it,
/// over both families each.
pub const OUT: [u8; 4] = [0, 1, 2, 3];
/// Names of what is sent into it.
pub const IN: [u8; 2] = [10, 11];
/// From one packet of a sender to its next, microseconds.
const EVERY: &str = "200";
const EVERY_IN: &str = "1000";

/// More than any run of this bench isolates.
const CAP: u64 = 1_000_000;
/// A page that starts a sender and answers; the sender lives on in the server's tree, and does not look like a visit.
const STARTER: &str = "/srv/www/cgi-bin/starter";

/// All of it.
pub struct Stage {
    /// Controller, agent and nodes.
    pub fleet: Fleet,
    /// Hears what leaves the host.
    pub out: Ear,
    /// Hears what enters it.
    pub inward: Ear,
    _senders: Vec<Guest>,
}

impl Stage {
    /// Brings it up and waits until packets flow.
    pub fn up(narrator: &Narrator) -> Result<Self> {
        let program = program()?.with_file_name("cordon-lab");
        ensure!(
            program.exists(),
            "{} is not there: build it with `cargo xtask bench contain`",
            program.display()
        );
        let options = FleetOptions::of(LabOptions {
            endpoints: 1,
            program,
        });
        let fleet = Fleet::up(&options, narrator)?;
        lift_cap(&fleet)?;
        let (host, outside) = (fleet.node(HOST)?, fleet.node(OUTSIDE)?);
        let (out, inward) = (Ear::open(outside)?, Ear::open(host)?);
        Attack::prepare(host)?;
        send_within_tree(host, outside)?;
        // In time on a busy machine too: a packet that was not sent in time looks like one that was dropped.
        let in_time = ["chrt", "--fifo", "50"].map(str::to_owned);
        let elsewhere = [&in_time[..], &sender(outside, OUT[2], EVERY)].concat();
        let into = sender(host, IN[0], EVERY_IN);
        let senders = vec![spawn(host, &elsewhere)?, spawn(outside, &into)?];
        let stage = Self {
            fleet,
            out,
            inward,
            _senders: senders,
        };
        stage.wait_open(LIMIT)?;
        Ok(stage)
    }

    /// The endpoint.
    pub fn host(&self) -> Result<&Node> {
        self.fleet.node(HOST)
    }

    /// Waits until packets of every sender pass from now on, out and in.
    pub fn wait_open(&self, limit: Duration) -> Result<()> {
        self.forget();
        let mut heard: Vec<Packet> = Vec::new();
        wait::until("packets of every sender", limit, || {
            heard.extend(self.out.take());
            heard.extend(self.inward.take());
            let is_heard = |stream: &u8| heard.iter().any(|packet| packet.stream == *stream);
            Ok(OUT.iter().chain(&IN).all(is_heard).then_some(()))
        })
    }

    /// Waits until the rules are in the kernel and no packet passes. `false`: that did not happen in time.
    pub fn is_shut_within(&self, limit: Duration) -> bool {
        let shut = wait::until("silence", limit, || {
            // Silence first: it costs the machine nothing, while an isolation may be on its way.
            let is_silent =
                self.out.is_silent_for(SILENCE)? && self.inward.is_silent_for(SILENCE)?;
            Ok((is_silent && Rules::read(self.host()?)?.is_some()).then_some(()))
        });
        shut.is_ok()
    }

    /// What was heard until now is of no interest.
    pub fn forget(&self) {
        self.out.take();
        self.inward.take();
    }

    /// Opens the host by root at the machine, which needs no controller.
    pub fn release(&self) -> Result<()> {
        let release = ["cordon-agent", "release", "--reason", "the bench goes on"];
        self.host()?.succeed(&release).map(drop)
    }
}

/// The agent may isolate as often as it likes.
fn lift_cap(fleet: &Fleet) -> Result<()> {
    fleet.push_changed_policy(|policy| {
        policy["mode"] = json!("autonomous");
        policy["caps"]["isolations_per_hour"] = json!(CAP);
    })?;
    let taken = |host: &Value| host["online"] == true && host["policy_version"] == 2;
    fleet
        .wait_host(HOST, "with the second policy", LIMIT, taken)
        .map(drop)
}

/// Has the web server start a sender, by an ordinary visit.
fn send_within_tree(host: &Node, outside: &Node) -> Result<()> {
    let command = sender(outside, OUT[0], EVERY).join(" ");
    let page = format!(
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nstarted\\n'\n\
         env -i PATH=/usr/bin setsid -f {command} </dev/null >/dev/null 2>&1\n"
    );
    host.write(STARTER, page)?;
    host.succeed(&["chmod", "755", STARTER])?;
    let server = SocketAddr::new(host.address_v4().into(), WEB_PORT);
    let mut visit = outside.within_network(|| Ok(TcpStream::connect(server)?))?;
    visit.set_read_timeout(Some(LIMIT))?;
    write!(visit, "GET /cgi-bin/starter HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    visit.read_to_string(&mut answer)?;
    ensure!(answer.contains("started"), "the page said: {answer}");
    Ok(())
}

fn sender(to: &Node, stream: u8, every: &str) -> Vec<String> {
    let mut words = vec!["cordon-bench".to_owned(), "send".to_owned()];
    for address in to.addresses() {
        words.extend([
            "--to".to_owned(),
            SocketAddr::new(address, PORT).to_string(),
        ]);
    }
    let stream = stream.to_string();
    words.extend(["--stream", &stream, "--every", every].map(str::to_owned));
    words
}

fn spawn(node: &Node, command: &[String]) -> Result<Guest> {
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    node.spawn(&command, "/var/log/sender.log")
}

/// The isolation's rules in a node's kernel, without what names one isolation. Read by a process that the agent does not
/// see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(String);

impl Rules {
    /// `None`: there are none.
    pub fn read(node: &Node) -> Result<Option<Self>> {
        let said = nft(node, &["--stateless", "list", "ruleset"])?;
        let lines = said
            .lines()
            .map(|line| match line.split_once(" comment \"") {
                Some((rule, _)) => rule,
                None => line,
            });
        let listed = lines.collect::<Vec<_>>().join("\n");
        Ok(listed.contains("table").then_some(Self(listed)))
    }
}

/// Runs `nft` with the node's network and nothing else of the node.
pub fn nft(node: &Node, arguments: &[&str]) -> Result<String> {
    let program = Path::new("/usr/sbin/nft");
    let output = node.within_network(|| {
        let output = Command::new(program).args(arguments).output();
        output.context("cannot run nft (package nftables)")
    })?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft: {}", complaint.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A time that the controller told, CLOCK_REALTIME nanoseconds: the lab's machines have one clock.
pub fn told_ns(object: &Value, field: &str) -> Result<i64> {
    let text = object[field].as_str();
    let text = text.with_context(|| format!("no {field} in {object}"))?;
    let time: Timestamp = text.parse()?;
    Ok(time.as_nanosecond() as i64)
}

/// Nanoseconds as milliseconds.
pub fn millis(nanos: i64) -> f64 {
    nanos as f64 / 1e6
}
