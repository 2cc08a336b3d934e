//! One rule that is wrong is wrong on every host of a group in the same second: the policy caps how many of them are
//! isolated at one time, and the controller counts.

use std::thread;
use std::time::Instant;

use serde_json::json;

use super::*;

/// A fleet whose first two endpoints have the flawed page, under a policy that lets one host be isolated at one time.
fn one_at_a_time() -> Fleet {
    one_at_a_time_and(|_| {})
}

/// The same under what `change` makes of that policy.
fn one_at_a_time_and(more: impl Fn(&mut Value)) -> Fleet {
    let fleet = Fleet::up(&options(3), &Narrator::to_stderr()).unwrap();
    for name in ["ep1", "ep2"] {
        Attack::prepare(fleet.node(name).unwrap()).unwrap();
    }
    let change = |policy: &mut Value| {
        policy["mode"] = "autonomous".into();
        policy["caps"]["hosts_at_once"] = 1.into();
        more(policy);
    };
    fleet.push_changed_policy(change).unwrap();
    for name in ["ep1", "ep2"] {
        let in_force = |host: &Value| host["policy_version"] == 2;
        fleet
            .wait_host(name, "under the new policy", LIMIT, in_force)
            .unwrap();
    }
    fleet
}

/// Opens a shell from each of two endpoints at the same time; each calls somebody else.
fn attack_both(fleet: &Fleet) -> Vec<Attack> {
    let both = [("outside", "ep1"), ("ep3", "ep2")];
    let nodes = both.map(|(from, to)| (fleet.node(from).unwrap(), fleet.node(to).unwrap()));
    thread::scope(|scope| {
        let attacks = nodes.map(|(from, to)| scope.spawn(move || Attack::open(from, to).unwrap()));
        attacks.map(|attack| attack.join().unwrap()).into()
    })
}

/// What was decided about the shell on a host, once the controller has it.
fn decided(fleet: &Fleet, name: &str) -> Value {
    let told = || {
        let events = events(fleet, name);
        let of_isolation = |event: &&&Value| {
            let decision = event["body"]["decision"].as_str().unwrap_or_default();
            decision.contains("isolate")
        };
        let found = of_kind(&events, "detection");
        Ok(found
            .iter()
            .find(of_isolation)
            .map(|event| event["body"].clone()))
    };
    wait::until(&format!("word of the attack on {name}"), LIMIT, told)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log(name)))
}

fn is_isolated(host: &Value) -> bool {
    host["isolation"]["state"] == "confirmed"
}

#[test]
fn of_two_hosts_attacked_at_once_one_is_isolated_and_the_other_when_that_one_is_released() {
    let fleet = one_at_a_time();
    let mut shells = attack_both(&fleet);
    let reasons = ["ep1", "ep2"].map(|name| decided(&fleet, name));
    let isolated: Vec<usize> = (0..2)
        .filter(|index| reasons[*index]["decision"] == "isolate")
        .collect();
    assert_eq!(isolated.len(), 1, "{reasons:?}");
    let (shut, open) = (isolated[0], 1 - isolated[0]);
    let name = |index: usize| ["ep1", "ep2"][index];
    assert_eq!(reasons[open]["decision"], "recommend_isolate");
    for (field, words) in [
        ("decision_reason", "reach the cap of 1 at one time"),
        ("decision_reason_zh", "达到同时隔离的上限 1 台"),
    ] {
        let reason = reasons[open][field].as_str().unwrap();
        assert!(
            reason.contains(words) && reason.contains(name(shut)),
            "{reason}"
        );
    }
    fleet
        .wait_host(name(shut), "isolated with proof", LIMIT, is_isolated)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log(name(shut))));
    assert!(!shells[shut].ask("id", "uid=", SILENCE).unwrap());
    assert!(shells[open].ask("id", "uid=", SILENCE).unwrap());
    assert!(!is_cut_off(fleet.node(name(open)).unwrap()).unwrap());
    let policies = fleet.show(&["policy", "show"]).unwrap();
    assert!(policies.contains("1 of 1"), "{policies}");

    let order = ["isolate", name(open), "--reason", "drill", "--wait"];
    let refused = format!("{:#}", fleet.ctl(&order).unwrap_err());
    assert!(
        refused.contains("--beyond-cap") && refused.contains(name(shut)),
        "{refused}"
    );

    let released = fleet.ctl(&["release", name(shut), "--reason", "drill", "--wait"]);
    assert_eq!(released.unwrap()["state"], "done");
    // What is judged of the other from now on finds room.
    let attacker = fleet.node(["outside", "ep3"][open]).unwrap();
    let victim = fleet.node(name(open)).unwrap();
    let cut = || {
        Attack::open(attacker, victim)?;
        Ok(is_cut_off(victim)?.then_some(()))
    };
    wait::until("the isolation of the other", LIMIT, cut)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log(name(open))));
    fleet
        .wait_host(name(open), "isolated with proof", LIMIT, is_isolated)
        .unwrap();
    let order = [&["isolate", name(shut), "--beyond-cap"][..], &order[2..]].concat();
    assert_eq!(fleet.ctl(&order).unwrap()["state"], "done");
    let trail = fleet.show(&["audit", "show"]).unwrap();
    assert!(trail.contains("beyond the cap"), "{trail}");
}

/// Protection comes before the cap: gone, and unplugged without a word, which the agent takes for one that is there.
#[test]
fn without_the_controllers_word_both_are_isolated_and_say_so() {
    let mut fleet = one_at_a_time();
    fleet.kill_controller().unwrap();
    let mut shell = attack(&fleet);
    wait_cut_off(&fleet, "ep1");
    assert!(!shell.ask("id", "uid=", SILENCE).unwrap());
    fleet.start_controller().unwrap();
    wait_confirmed(&fleet);
    let is_back = |host: &Value| host["online"] == true;
    fleet.wait_host("ep2", "back", LIMIT, is_back).unwrap();

    fleet.lab().cut("controller").unwrap();
    let (outside, victim) = (fleet.node("outside").unwrap(), fleet.node("ep2").unwrap());
    let mut shell = Attack::open(outside, victim).unwrap();
    wait_cut_off(&fleet, "ep2");
    assert!(!shell.ask("id", "uid=", SILENCE).unwrap());
    fleet.lab().mend("controller").unwrap();
    for name in ["ep1", "ep2"] {
        let told = decided(&fleet, name);
        assert_eq!(told["decision"], "isolate", "{told}");
        let reason = told["decision_reason"].as_str().unwrap();
        assert!(reason.contains("the controller did not say"), "{reason}");
    }
}

/// What `name` proposed first, and how that ended.
fn ended(fleet: &Fleet, name: &str) -> Value {
    let told = || {
        let events = events(fleet, name);
        let told = of_kind(&events, "approval");
        Ok(told.first().map(|event| event["body"].clone()))
    };
    wait::until("the end of a proposal", LIMIT, told)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log(name)))
}

/// Where the policy has `approve`, an isolation without a place waits for a yes. Time alone isolates nobody whom the cap
/// held back; a person does.
#[test]
fn without_a_place_a_person_is_asked_and_only_a_person_goes_beyond_the_cap() {
    let fleet = one_at_a_time_and(|policy| {
        policy["approve"] = json!({"seconds": 10, "unanswered": "act", "offline": "act"});
        policy["order_keys"][0]["verbs"] = json!(["isolate", "release", "approve", "refuse"]);
    });
    let taken = ["isolate", "ep2", "--reason", "drill", "--wait"];
    assert_eq!(fleet.ctl(&taken).unwrap()["state"], "done");
    let mut shell = attack(&fleet);
    let waiting = || {
        let waiting = fleet.ctl(&["approvals"])?;
        Ok(waiting.as_array().and_then(|all| all.first().cloned()))
    };
    let told = |error| panic!("{error:#}\n{}", fleet.agent_log("ep1"));
    let proposal = wait::until("a proposal", LIMIT, waiting).unwrap_or_else(told);
    assert_eq!(proposal["steps"]["isolate"], true, "{proposal}");
    let all = events(&fleet, "ep1");
    let asked = |event: &&&Value| event["body"]["decision"] == "await_approval";
    let detections = of_kind(&all, "detection");
    let detection = detections.iter().find(asked).unwrap();
    let reason = detection["body"]["decision_reason"].as_str().unwrap();
    assert!(
        reason.contains("reach the cap of 1 at one time") && reason.contains("ep2"),
        "{reason}"
    );

    let end = ended(&fleet, "ep1");
    assert_eq!(
        (&end["outcome"], &end["rule"]),
        (&json!("unanswered"), &json!("nothing")),
        "{end}"
    );
    let why = end["reason"].as_str().unwrap();
    assert!(why.contains("ep2"), "{why}");
    assert!(shell.ask("id", "uid=", SILENCE).unwrap());
    assert!(!is_cut_off(fleet.node("ep1").unwrap()).unwrap());

    // Another attack asks anew, and somebody says yes.
    let (outside, victim) = (fleet.node("outside").unwrap(), fleet.node("ep1").unwrap());
    let mut shell = Attack::open(outside, victim).unwrap();
    let proposal = wait::until("another proposal", LIMIT, waiting).unwrap_or_else(told);
    let id = proposal["id"].as_str().unwrap();
    let order = fleet.ctl(&["approve", id, "--wait"]).unwrap();
    assert_eq!(order["state"], "done", "{order}");
    fleet
        .wait_host("ep1", "isolated with proof", LIMIT, is_isolated)
        .unwrap();
    assert!(!shell.ask("id", "uid=", SILENCE).unwrap());
}

/// What the journal of an agent says last of a detection; `None`: nothing yet.
fn journaled(node: &Node) -> Option<Value> {
    let journal = node.read("/var/lib/cordon/evidence.journal").ok()?;
    let mut records = journal.lines().filter_map(|line| {
        let record: Value = serde_json::from_str(line).ok()?;
        (record["kind"] == "detection").then_some(record)
    });
    records.next_back()
}

/// The line is cut without a word, so the agent waits its whole patience for an answer, and is killed meanwhile. Whatever
/// it had written by then is told once, word for word.
#[test]
fn a_verdict_that_waits_for_a_place_outlives_the_agent() {
    let mut fleet = one_at_a_time();
    let agent = fleet.take_agent("ep1").unwrap();
    fleet.lab().cut("controller").unwrap();
    let (outside, victim) = (fleet.node("outside").unwrap(), fleet.node("ep1").unwrap());
    let _shell = thread::scope(|scope| {
        let attack = scope.spawn(|| Attack::open(outside, victim).unwrap());
        let begun = Instant::now();
        while journaled(victim).is_none() && begun.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(2));
        }
        agent.kill().unwrap();
        attack.join().unwrap()
    });
    let left = journaled(victim).unwrap_or_else(|| panic!("{}", fleet.agent_log("ep1")));
    let reason = left["body"]["decision_reason"].as_str().unwrap();
    match left["body"]["decision"].as_str().unwrap() {
        "recommend_isolate" => assert!(reason.contains("is asked first"), "{reason}"),
        // A slow machine: the answer was given up before the kill.
        "isolate" => assert!(reason.contains("did not say"), "{reason}"),
        other => panic!("{other}: {reason}"),
    }
    fleet.lab().mend("controller").unwrap();
    fleet.start_agent("ep1").unwrap();
    let heard = || {
        let events = events(&fleet, "ep1");
        let is_it = |event: &&&Value| {
            let same = |field: &str| event["body"][field] == left["body"][field];
            same("tree") && same("event_mono_ns")
        };
        let found: Vec<Value> = of_kind(&events, "detection")
            .iter()
            .filter(is_it)
            .map(|event| event["body"].clone())
            .collect();
        Ok((!found.is_empty()).then_some(found))
    };
    let told = wait::until("word of the verdict", LIMIT, heard)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["decision"], left["body"]["decision"], "{told:?}");
}
