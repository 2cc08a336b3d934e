//! The demo's own tools, tried where no agent interferes: an attack that does not work proves nothing.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::time::Duration;

use cordon_tests::demo::{Attack, Reach, ordinary_work, peers_of};
use cordon_tests::lab::{Lab, LabOptions};
use cordon_tests::narrator::Narrator;

const LIMIT: Duration = Duration::from_secs(5);

fn lab() -> Lab {
    let program = env!("CARGO_BIN_EXE_cordon-lab").into();
    let endpoints = 2;
    Lab::up(&LabOptions { endpoints, program }).unwrap()
}

#[test]
fn the_attack_gives_a_shell_when_nothing_stops_it() {
    let lab = lab();
    let (victim, outside) = (lab.node("ep1").unwrap(), lab.node("outside").unwrap());
    Attack::prepare(victim).unwrap();
    Attack::visit(lab.node("ep2").unwrap(), victim).unwrap();
    let mut attack = Attack::open(outside, victim).unwrap();
    assert!(attack.ask("id; uname -a", "uid=", LIMIT).unwrap());
    let ancestry = victim.succeed(&["ps", "-eo", "args"]).unwrap();
    assert!(ancestry.contains("/bin/sh -i"), "{ancestry}");
    drop_everything(victim);
    assert!(!attack.ask("id", "uid=", LIMIT).unwrap());
}

#[test]
fn the_probes_tell_an_open_host_from_a_shut_one() {
    let lab = lab();
    let host = lab.node("ep1").unwrap();
    let door = Reach::open(host).unwrap();
    let peers = ["ep2", "outside"].map(|name| Reach::open(lab.node(name).unwrap()).unwrap());
    let ways = peers_of(&door, &peers).unwrap();
    assert_eq!(ways.len(), 8);
    assert!(ways.iter().all(|(_, open)| *open), "{ways:?}");
    drop_everything(host);
    let ways = peers_of(&door, &peers).unwrap();
    assert!(ways.iter().all(|(_, open)| !open), "{ways:?}");
}

#[test]
fn ordinary_work_succeeds_where_nothing_watches() {
    let lab = lab();
    let (host, administrator) = (lab.node("ep1").unwrap(), lab.node("ep2").unwrap());
    ordinary_work(host, administrator, &Narrator::to_stderr()).unwrap();
}

fn drop_everything(node: &cordon_tests::lab::Node) {
    let rules = "add table inet t; \
                 add chain inet t i { type filter hook input priority 0; policy drop; }; \
                 add chain inet t o { type filter hook output priority 0; policy drop; }";
    node.succeed(&["nft", rules]).unwrap();
}
