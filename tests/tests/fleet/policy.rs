//! Policies that must not get through, and the one in force that must stay.

use super::*;

fn refusal(fleet: &Fleet, change: impl Fn(&mut Value)) -> String {
    let refused = fleet.push_changed_policy(change).unwrap_err();
    format!("{refused:#}")
}

#[test]
fn what_the_controller_refuses_leaves_the_policy_in_force() {
    let fleet = fleet();
    let in_force = fleet.host("ep1").unwrap()["policy_version"].clone();
    let older = refusal(&fleet, |policy| policy["version"] = 1.into());
    assert!(older.contains("version"), "{older}");
    let elsewhere = refusal(&fleet, |policy| {
        policy["version"] = 9.into();
        policy["site"] = "elsewhere".into();
    });
    assert!(elsewhere.contains("elsewhere"), "{elsewhere}");
    let forged = fleet.push_forged_policy().unwrap_err();
    assert!(format!("{forged:#}").contains("signature"), "{forged:#}");
    fleet.wait_heartbeat("ep1", LIMIT).unwrap();
    assert_eq!(fleet.host("ep1").unwrap()["policy_version"], in_force);
}

#[test]
fn a_newer_policy_reaches_a_running_agent() {
    let mut fleet = fleet();
    fleet.push_policy("observe").unwrap();
    fleet.wait_online("ep1").unwrap();
    let applied = of_kind(&events(&fleet, "ep1"), "policy")
        .iter()
        .filter(|event| event["body"]["applied"] == true)
        .count();
    assert_eq!(applied, 2);
}
