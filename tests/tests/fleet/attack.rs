//! One attack and what may go wrong around it.

use super::*;

#[test]
fn an_attack_while_the_controller_is_away_is_cut_off_and_told_once_later() {
    let mut fleet = fleet();
    let doors = Doors::open(&fleet);
    fleet.kill_controller().unwrap();
    let mut shell = attack(&fleet);
    wait_cut_off(&fleet, "ep1");
    assert!(!shell.ask("id", "uid=", SILENCE).unwrap());
    doors.assert_all(false);
    fleet.start_controller().unwrap();
    wait_confirmed(&fleet);
    let incidents = fleet.incidents().unwrap();
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    assert_eq!(incidents[0]["host"]["name"], "ep1");
    assert_told_once(&events(&fleet, "ep1"));
}

/// Sequences without a gap or a double, and the attack is in them.
fn assert_told_once(events: &[Value]) {
    let sequences: Vec<u64> = events
        .iter()
        .map(|event| event["sequence"].as_u64().unwrap())
        .collect();
    let gapless: Vec<u64> = (sequences[0]..).take(sequences.len()).collect();
    assert_eq!(sequences, gapless);
    let detections = of_kind(events, "detection");
    let isolating = detections
        .iter()
        .filter(|event| event["body"]["decision"] == "isolate");
    assert_eq!(isolating.count(), 1, "{detections:?}");
}

#[test]
fn a_killed_agent_leaves_the_host_cut_off_and_takes_it_up_again() {
    let mut fleet = fleet();
    let doors = Doors::open(&fleet);
    let _shell = attack(&fleet);
    let isolation = wait_confirmed(&fleet);
    fleet.kill_agent("ep1").unwrap();
    doors.assert_all(false);
    fleet.start_agent("ep1").unwrap();
    fleet.wait_online("ep1").unwrap();
    let adopted = wait_confirmed(&fleet);
    assert_eq!(adopted["id"], isolation["id"]);
    assert_eq!(adopted["lease_expires_at"], isolation["lease_expires_at"]);
    doors.assert_all(false);
    let order = release(&fleet);
    assert_eq!(order["state"], "done", "{order}");
    doors.assert_all(true);
    assert!(!is_cut_off(fleet.node("ep1").unwrap()).unwrap());
}

fn release(fleet: &Fleet) -> Value {
    let command = ["release", "ep1", "--reason", "tested", "--wait"];
    fleet.ctl(&command).unwrap()
}

#[test]
fn flushed_rules_are_back_at_once_and_the_controller_hears_of_it() {
    let fleet = fleet();
    let doors = Doors::open(&fleet);
    let _shell = attack(&fleet);
    wait_confirmed(&fleet);
    let victim = fleet.node("ep1").unwrap();
    victim.succeed(&["nft", "flush", "ruleset"]).unwrap();
    let second = Duration::from_secs(1);
    let back = || Ok(is_cut_off(victim)?.then_some(()));
    wait::until("the rules again", second, back).unwrap();
    doors.assert_all(false);
    let heard = || {
        let events = events(&fleet, "ep1");
        let told = of_kind(&events, "tamper").first().copied().cloned();
        Ok(told)
    };
    let tamper = wait::until("word of the tampering", LIMIT, heard).unwrap();
    assert_eq!(tamper["body"]["repaired"], true, "{tamper}");
    assert!(tamper["body"]["micros"].as_u64().unwrap() < 1_000_000);
    wait_confirmed(&fleet);
}

#[test]
fn a_person_isolates_and_releases_and_each_step_has_the_hosts_signature() {
    let fleet = fleet();
    let doors = Doors::open(&fleet);
    let command = [
        "isolate", "ep1", "--reason", "drill", "--lease", "600", "--wait",
    ];
    let order = fleet.ctl(&command).unwrap();
    assert_eq!(order["state"], "done", "{order}");
    doors.assert_all(false);
    let order = release(&fleet);
    assert_eq!(order["state"], "done", "{order}");
    doors.assert_all(true);
    let history = order["history"].as_array().unwrap();
    let signed = |state: &str| {
        let step = history.iter().find(|step| step["state"] == state);
        step.unwrap_or_else(|| panic!("no {state} in {history:?}"))["signed"] == true
    };
    assert!(signed("started") && signed("done"));
    assert!(!signed("queued") && !signed("delivered"));
}

#[test]
fn observing_agents_tell_and_do_nothing() {
    let mut options = options(2);
    options.mode = "observe".into();
    let fleet = Fleet::up(&options, &Narrator::to_stderr()).unwrap();
    Attack::prepare(fleet.node("ep1").unwrap()).unwrap();
    let doors = Doors::open(&fleet);
    let mut shell = attack(&fleet);
    let told = || Ok(fleet.incidents()?.into_iter().next());
    let incident = wait::until("the incident", LIMIT, told).unwrap();
    assert_eq!(incident["isolation"], Value::Null);
    assert!(shell.ask("id", "uid=", SILENCE).unwrap());
    doors.assert_all(true);
}
