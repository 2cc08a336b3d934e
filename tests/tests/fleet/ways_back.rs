//! Every isolation ends without the controller, and without a network.

use super::*;

#[test]
fn a_lease_opens_the_host_by_itself_while_the_controller_is_away() {
    let mut fleet = fleet();
    let doors = Doors::open(&fleet);
    let drill = [
        "isolate", "ep1", "--reason", "drill", "--lease", "8", "--wait",
    ];
    let order = fleet.ctl(&drill).unwrap();
    assert_eq!(order["state"], "done", "{order}");
    fleet.kill_controller().unwrap();
    doors.assert_all(false);
    wait_open(&fleet);
    doors.assert_all(true);
    fleet.start_controller().unwrap();
    let released = |host: &Value| host["isolation"]["state"] == "released";
    let host = fleet.wait_host("ep1", "told as open", LIMIT, released);
    assert_eq!(host.unwrap()["isolation"]["reason"], "lease is over");
}

#[test]
fn root_at_the_machine_opens_it_with_neither_agent_nor_controller() {
    let mut fleet = fleet();
    let doors = Doors::open(&fleet);
    let _shell = attack(&fleet);
    wait_confirmed(&fleet);
    fleet.kill_agent("ep1").unwrap();
    fleet.kill_controller().unwrap();
    doors.assert_all(false);
    let release = ["cordon-agent", "release", "--reason", "the owner is here"];
    fleet.node("ep1").unwrap().succeed(&release).unwrap();
    wait_open(&fleet);
    doors.assert_all(true);
    fleet.start_controller().unwrap();
    fleet.start_agent("ep1").unwrap();
    let released = |host: &Value| host["isolation"]["state"] == "released";
    fleet
        .wait_host("ep1", "told as open", LIMIT, released)
        .unwrap();
}

#[test]
fn what_a_reboot_finds_on_disk_is_back_in_the_kernel_before_the_agent_runs() {
    let mut fleet = fleet();
    let doors = Doors::open(&fleet);
    let _shell = attack(&fleet);
    let isolation = wait_confirmed(&fleet);
    fleet.kill_agent("ep1").unwrap();
    let node = fleet.node("ep1").unwrap();
    // A reboot leaves the disk and forgets the kernel's rules.
    node.succeed(&["nft", "flush", "ruleset"]).unwrap();
    doors.assert_all(true);
    node.succeed(&["cordon-agent", "restore"]).unwrap();
    doors.assert_all(false);
    fleet.start_agent("ep1").unwrap();
    fleet.wait_online("ep1").unwrap();
    assert_eq!(wait_confirmed(&fleet)["id"], isolation["id"]);
}

#[test]
fn a_state_file_that_a_reboot_finds_damaged_is_reported_though_the_daemon_does_not_see_it() {
    let mut fleet = fleet();
    let doors = Doors::open(&fleet);
    let drill = ["isolate", "ep1", "--reason", "drill", "--wait"];
    let order = fleet.ctl(&drill).unwrap();
    assert_eq!(order["state"], "done", "{order}");
    fleet.kill_agent("ep1").unwrap();
    let node = fleet.node("ep1").unwrap();
    node.succeed(&["nft", "flush", "ruleset"]).unwrap();
    let file = "/var/lib/cordon/isolation.json";
    node.write(file, "{\"version\":1,\"pha").unwrap();
    let said = node.succeed(&["cordon-agent", "restore"]).unwrap();
    assert!(said.contains("the host is open"), "{said}");
    assert!(!node.path(file).exists());
    doors.assert_all(true);
    fleet.start_agent("ep1").unwrap();
    fleet.wait_online("ep1").unwrap();
    let reported = || {
        let events = events(&fleet, "ep1");
        let found = tampering(&events, "damaged, the host is open");
        Ok(found.first().map(|e| e["body"].clone()))
    };
    let report = wait::until("a report of the damage", LIMIT, reported).unwrap();
    assert_eq!(report["repaired"], false);
}

fn wait_open(fleet: &Fleet) {
    let node = fleet.node("ep1").unwrap();
    let open = || Ok((!is_cut_off(node)?).then_some(()));
    wait::until("the rules to go", LIMIT, open)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")));
}
