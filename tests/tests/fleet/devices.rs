//! Network devices that come and go while a host is isolated.

use super::*;

fn isolate(fleet: &Fleet) {
    let drill = ["isolate", "ep1", "--reason", "drill", "--wait"];
    let order = fleet.ctl(&drill).unwrap();
    assert_eq!(order["state"], "done", "{order}");
}

fn egress_chains(node: &Node) -> String {
    node.succeed(&["nft", "list", "table", "netdev", "cordon"])
        .unwrap()
}

/// As after a boot: nobody but the restore unit runs, and the daemon comes later.
#[test]
fn the_restore_unit_holds_the_host_until_the_daemon_does() {
    let mut fleet = fleet();
    let doors = Doors::open(&fleet);
    isolate(&fleet);
    fleet.kill_agent("ep1").unwrap();
    let node = fleet.node("ep1").unwrap().clone();
    node.succeed(&["nft", "flush", "ruleset"]).unwrap();
    let watch = ["cordon-agent", "restore", "--watch"];
    let mut unit = node.spawn(&watch, "/var/log/restore.log").unwrap();
    wait_cut_off(&fleet, "ep1");
    doors.assert_all(false);
    node.succeed(&[
        "ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1",
    ])
    .unwrap();
    let covered = || Ok(egress_chains(&node).contains("\"late0\"").then_some(()));
    wait::until("an egress chain on it", LIMIT, covered).unwrap();
    node.succeed(&["nft", "flush", "ruleset"]).unwrap();
    wait_cut_off(&fleet, "ep1");

    fleet.start_agent("ep1").unwrap();
    assert!(unit.wait(LIMIT).unwrap().success());
    fleet.wait_online("ep1").unwrap();
    doors.assert_all(false);
    let reported = || {
        let events = events(&fleet, "ep1");
        let flushed =
            |event: &&Value| event["body"]["what"] == "an nftables table of the isolation was gone";
        Ok(of_kind(&events, "tamper")
            .into_iter()
            .find(flushed)
            .cloned())
    };
    wait::until("a report of the flush", LIMIT, reported).unwrap();
}

#[test]
fn an_uplink_that_is_moved_away_is_reported_and_covered_when_it_comes_back() {
    let fleet = fleet();
    let doors = Doors::open(&fleet);
    isolate(&fleet);
    let node = fleet.node("ep1").unwrap();
    let (v4, v6) = (node.address_v4(), node.address_v6());
    let script = format!(
        "unshare --net sleep 30 & elsewhere=$!; sleep 0.5
         ip link set eth0 netns $elsewhere; sleep 1
         nsenter --net --target $elsewhere ip link set eth0 netns 1; kill $elsewhere
         ip address add {v4}/24 dev eth0; ip address add {v6}/64 dev eth0 nodad; ip link set eth0 up"
    );
    node.succeed(&["sh", "-ec", &script]).unwrap();
    let moved = || {
        let events = events(&fleet, "ep1");
        let is_it = |event: &&Value| {
            let what = event["body"]["what"].as_str().unwrap();
            what.starts_with("network device eth0 was moved into another network namespace")
        };
        let found = of_kind(&events, "tamper").into_iter().find(is_it);
        Ok(found.map(|event| event["body"].clone()))
    };
    let report = wait::until("a report of the move", LIMIT, moved)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")));
    assert_eq!(report["repaired"], false);
    assert!(egress_chains(node).contains("\"eth0\""));
    wait_confirmed(&fleet);
    doors.assert_all(false);
    let release = ["release", "ep1", "--reason", "done", "--wait"];
    assert_eq!(fleet.ctl(&release).unwrap()["state"], "done");
    doors.assert_all(true);
}
