//! A host whose disk is full.

use super::*;

const STATE: &str = "/var/lib/cordon";

#[test]
fn orders_shut_and_open_a_host_whose_disk_is_full_and_what_it_reports_comes_later() {
    let mut fleet = Fleet::with_controller(&options(1), &Narrator::to_stderr()).unwrap();
    fleet.push_policy("autonomous").unwrap();
    let node = fleet.node("ep1").unwrap().clone();
    let small = format!("mkdir -p {STATE} && mount -t tmpfs -o size=12m tmpfs {STATE}");
    node.succeed(&["sh", "-ec", &small]).unwrap();
    let token = fleet.join_token(1).unwrap();
    fleet.enrol("ep1", &token).unwrap();
    fleet.start_agent("ep1").unwrap();
    fleet.wait_online("ep1").unwrap();

    let fill = format!("cat /dev/zero >{STATE}/fill 2>&- || true; ! echo more >{STATE}/more 2>&-");
    node.succeed(&["sh", "-c", &fill]).unwrap();
    let order = |verb: &str| {
        fleet.ctl(&[verb, "ep1", "--reason", "drill"]).unwrap();
    };
    order("isolate");
    wait_cut_off(&fleet, "ep1");
    let said = node.succeed(&["cordon-agent", "status", "--json"]).unwrap();
    let status: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status["isolated"], true, "{status}");

    // The line stands, or no order would come by it.
    order("release");
    let open = || Ok((!is_cut_off(&node)?).then_some(()));
    wait::until("the rules to go", LIMIT, open)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")));

    node.succeed(&["rm", &format!("{STATE}/fill")]).unwrap();
    let released = |host: &Value| host["isolation"]["state"] == "released";
    fleet
        .wait_host("ep1", "told as open", LIMIT * 2, released)
        .unwrap();
    let events = events(&fleet, "ep1");
    let seen: Vec<_> = of_kind(&events, "isolation")
        .iter()
        .map(|event| event["body"]["state"].as_str().unwrap().to_owned())
        .collect();
    for state in ["applied", "released"] {
        assert!(seen.iter().any(|told| told == state), "{seen:?}");
    }
}
