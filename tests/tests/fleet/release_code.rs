//! A host that lost its controller is opened by a code or a file, and by nothing less where the policy says so.

use serde_json::json;

use super::*;

const KEY: &str = "/var/lib/cordon-controller/keys/release.key";

/// A fleet whose policy names the site's release key, with ep1 cut off by hand and the controller gone.
fn stranded() -> (Fleet, Doors, Value) {
    let mut fleet = fleet();
    let doors = Doors::open(&fleet);
    let public = fleet.node("controller").unwrap();
    let public = public.read(&KEY.replace(".key", ".pub")).unwrap();
    let change = |policy: &mut Value| {
        policy["isolation"]["local_release"] = false.into();
        policy["release_keys"] = json!([{ "name": "night desk", "public_key": public.trim() }]);
    };
    fleet.push_changed_policy(change).unwrap();
    let newest = |host: &Value| host["policy_version"] == 2;
    fleet
        .wait_host("ep1", "with release keys", LIMIT, newest)
        .unwrap();
    let drill = [
        "isolate", "ep1", "--reason", "drill", "--lease", "none", "--wait",
    ];
    let order = fleet.ctl(&drill).unwrap();
    assert_eq!(order["state"], "done", "{order}");
    let reported = wait_confirmed(&fleet);
    fleet.kill_controller().unwrap();
    doors.assert_all(false);
    (fleet, doors, reported)
}

fn status(node: &Node) -> Value {
    let said = node.exec(&["cordon-agent", "status", "--json"]).unwrap();
    serde_json::from_slice(&said.stdout).unwrap()
}

/// What a person reads: the challenge alone on a line, which a console does not break.
fn assert_shown(node: &Node, release: &Value) {
    let said = node.exec(&["cordon-agent", "status"]).unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let challenge = release["challenge"].as_str().unwrap();
    assert!(said.lines().any(|line| line == challenge), "{said}");
    assert!(challenge.len() < 80);
}

/// What a release says when it is refused.
fn refusal(node: &Node, arguments: &[&str]) -> String {
    let command = [&["cordon-agent", "release"], arguments].concat();
    let refused = node.exec(&command).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
    assert!(is_cut_off(node).unwrap());
    String::from_utf8(refused.stdout).unwrap()
}

fn by_code(code: &str) -> [&str; 4] {
    ["--reason", "the line is down", "--code", code]
}

/// As on a machine with nothing but the key.
fn answer(fleet: &Fleet, challenge: &Value) -> String {
    let challenge = challenge.as_str().unwrap();
    let command = ["release-code", "--key", KEY, "--challenge", challenge];
    let said = fleet.ctl(&command).unwrap();
    said["code"].as_str().unwrap().to_owned()
}

#[test]
fn a_code_opens_the_host_once_after_a_restart_and_the_controller_hears_by_whom() {
    let (mut fleet, doors, reported) = stranded();
    let shown = status(fleet.node("ep1").unwrap())["isolation"]["release"].clone();
    assert_eq!(shown, reported["release"], "what is shown was reported");
    assert_shown(fleet.node("ep1").unwrap(), &shown);
    let code = answer(&fleet, &shown["challenge"]);

    fleet.kill_agent("ep1").unwrap();
    fleet.start_agent("ep1").unwrap();
    let node = fleet.node("ep1").unwrap();
    let running = || Ok((status(node)["isolation"]["release"] == shown).then_some(()));
    wait::until("the same challenge after a restart", LIMIT, running).unwrap();

    assert!(refusal(node, &["--reason", "I am root"]).contains("release key"));
    assert!(refusal(node, &by_code("0000-0000-0000-0000")).contains("wrong release code"));
    assert!(refusal(node, &by_code("hello")).contains("16 letters and digits"));
    doors.assert_all(false);
    let opens = [&["cordon-agent", "release"][..], &by_code(&code)].concat();
    node.succeed(&opens).unwrap();
    assert!(!is_cut_off(node).unwrap());
    doors.assert_all(true);
    let again = node.exec(&opens).unwrap();
    assert!(!again.status.success());

    fleet.start_controller().unwrap();
    let released = |host: &Value| host["isolation"]["state"] == "released";
    let host = fleet
        .wait_host("ep1", "told as open", LIMIT, released)
        .unwrap();
    let reason = "by release code of \"night desk\": the line is down";
    assert_eq!(host["isolation"]["reason"], reason);
    let events = events(&fleet, "ep1");
    let guesses = tampering(&events, "wrong release code");
    assert_eq!(guesses.len(), 1, "{guesses:?}");
}

#[test]
fn a_file_opens_the_host_after_a_reboot_with_neither_agent_nor_controller() {
    let (mut fleet, doors, reported) = stranded();
    fleet.kill_agent("ep1").unwrap();
    let node = fleet.node("ep1").unwrap();
    // A reboot leaves the disk and forgets the kernel's rules.
    node.succeed(&["nft", "flush", "ruleset"]).unwrap();
    node.succeed(&["cordon-agent", "restore"]).unwrap();
    let shown = status(node)["release"].clone();
    assert_eq!(shown, reported["release"]);
    assert_shown(node, &shown);
    assert!(refusal(node, &["--reason", "I am root"]).contains("release key"));
    assert!(refusal(node, &by_code("0000-0000-0000-0000")).contains("wrong release code"));

    let challenge = shown["challenge"].as_str().unwrap();
    let sign = ["release-code", "--key", KEY, "--challenge", challenge];
    let sign = [&sign[..], &["--file", "--reason", "carried by Ada"]].concat();
    let signed = fleet.show(&sign).unwrap();
    node.write("/root/release.json", &signed).unwrap();
    node.write("/root/cut.json", &signed[..signed.len() / 2])
        .unwrap();
    let cut = node.exec(&["cordon-agent", "release", "--file", "/root/cut.json"]);
    let said = String::from_utf8(cut.unwrap().stderr).unwrap();
    assert!(
        said.contains("/root/cut.json is not a release file"),
        "{said}"
    );
    doors.assert_all(false);
    let opens = ["cordon-agent", "release", "--file", "/root/release.json"];
    node.succeed(&opens).unwrap();
    doors.assert_all(true);
    assert!(!node.exec(&opens).unwrap().status.success());

    fleet.start_controller().unwrap();
    fleet.start_agent("ep1").unwrap();
    let released = |host: &Value| host["isolation"]["state"] == "released";
    let host = fleet
        .wait_host("ep1", "told as open", LIMIT, released)
        .unwrap();
    let reason = "by release file of \"night desk\": carried by Ada";
    assert_eq!(host["isolation"]["reason"], reason);
    let guesses = events(&fleet, "ep1");
    assert_eq!(tampering(&guesses, "wrong release code").len(), 1);
}

#[test]
fn the_controllers_own_record_gives_the_code_when_only_the_hosts_line_is_cut() {
    let (mut fleet, doors, _) = stranded();
    fleet.start_controller().unwrap();
    let asked = ["release-code", "ep1", "--reason", "the cable is cut"];
    let said = fleet.ctl(&asked).unwrap();
    let code = said["code"].as_str().unwrap();
    let node = fleet.node("ep1").unwrap();
    let opens = [&["cordon-agent", "release"][..], &by_code(code)].concat();
    node.succeed(&opens).unwrap();
    doors.assert_all(true);
}
