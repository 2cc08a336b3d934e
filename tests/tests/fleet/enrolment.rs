//! Who gets into the fleet, and what everybody else is told.

use super::*;

/// A controller, an endpoint that is nobody yet, and a join token for one host.
fn waiting_room() -> (Fleet, String) {
    let fleet = Fleet::with_controller(&options(2), &Narrator::to_stderr()).unwrap();
    let token = fleet.join_token(1).unwrap();
    (fleet, token)
}

fn refusal(fleet: &Fleet, name: &str, fingerprint: &str, token: &str) -> String {
    let node = fleet.node(name).unwrap();
    let refused = fleet.enrol_with(name, fingerprint, token).unwrap_err();
    let identity = node.exec(&["cordon-agent", "status", "--json"]).unwrap();
    let said = String::from_utf8_lossy(&identity.stdout).into_owned();
    assert!(!said.contains("spiffe://"), "half enrolled: {said}");
    format!("{refused:#}")
}

#[test]
fn a_wrong_token_is_refused_by_name() {
    let (fleet, _) = waiting_room();
    let fingerprint = fleet.site().ca_fingerprint.clone();
    let said = refusal(&fleet, "ep1", &fingerprint, "not-a-token");
    assert!(said.contains("token"), "{said}");
}

#[test]
fn a_token_for_one_host_admits_one_host() {
    let (fleet, token) = waiting_room();
    let fingerprint = fleet.site().ca_fingerprint.clone();
    fleet.enrol("ep1", &token).unwrap();
    let said = refusal(&fleet, "ep2", &fingerprint, &token);
    assert!(said.contains("token") && said.contains("used"), "{said}");
}

#[test]
fn another_controller_is_not_trusted_and_the_token_stays_good() {
    let (fleet, token) = waiting_room();
    let said = refusal(&fleet, "ep1", &"ab".repeat(32), &token);
    assert!(said.contains("fingerprint"), "{said}");
    fleet.enrol("ep1", &token).unwrap();
}

#[test]
fn a_controller_that_does_not_answer_is_named() {
    let (mut fleet, token) = waiting_room();
    fleet.kill_controller().unwrap();
    let fingerprint = fleet.site().ca_fingerprint.clone();
    let said = refusal(&fleet, "ep1", &fingerprint, &token);
    assert!(said.contains("controller:7443"), "{said}");
}
