//! A controller on IPv6 alone, and one whose name changes.

use super::*;

const HOSTS: &str = "/etc/hosts";
/// Nobody has it.
const NOBODY: &str = "fd99::fe";

fn name(node: &Node, address: &str) {
    let hosts = format!("127.0.0.1 localhost\n::1 localhost\n{address} controller\n");
    node.write(HOSTS, &hosts).unwrap();
}

fn order(fleet: &Fleet, verb: &str) {
    let order = fleet
        .ctl(&[verb, "ep1", "--reason", "drill", "--wait"])
        .unwrap();
    assert_eq!(
        order["state"],
        "done",
        "{order}\n{}",
        fleet.agent_log("ep1")
    );
}

fn restart(fleet: &mut Fleet) {
    fleet.kill_agent("ep1").unwrap();
    fleet.start_agent("ep1").unwrap();
}

#[test]
fn a_host_is_isolated_and_released_by_a_controller_on_ipv6_whose_name_changes_meanwhile() {
    let mut fleet = Fleet::with_controller(&options(1), &Narrator::to_stderr()).unwrap();
    fleet.push_policy("autonomous").unwrap();
    let controller = fleet.node("controller").unwrap().address_v6().to_string();
    let node = fleet.node("ep1").unwrap().clone();
    name(&node, &controller);
    let token = fleet.join_token(1).unwrap();
    fleet.enrol("ep1", &token).unwrap();
    fleet.start_agent("ep1").unwrap();
    fleet.wait_online("ep1").unwrap();

    order(&fleet, "isolate");
    let isolation = wait_confirmed(&fleet);
    let probes = isolation["probes"].as_array().unwrap();
    let marked = format!("tcp [{controller}]:7443 marked");
    assert!(
        probes
            .iter()
            .any(|probe| probe["target"] == marked.as_str()),
        "{probes:?}"
    );
    assert!(
        probes
            .iter()
            .all(|probe| !probe["target"].as_str().unwrap().contains("10.99.0"))
    );

    // Whoever answers names cannot take the controller away from a host that is isolated.
    name(&node, NOBODY);
    restart(&mut fleet);
    fleet.wait_online("ep1").unwrap();
    order(&fleet, "release");

    // In an open host the name counts.
    restart(&mut fleet);
    let offline = |host: &Value| host["online"] == false;
    fleet
        .wait_host("ep1", "gone with its name", LIMIT * 2, offline)
        .unwrap();
    name(&node, &controller);
    fleet.wait_online("ep1").unwrap();
    order(&fleet, "isolate");
    order(&fleet, "release");
}
