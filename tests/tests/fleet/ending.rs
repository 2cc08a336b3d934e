//! What ends an agent, and what does not: signals, codes, a shutdown, a removal. Each is reported.

use std::fs;

use cordon_tests::lab::Guest;
use nix::sys::signal::Signal;
use serde_json::json;

use super::*;

const KEY: &str = "/var/lib/cordon-controller/keys/release.key";
/// Of `run`: stopped by leave.
const STOPPED: i32 = 6;

/// A fleet of one, whose policy takes a code for a stop.
fn guarded() -> Fleet {
    let fleet = Fleet::up(&options(1), &Narrator::to_stderr()).unwrap();
    let public = fleet.node("controller").unwrap();
    let public = public.read(&KEY.replace(".key", ".pub")).unwrap();
    let change = |policy: &mut Value| {
        policy["protection"] = json!({ "stop": "code" });
        policy["release_keys"] = json!([{ "name": "night desk", "public_key": public.trim() }]);
    };
    fleet.push_changed_policy(change).unwrap();
    let newest = |host: &Value| host["policy_version"] == 2;
    fleet
        .wait_host("ep1", "under the new policy", LIMIT, newest)
        .unwrap();
    fleet
}

/// What a command of the agent says, and how it exits.
fn say(node: &Node, arguments: &[&str]) -> (Value, Option<i32>) {
    let command = [&["cordon-agent", "--json"], arguments].concat();
    let output = node.exec(&command).unwrap();
    let said = serde_json::from_slice(&output.stdout);
    let said = said.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (said, output.status.code())
}

/// As on a machine with nothing but the key.
fn answer(fleet: &Fleet, challenge: &Value) -> String {
    let challenge = challenge.as_str().unwrap();
    let command = ["stop-code", "--key", KEY, "--challenge", challenge];
    let said = fleet.ctl(&command).unwrap();
    said["code"].as_str().unwrap().to_owned()
}

/// The first record of a kind with these words in it.
fn wait_told(fleet: &Fleet, kind: &str, field: &str, words: &str) -> Value {
    let told = || {
        let events = events(fleet, "ep1");
        let has = |event: &&&Value| {
            let text = event["body"][field].as_str();
            text.is_some_and(|text| text.contains(words))
        };
        let found = of_kind(&events, kind).iter().find(has).copied().cloned();
        Ok(found.map(|event| event["body"].clone()))
    };
    wait::until(&format!("{kind} with {words:?}"), LIMIT, told)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")))
}

fn is_running(node: &Node) -> bool {
    let status = node.exec(&["cordon-agent", "status"]).unwrap();
    status.status.success()
}

/// The controller hears it, too.
fn start(fleet: &mut Fleet) {
    fleet.start_agent("ep1").unwrap();
    let node = fleet.node("ep1").unwrap();
    let runs = || Ok(is_running(node).then_some(()));
    wait::until("the agent to run", LIMIT, runs).unwrap();
    fleet.wait_heartbeat("ep1", LIMIT).unwrap();
}

/// By a shell that lives on for a moment, so that who it is can be seen.
fn signal(node: &Node, name: &str) {
    let line = format!("kill -{name} $(pgrep -x cordon-agent); sleep 0.5");
    node.succeed(&["sh", "-c", &line]).unwrap();
}

#[test]
fn where_the_policy_takes_a_code_signals_are_refused_and_told_and_a_code_stops_it_once() {
    let mut fleet = guarded();
    let node = fleet.node("ep1").unwrap().clone();
    let mut agent = fleet.take_agent("ep1").unwrap();
    for signal in ["TERM", "INT", "HUP", "QUIT", "USR1"] {
        self::signal(&node, signal);
    }
    let told = wait_told(&fleet, "tamper", "what", "SIGTERM to the agent by");
    assert_eq!(told["by"]["exe"], "/usr/bin/dash", "{told}");
    assert_eq!(told["by"]["uid"], 0, "{told}");
    assert!(
        told["what"].as_str().unwrap().contains("was refused"),
        "{told}"
    );
    assert!(agent.ended().unwrap().is_none());

    let (shown, code) = say(&node, &["stop", "--reason", "a new kernel"]);
    assert_eq!((&shown["needs"], code), (&"stop_code".into(), Some(1)));
    let (wrong, _) = say(&node, &["stop", "--code", "0000-0000-0000-0000"]);
    assert_eq!(wrong["done"], false);
    wait_told(&fleet, "tamper", "what", "wrong stop code");
    assert!(is_running(&node));

    let right = answer(&fleet, &shown["challenge"]);
    let stop = ["stop", "--reason", "a new kernel", "--code", &right];
    let (stopped, code) = say(&node, &stop);
    assert_eq!(
        (&stopped["done"], code),
        (&true.into(), Some(0)),
        "{stopped}"
    );
    assert_eq!(agent.wait(LIMIT).unwrap().code(), Some(STOPPED));
    let told = wait_told(&fleet, "agent", "reason", "a new kernel");
    let by = "by stop code of \"night desk\": a new kernel";
    assert_eq!(
        (&told["act"], &told["reason"]),
        (&"stopped".into(), &by.into())
    );

    start(&mut fleet);
    let (again, _) = say(&node, &stop);
    assert_eq!(again["done"], false, "{again}");
    assert!(is_running(&node));
}

#[test]
fn a_system_that_goes_down_and_a_policy_that_trusts_root_stop_it_by_a_signal() {
    let mut fleet = guarded();
    let node = fleet.node("ep1").unwrap().clone();
    let mut agent = fleet.take_agent("ep1").unwrap();
    // What an init writes when it goes to run level 0: utmp(5).
    let mut down = vec![0_u8; 384];
    down[0] = 1;
    down[4..6].copy_from_slice(b"03");
    fs::write(node.path("/run/utmp"), down).unwrap();
    agent.signal(Signal::SIGTERM).unwrap();
    assert_eq!(agent.wait(LIMIT).unwrap().code(), Some(0));
    wait_told(&fleet, "agent", "reason", "the system goes down, SIGTERM");
    fs::remove_file(node.path("/run/utmp")).unwrap();

    start(&mut fleet);
    let trusting = |policy: &mut Value| policy["version"] = 3.into();
    fleet.push_changed_policy(trusting).unwrap();
    let newest = |host: &Value| host["policy_version"] == 3;
    fleet
        .wait_host("ep1", "under the next policy", LIMIT, newest)
        .unwrap();
    let mut agent = fleet.take_agent("ep1").unwrap();
    signal(&node, "HUP");
    assert_eq!(agent.wait(LIMIT).unwrap().code(), Some(0));
    let told = wait_told(&fleet, "agent", "reason", "SIGHUP by /usr/bin/dash");
    assert_eq!(told["act"], "stopped");

    start(&mut fleet);
    let mut agent = fleet.take_agent("ep1").unwrap();
    let (refused, _) = say(&node, &["stop"]);
    assert!(refused["detail"].as_str().unwrap().contains("--reason"));
    let (stopped, _) = say(&node, &["stop", "--reason", "I am root"]);
    assert_eq!(stopped["done"], true, "{stopped}");
    assert_eq!(agent.wait(LIMIT).unwrap().code(), Some(STOPPED));
    wait_told(&fleet, "agent", "reason", "at the machine: I am root");
}

/// Something of each kind that the agent does to a host, and whom it did it to.
fn with_effects(fleet: &mut Fleet) -> Guest {
    let node = fleet.node("ep1").unwrap().clone();
    let outside = fleet.node("outside").unwrap().address_v4();
    fleet.kill_agent("ep1").unwrap();
    let blocks = json!({
        "blocks": [{ "address": outside, "until": "2099-01-01T00:00:00Z" }], "rules_sha256": "",
    });
    node.write("/var/lib/cordon/blocks.json", blocks.to_string())
        .unwrap();
    start(fleet);
    let tables = node.succeed(&["nft", "list", "tables"]).unwrap();
    assert!(tables.contains("cordon_blocks"), "{tables}");

    let sleeper = node.spawn(&["sleep", "600"], "/var/log/sleeper").unwrap();
    let pid = node.succeed(&["pgrep", "-n", "-x", "sleep"]).unwrap();
    let (cut, _) = say(&node, &["cut-off", pid.trim(), "--reason", "drill"]);
    assert_eq!(cut["done"], true, "{cut}");
    node.write("/root/dropper", "dropped").unwrap();
    let add = ["quarantine", "add", "/root/dropper", "--reason", "drill"];
    let (held, _) = say(&node, &add);
    assert_eq!(held["done"], true, "{held}");
    sleeper
}

fn assert_nothing_is_left(node: &Node) {
    let tables = node.succeed(&["nft", "list", "tables"]).unwrap();
    assert!(!tables.contains("cordon"), "{tables}");
}

#[test]
fn uninstall_undoes_everything_tells_the_controller_and_keeps_what_is_in_quarantine() {
    let mut fleet = guarded();
    let node = fleet.node("ep1").unwrap().clone();
    let _sleeper = with_effects(&mut fleet);
    let mut agent = fleet.take_agent("ep1").unwrap();

    let (isolated, _) = say(&node, &["isolate", "--reason", "drill"]);
    assert_eq!(isolated["done"], true, "{isolated}");
    let (refused, code) = say(&node, &["uninstall", "--reason", "sold"]);
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("release it first") && code == Some(1),
        "{refused}"
    );
    node.succeed(&["cordon-agent", "release", "--reason", "the drill is over"])
        .unwrap();

    let (shown, _) = say(&node, &["uninstall", "--reason", "sold"]);
    assert_eq!(shown["needs"], "stop_code", "{shown}");
    assert!(agent.ended().unwrap().is_none());
    let right = answer(&fleet, &shown["challenge"]);
    let (gone, code) = say(&node, &["uninstall", "--reason", "sold", "--code", &right]);
    assert_eq!((&gone["done"], code), (&true.into(), Some(0)), "{gone}");
    assert_eq!(gone["unsent"], 0, "{gone}");
    assert_eq!(gone["held"].as_array().unwrap().len(), 1, "{gone}");
    assert_eq!(agent.wait(LIMIT).unwrap().code(), Some(STOPPED));
    assert_nothing_is_left(&node);
    let told = wait_told(&fleet, "agent", "reason", "sold");
    assert_eq!(told["act"], "removed", "{told}");
}

#[test]
fn uninstall_needs_no_daemon_and_no_less_of_a_code() {
    let mut fleet = guarded();
    let node = fleet.node("ep1").unwrap().clone();
    let _sleeper = with_effects(&mut fleet);
    fleet.kill_agent("ep1").unwrap();
    let (shown, code) = say(&node, &["uninstall", "--reason", "sold"]);
    assert_eq!((&shown["needs"], code), (&"stop_code".into(), Some(1)));
    let wrong = [
        "uninstall",
        "--reason",
        "sold",
        "--code",
        "0000-0000-0000-0000",
    ];
    assert_eq!(say(&node, &wrong).0["done"], false);
    let right = answer(&fleet, &shown["challenge"]);
    let all = ["uninstall", "--reason", "sold", "--delete-quarantine"];
    let (gone, _) = say(&node, &[&all[..], &["--code", &right]].concat());
    assert_eq!(gone["done"], true, "{gone}");
    assert_eq!(gone["held"], json!([]), "{gone}");
    assert_eq!(gone["unsent"], 0, "{gone}");
    assert_nothing_is_left(&node);
    wait_told(&fleet, "tamper", "what", "wrong stop code");
    let told = wait_told(&fleet, "agent", "reason", "sold");
    assert_eq!(told["act"], "removed", "{told}");
}
