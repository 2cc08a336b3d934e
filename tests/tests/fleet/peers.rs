//! Isolated hosts are kept out by the others of their group too.

use super::*;

/// Short, so that its end can be waited for.
const SECONDS: u64 = 20;

/// Under a policy that lets hosts block an isolated one, for `seconds`.
fn block_isolated(fleet: &Fleet, seconds: u64) {
    let change = |policy: &mut Value| {
        policy["block_isolated"] = serde_json::json!({"seconds": seconds, "hosts": 2});
        let verbs = ["isolate", "release", "block_host", "unblock_host"];
        policy["order_keys"][0]["verbs"] = verbs.map(Value::from).to_vec().into();
    };
    fleet.push_changed_policy(change).unwrap();
    let in_force = |host: &Value| host["policy_version"] == 2;
    for name in ["ep1", "ep2"] {
        fleet
            .wait_host(name, "under the new policy", LIMIT, in_force)
            .unwrap();
    }
}

fn order(fleet: &Fleet, verb: &str) {
    let order = fleet
        .ctl(&[verb, "ep1", "--reason", "drill", "--wait"])
        .unwrap();
    assert_eq!(order["state"], "done", "{order}");
}

/// Waits until ep2's signed word about ep1 is there, or none is in force any more.
fn wait_blocking(fleet: &Fleet, wanted: &Value) {
    fleet
        .wait_host("ep1", "as its peers should see it", LIMIT, |host| {
            host["peers"] == *wanted
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep2")));
}

/// Each way between ep1 and ep2, over both families.
fn ways(doors: &[Reach; 2], fleet: &Fleet) -> Vec<bool> {
    let [first, second] = ["ep1", "ep2"].map(|name| fleet.node(name).unwrap());
    let mut ways = doors[0].probe_from(second).unwrap();
    ways.extend(doors[1].probe_from(first).unwrap());
    assert_eq!(ways.len(), 4, "{ways:?}");
    ways.into_iter().map(|way| way.1).collect()
}

/// Root on ep1 ends the agent and deletes its rules.
fn break_out(fleet: &mut Fleet) {
    fleet.kill_agent("ep1").unwrap();
    let node = fleet.node("ep1").unwrap();
    node.succeed(&["nft", "flush", "ruleset"]).unwrap();
    assert!(!is_cut_off(node).unwrap());
}

#[test]
fn an_isolated_host_is_not_heard_when_its_rules_are_gone_and_is_when_it_is_released() {
    let mut fleet = fleet();
    block_isolated(&fleet, 600);
    let doors = ["ep1", "ep2"].map(|name| Reach::open(fleet.node(name).unwrap()).unwrap());
    assert_eq!(ways(&doors, &fleet), [true; 4]);
    order(&fleet, "isolate");
    let one = serde_json::json!({"blocking": 1, "told": 1});
    wait_blocking(&fleet, &one);
    break_out(&mut fleet);
    assert_eq!(ways(&doors, &fleet), [false; 4]);
    let said = fleet.show(&["hosts"]).unwrap();
    assert!(said.contains("1 of 1 peers block it"), "{said}");
    let status = fleet
        .node("ep2")
        .unwrap()
        .succeed(&["cordon-agent", "status"]);
    let status = status.unwrap();
    assert!(status.contains(" of isolated host "), "{status}");
    // The controller and the rest of the world hear ep2.
    assert_eq!(fleet.host("ep2").unwrap()["online"], true);

    fleet.start_agent("ep1").unwrap();
    fleet
        .wait_host("ep1", "back", LIMIT, |host| host["online"] == true)
        .unwrap();
    order(&fleet, "release");
    wait_blocking(&fleet, &Value::Null);
    assert_eq!(ways(&doors, &fleet), [true; 4]);
    let blocks = events(&fleet, "ep2");
    let blocks = of_kind(&blocks, "block");
    let acts: Vec<&Value> = blocks.iter().map(|event| &event["body"]["act"]).collect();
    assert_eq!(acts, ["blocked", "unblocked"]);
    assert!(
        blocks.iter().all(|event| event["body"]["proved"] == true),
        "{blocks:?}"
    );
}

/// Root on ep1 says so, and ep2 is told nothing.
#[test]
fn a_host_that_says_it_is_open_is_kept_out_until_the_time_is_over() {
    let mut fleet = fleet();
    block_isolated(&fleet, SECONDS);
    let doors = ["ep1", "ep2"].map(|name| Reach::open(fleet.node(name).unwrap()).unwrap());
    order(&fleet, "isolate");
    let one = serde_json::json!({"blocking": 1, "told": 1});
    wait_blocking(&fleet, &one);
    let release = ["cordon-agent", "release", "--reason", "said by root"];
    fleet.node("ep1").unwrap().succeed(&release).unwrap();
    assert_eq!(ways(&doors, &fleet), [false; 4]);
    // Without a controller too it ends by itself.
    fleet.kill_controller().unwrap();
    let heard = || Ok((ways(&doors, &fleet) == [true; 4]).then_some(()));
    wait::until("ep1 to be heard again", 2 * LIMIT, heard).unwrap();
}

#[test]
fn nobody_is_blocked_unless_the_policy_says_so() {
    let mut fleet = fleet();
    let doors = ["ep1", "ep2"].map(|name| Reach::open(fleet.node(name).unwrap()).unwrap());
    order(&fleet, "isolate");
    break_out(&mut fleet);
    assert_eq!(ways(&doors, &fleet), [true; 4]);
    assert_eq!(fleet.host("ep1").unwrap()["peers"], Value::Null);
    let rules = fleet
        .node("ep2")
        .unwrap()
        .succeed(&["nft", "list", "ruleset"])
        .unwrap();
    assert!(!rules.contains("cordon_blocks"), "{rules}");
}
