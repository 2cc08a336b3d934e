//! Whole stories in the lab: real agents, a real controller, real rules.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

#[path = "fleet/approvals.rs"]
mod approvals;
#[path = "fleet/attack.rs"]
mod attack;
#[path = "fleet/console.rs"]
mod console;
#[path = "fleet/controllers.rs"]
mod controllers;
#[path = "fleet/degraded.rs"]
mod degraded;
#[path = "fleet/devices.rs"]
mod devices;
#[path = "fleet/disk.rs"]
mod disk;
#[path = "fleet/encryption.rs"]
mod encryption;
#[path = "fleet/ending.rs"]
mod ending;
#[path = "fleet/enrolment.rs"]
mod enrolment;
#[path = "fleet/least_rights.rs"]
mod least_rights;
#[path = "fleet/meddling.rs"]
mod meddling;
#[path = "fleet/peers.rs"]
mod peers;
#[path = "fleet/places.rs"]
mod places;
#[path = "fleet/policy.rs"]
mod policy;
#[path = "fleet/prevention.rs"]
mod prevention;
#[path = "fleet/release_code.rs"]
mod release_code;
#[path = "fleet/steps.rs"]
mod steps;
#[path = "fleet/steps_again.rs"]
mod steps_again;
#[path = "fleet/stopping.rs"]
mod stopping;
#[path = "fleet/traces.rs"]
mod traces;
#[path = "fleet/ways_back.rs"]
mod ways_back;

use std::path::PathBuf;
use std::time::Duration;

use cordon_tests::demo::{Attack, Reach, is_cut_off, peers_of};
use cordon_tests::fleet::{Fleet, FleetOptions};
use cordon_tests::lab::{LabOptions, Node};
use cordon_tests::narrator::Narrator;
use cordon_tests::wait;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);
/// How long a dead connection is listened to.
const SILENCE: Duration = Duration::from_secs(2);

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_cordon-lab").into()
}

fn options(endpoints: u8) -> FleetOptions {
    let program = program();
    FleetOptions::of(LabOptions { endpoints, program })
}

/// A fleet of two whose first endpoint has the flawed page.
fn fleet() -> Fleet {
    let fleet = Fleet::up(&options(2), &Narrator::to_stderr()).unwrap();
    Attack::prepare(fleet.node("ep1").unwrap()).unwrap();
    fleet
}

/// Under a policy that ends who attacks, and whose cap lets no agent isolate.
fn kill_and_stay_open(fleet: &Fleet) {
    let change = |policy: &mut Value| {
        policy["mode"] = "autonomous".into();
        policy["stop"] = "kill".into();
        policy["caps"]["isolations_per_hour"] = 0.into();
    };
    fleet.push_changed_policy(change).unwrap();
    let in_force = |host: &Value| host["policy_version"] == 2;
    fleet
        .wait_host("ep1", "under the new policy", LIMIT, in_force)
        .unwrap();
}

/// Has the node's agent hold a file in quarantine.
fn hold_a_file(node: &Node) {
    node.write("/root/dropper", "dropped").unwrap();
    let add = "cordon-agent quarantine add /root/dropper --reason drill";
    node.succeed(&["sh", "-c", add]).unwrap();
}

/// Doors on the victim and on those that it could reach, all open now.
struct Doors(Reach, Vec<Reach>);

impl Doors {
    fn open(fleet: &Fleet) -> Self {
        let peers = ["ep2", "outside"].map(|name| Reach::open(fleet.node(name).unwrap()).unwrap());
        let doors = Self(
            Reach::open(fleet.node("ep1").unwrap()).unwrap(),
            peers.into(),
        );
        doors.assert_all(true);
        doors
    }

    fn assert_all(&self, open: bool) {
        let ways = peers_of(&self.0, &self.1).unwrap();
        assert!(ways.iter().all(|way| way.1 == open), "{ways:?}");
    }
}

/// Opens the shell from ep1 to the outside host.
fn attack(fleet: &Fleet) -> Attack {
    let (outside, victim) = (fleet.node("outside").unwrap(), fleet.node("ep1").unwrap());
    Attack::open(outside, victim).unwrap()
}

/// Waits until the controller knows of ep1's isolation, with the agent's proof.
fn wait_confirmed(fleet: &Fleet) -> Value {
    let confirmed = |host: &Value| host["isolation"]["state"] == "confirmed";
    let host = fleet
        .wait_host("ep1", "isolated with proof", LIMIT, confirmed)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")));
    host["isolation"].clone()
}

/// Waits until the node's own kernel holds the isolation's rules.
fn wait_cut_off(fleet: &Fleet, name: &str) {
    let node = fleet.node(name).unwrap();
    let cut = || Ok(is_cut_off(node)?.then_some(()));
    wait::until("the isolation's rules in the kernel", LIMIT, cut)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log(name)));
}

/// All of a host's records on the controller, oldest first.
fn events(fleet: &Fleet, name: &str) -> Vec<Value> {
    let events = fleet
        .ctl(&["events", "--host", name, "--limit", "1000"])
        .unwrap();
    let mut events = events.as_array().unwrap().clone();
    events.sort_by_key(|event| event["sequence"].as_u64());
    events
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["kind"] == kind)
        .collect()
}

/// Reports of tampering with these words in them.
fn tampering<'a>(events: &'a [Value], words: &str) -> Vec<&'a Value> {
    let has = |event: &&Value| {
        let what = event["body"]["what"].as_str();
        what.is_some_and(|what| what.contains(words))
    };
    let mut found = of_kind(events, "tamper");
    found.retain(has);
    found
}
