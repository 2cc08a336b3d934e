//! What waits for a yes: answered, unanswered, and with nobody to ask.

use serde_json::json;

use super::*;

/// Shortest that a policy allows, so that its end can be waited for.
const SECONDS: u64 = 10;

/// A fleet whose agents ask, under a policy that `change` makes of the lab's.
fn asking(change: impl Fn(&mut Value)) -> Fleet {
    let fleet = fleet();
    let whole = |policy: &mut Value| {
        policy["mode"] = "approve".into();
        policy["approve"] = json!({"seconds": 600, "unanswered": "nothing", "offline": "nothing"});
        policy["order_keys"][0]["verbs"] = json!(["isolate", "release", "approve", "refuse"]);
        change(policy);
    };
    fleet.push_changed_policy(whole).unwrap();
    let in_force = |host: &Value| host["policy_version"] == 2;
    fleet
        .wait_host("ep1", "under the new policy", LIMIT, in_force)
        .unwrap();
    fleet
}

/// What ep1 proposes, once the controller lists it.
fn proposed(fleet: &Fleet) -> Value {
    let waiting = || {
        let waiting = fleet.ctl(&["approvals"])?;
        Ok(waiting.as_array().and_then(|all| all.first().cloned()))
    };
    wait::until("a proposal", LIMIT, waiting)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")))
}

fn id_of(proposal: &Value) -> &str {
    proposal["id"].as_str().unwrap()
}

/// The end of ep1's proposal, once the controller has it; there is one.
fn ending(fleet: &Fleet) -> Value {
    let told = || {
        let events = events(fleet, "ep1");
        let told = of_kind(&events, "approval");
        assert!(told.len() < 2, "{told:?}");
        Ok(told.first().map(|event| event["body"].clone()))
    };
    wait::until("the end of the proposal", 2 * LIMIT, told)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")))
}

/// What the host's receipt says of an answer that it does not take.
fn refused(fleet: &Fleet, verb: &str, id: &str) -> String {
    let answer = [verb, id, "--host", "ep1", "--reason", "again", "--wait"];
    let refused = fleet.ctl(&answer).unwrap_err();
    let said = format!("{refused:#}");
    assert!(said.contains("refused"), "{said}");
    said
}

fn isolations(fleet: &Fleet) -> usize {
    let events = events(fleet, "ep1");
    let isolations = of_kind(&events, "isolation");
    let mut ids: Vec<&Value> = isolations
        .iter()
        .map(|event| &event["body"]["id"])
        .collect();
    ids.dedup();
    ids.len()
}

#[test]
fn a_yes_isolates_once_though_the_agent_was_killed_meanwhile_and_a_second_yes_is_refused() {
    let mut fleet = asking(|_| {});
    let doors = Doors::open(&fleet);
    let mut shell = attack(&fleet);
    let proposal = proposed(&fleet);
    assert_eq!(proposal["steps"]["isolate"], true, "{proposal}");
    assert_eq!(proposal["host"]["name"], "ep1");
    let id = id_of(&proposal);
    assert!(shell.ask("id", "uid=", SILENCE).unwrap());

    fleet.kill_agent("ep1").unwrap();
    let node = fleet.node("ep1").unwrap();
    let said = node.exec(&["cordon-agent", "status"]).unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("1 proposals WAIT for a yes"), "{said}");
    fleet.start_agent("ep1").unwrap();
    fleet
        .wait_host("ep1", "back", LIMIT, |host| host["online"] == true)
        .unwrap();
    let node = fleet.node("ep1").unwrap();
    let waits = || {
        Ok(node
            .succeed(&["cordon-agent", "status"])?
            .contains(id)
            .then_some(()))
    };
    wait::until("the proposal in the status", LIMIT, waits).unwrap();
    doors.assert_all(true);

    let order = fleet.ctl(&["approve", id, "--wait"]).unwrap();
    assert_eq!(order["state"], "done", "{order}");
    doors.assert_all(false);
    wait_confirmed(&fleet);
    let end = ending(&fleet);
    assert_eq!(
        (&end["outcome"], &end["order"]),
        (&json!("approved"), &order["id"]),
        "{end}"
    );
    assert_eq!(
        (&end["policy_version"], &end["by"]),
        (&json!(2), &order["requested_by"])
    );
    assert_eq!(fleet.ctl(&["approvals"]).unwrap(), json!([]));

    let said = refused(&fleet, "approve", id);
    assert!(said.contains("answered before: approved"), "{said}");
    assert_eq!(isolations(&fleet), 1);
    assert_eq!(ending(&fleet), end);
    let incident = fleet.incidents().unwrap().remove(0);
    assert!(
        !incident["title"].as_str().unwrap().contains("waits"),
        "{incident}"
    );
}

#[test]
fn a_no_leaves_the_host_open_and_says_who_and_why() {
    let fleet = asking(|_| {});
    let doors = Doors::open(&fleet);
    let mut shell = attack(&fleet);
    let proposal = proposed(&fleet);
    let id = id_of(&proposal);
    let incident = fleet.incidents().unwrap().remove(0);
    let title = incident["title"].as_str().unwrap();
    assert!(title.contains("waits for approval until"), "{title}");
    let listed = fleet.show(&["approvals"]).unwrap();
    assert!(
        listed.contains(id) && listed.contains("isolate"),
        "{listed}"
    );

    let order = fleet
        .ctl(&["refuse", id, "--reason", "planned test", "--wait"])
        .unwrap();
    assert_eq!(order["state"], "done", "{order}");
    let end = ending(&fleet);
    assert_eq!(
        (&end["outcome"], &end["reason"]),
        (&json!("refused"), &json!("planned test"))
    );
    assert_eq!(end["by"], order["requested_by"], "{end}");
    let said = refused(&fleet, "approve", id);
    assert!(said.contains("answered before: refused"), "{said}");
    assert!(shell.ask("id", "uid=", SILENCE).unwrap());
    doors.assert_all(true);
    assert_eq!(isolations(&fleet), 0);
    let trail = fleet.show(&["audit", "show"]).unwrap();
    assert!(trail.contains("planned test"), "{trail}");
}

#[test]
fn without_an_answer_the_rule_for_a_controller_that_is_there_holds() {
    let fleet = asking(|policy| policy["approve"]["seconds"] = SECONDS.into());
    let doors = Doors::open(&fleet);
    let _shell = attack(&fleet);
    let proposal = proposed(&fleet);
    let end = ending(&fleet);
    assert_eq!(
        (&end["outcome"], &end["rule"]),
        (&json!("unanswered"), &json!("nothing")),
        "{end}"
    );
    let said = refused(&fleet, "approve", id_of(&proposal));
    assert!(
        said.contains("was over at") && said.contains("nothing was done"),
        "{said}"
    );
    let unknown = refused(&fleet, "refuse", "01890000-0000-7000-8000-000000000001");
    assert!(unknown.contains("has no proposal"), "{unknown}");
    doors.assert_all(true);
    assert_eq!(isolations(&fleet), 0);
}

/// The cable is pulled without a word: the agent takes the line for one that stands, for a while.
#[test]
fn with_the_controller_unplugged_the_rule_for_that_isolates() {
    let fleet = asking(|policy| {
        policy["approve"] = json!({"seconds": SECONDS, "unanswered": "nothing", "offline": "act"});
    });
    let doors = Doors::open(&fleet);
    let _shell = attack(&fleet);
    proposed(&fleet);
    fleet.lab().cut("controller").unwrap();
    doors.assert_all(true);
    let victim = fleet.node("ep1").unwrap();
    let cut = || Ok(is_cut_off(victim)?.then_some(()));
    wait::until("the isolation", 2 * LIMIT, cut)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")));
    doors.assert_all(false);
    fleet.lab().mend("controller").unwrap();
    wait_confirmed(&fleet);
    let end = ending(&fleet);
    assert_eq!(
        (&end["outcome"], &end["rule"]),
        (&json!("offline"), &json!("act")),
        "{end}"
    );
}

/// The processes are killed at once, so there is nobody left when somebody says yes.
#[test]
fn in_quiet_hours_processes_are_killed_and_the_isolation_waits_for_a_yes() {
    let fleet = asking(|policy| {
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        policy["mode"] = "autonomous".into();
        policy["stop"] = "kill".into();
        policy["caps"]["quiet_hours"] =
            json!([{"days": days, "from": "00:00", "to": "24:00", "zone": "Europe/Zurich"}]);
    });
    let doors = Doors::open(&fleet);
    let (outside, victim) = (fleet.node("outside").unwrap(), fleet.node("ep1").unwrap());
    let is_killed = || Ok(!of_kind(&events(&fleet, "ep1"), "stop").is_empty());
    let mut shell = Attack::open_unless(outside, victim, is_killed).unwrap();
    let proposal = proposed(&fleet);
    let isolate = json!({"isolate": true, "stop": "none", "cut_off": false});
    assert_eq!(proposal["steps"], isolate, "{proposal}");
    let reason = proposal["reason"].as_str().unwrap();
    assert!(reason.contains("in quiet hours"), "{reason}");
    assert!(!shell.ask("id", "uid=", SILENCE).unwrap());
    doors.assert_all(true);
    let order = fleet.ctl(&["approve", id_of(&proposal), "--wait"]).unwrap();
    assert_eq!(order["state"], "done", "{order}");
    doors.assert_all(false);
}

#[test]
fn a_yes_for_processes_that_are_gone_isolates_all_the_same_and_says_what_it_found() {
    let fleet = asking(|policy| policy["stop"] = "kill".into());
    let doors = Doors::open(&fleet);
    let mut shell = attack(&fleet);
    let proposal = proposed(&fleet);
    assert_eq!(proposal["steps"]["stop"], "kill", "{proposal}");
    assert!(
        shell.ask("id", "uid=", SILENCE).unwrap(),
        "nothing is done yet"
    );
    drop(shell);
    let events_now = events(&fleet, "ep1");
    let detection = of_kind(&events_now, "detection");
    let pid = detection.last().unwrap()["body"]["pid"].to_string();
    let victim = fleet.node("ep1").unwrap();
    let gone = || Ok((!victim.exec(&["kill", "-9", &pid])?.status.success()).then_some(()));
    wait::until("the end of the attack", LIMIT, gone).unwrap();
    let order = fleet.ctl(&["approve", id_of(&proposal), "--wait"]).unwrap();
    assert_eq!(order["state"], "done", "{order}");
    doors.assert_all(false);
    let told = || {
        let events = events(&fleet, "ep1");
        Ok(of_kind(&events, "stop")
            .first()
            .map(|event| event["body"].clone()))
    };
    let stop = wait::until("what the stop found", LIMIT, told).unwrap();
    assert_eq!(
        (&stop["act"], &stop["survivors"]),
        (&json!("killed"), &json!([])),
        "{stop}"
    );
    let reason = stop["reason"].as_str().unwrap();
    assert!(reason.contains("approved by"), "{reason}");
}

/// What a host that lost the file knows is nothing, and it says so.
#[test]
fn a_damaged_file_is_set_aside_and_its_proposals_are_forgotten() {
    let mut fleet = asking(|_| {});
    let _shell = attack(&fleet);
    let proposal = proposed(&fleet);
    fleet.kill_agent("ep1").unwrap();
    let node = fleet.node("ep1").unwrap();
    node.write("/var/lib/cordon/proposals.json", "[{\"id\":")
        .unwrap();
    fleet.start_agent("ep1").unwrap();
    let told = || {
        let events = events(&fleet, "ep1");
        let damaged = |event: &&&Value| {
            let what = event["body"]["what"].as_str().unwrap_or_default();
            what.contains("file of proposals was damaged")
        };
        Ok(of_kind(&events, "tamper").iter().find(damaged).map(|_| ()))
    };
    wait::until("word of the damage", LIMIT, told).unwrap();
    let said = refused(&fleet, "approve", id_of(&proposal));
    assert!(said.contains("has no proposal"), "{said}");
    let node = fleet.node("ep1").unwrap();
    node.succeed(&["test", "-e", "/var/lib/cordon/proposals.json.damaged"])
        .unwrap();
}
