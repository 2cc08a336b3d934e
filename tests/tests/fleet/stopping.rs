//! Processes are stopped, and the host goes on.

use super::*;

/// The policy's cap lets no agent isolate, so what ends the attack is the end of its processes.
#[test]
fn an_attack_is_killed_and_the_site_that_it_came_through_goes_on() {
    let fleet = fleet();
    let doors = Doors::open(&fleet);
    kill_and_stay_open(&fleet);
    let (outside, victim) = (fleet.node("outside").unwrap(), fleet.node("ep1").unwrap());
    let told = || {
        let events = events(&fleet, "ep1");
        Ok(of_kind(&events, "stop").first().copied().cloned())
    };
    let is_told = || Ok(told()?.is_some());
    let mut shell = Attack::open_unless(outside, victim, is_told).unwrap();
    let stop = wait::until("word of the kill", LIMIT, told).unwrap();
    let body = &stop["body"];
    assert_eq!(
        (&body["act"], &body["proved"]),
        (&"killed".into(), &true.into()),
        "{stop}"
    );
    assert!(body["count"].as_u64() > Some(0), "{stop}");
    assert_eq!(body["survivors"], Value::Array(Vec::new()), "{stop}");
    assert!(!shell.ask("id", "uid=", SILENCE).unwrap());
    doors.assert_all(true);
    assert!(!is_cut_off(victim).unwrap());
    Attack::visit(outside, victim).unwrap();
    let explained = |incident: &Value| {
        let summary = incident["summary"].as_str().unwrap_or_default();
        summary.contains("are killed (policy version 2)")
    };
    let told = || Ok(fleet.incidents()?.into_iter().find(explained));
    wait::until("the incident with its reason", LIMIT, told).unwrap();
}
