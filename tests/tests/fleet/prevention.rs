//! Programs that the policy lists do not run.

use std::fs;

use super::*;

/// Starts of a listed program, none of which may do anything.
const STARTS: usize = 50;
/// What a shell says of a program that was ended by SIGKILL.
const KILLED: &str = "137";

/// `touch` under another name, with something behind its end so that its content is its own.
fn program(node: &Node, path: &str, mark: &str) {
    let script = format!("cp /usr/bin/touch {path} && printf {mark} >> {path}");
    node.succeed(&["sh", "-c", &script]).unwrap();
}

/// What the program's exit was, and whether it made its file.
fn run(node: &Node, program: &str) -> (String, bool) {
    let script = format!("rm -f /srv/ran; {program} /srv/ran; echo $?");
    let said = node.succeed(&["sh", "-c", &script]).unwrap();
    let code = said.lines().last().unwrap_or_default().to_owned();
    (code, node.path("/srv/ran").exists())
}

fn digest(node: &Node, path: &str) -> (String, u64) {
    let said = node.succeed(&["sha256sum", path]).unwrap();
    let bytes = fs::metadata(node.path(path)).unwrap().len();
    (said.split(' ').next().unwrap().to_owned(), bytes)
}

fn push(fleet: &Fleet, mode: &str, programs: &Value, version: u64) {
    let change = |policy: &mut Value| {
        policy["version"] = version.into();
        policy["mode"] = mode.into();
        policy["caps"]["isolations_per_hour"] = 0.into();
        policy["blocked_programs"] = programs.clone();
    };
    fleet.push_changed_policy(change).unwrap();
    let in_force = |host: &Value| host["policy_version"] == version;
    fleet
        .wait_host("ep1", "under the new policy", LIMIT, in_force)
        .unwrap();
}

/// The newest report of a program that was kept from running, or would have been.
fn wait_told(fleet: &Fleet, exe: &str, what: impl Fn(&Value) -> bool) -> Value {
    let told = || {
        let events = events(fleet, "ep1");
        let stops = of_kind(&events, "stop");
        let of_it = |event: &&&Value| {
            let reason = event["body"]["reason"].as_str().unwrap_or_default();
            reason.starts_with(exe) && what(&event["body"])
        };
        Ok(stops
            .iter()
            .rev()
            .find(of_it)
            .map(|event| event["body"].clone()))
    };
    wait::until("word of the program", LIMIT, told)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")))
}

#[test]
fn a_listed_program_does_not_run_its_first_instruction() {
    let mut fleet = Fleet::up(&options(1), &Narrator::to_stderr()).unwrap();
    let node = fleet.node("ep1").unwrap().clone();
    for (path, mark) in [
        ("listed", "A"),
        ("free", "B"),
        ("known", "C"),
        ("alike", "D"),
    ] {
        program(&node, &format!("/srv/{path}"), mark);
    }
    let (known, bytes) = digest(&node, "/srv/known");
    let programs = serde_json::json!({
        "paths": ["/srv/listed"],
        "files": [{"sha256": known, "bytes": bytes}],
    });

    push(&fleet, "observe", &programs, 2);
    assert_eq!(run(&node, "/srv/listed"), ("0".to_owned(), true));
    let told = wait_told(&fleet, "/srv/listed", |body| body["count"] == 0);
    assert_eq!(
        told["spared"][0]["why"], "the policy's mode never acts",
        "{told}"
    );

    push(&fleet, "autonomous", &programs, 3);
    for _ in 0..STARTS {
        assert_eq!(run(&node, "/srv/listed"), (KILLED.to_owned(), false));
    }
    assert_eq!(run(&node, "/srv/free"), ("0".to_owned(), true));

    // By its content, under whatever name, the first time too.
    node.succeed(&["cp", "/srv/known", "/srv/renamed"]).unwrap();
    for name in ["/srv/known", "/srv/renamed"] {
        assert_eq!(run(&node, name), (KILLED.to_owned(), false), "{name}");
    }
    let told = wait_told(&fleet, "/srv/renamed", |body| body["count"] == 1);
    assert_eq!(
        (&told["act"], &told["proved"]),
        (&"prevented".into(), &true.into()),
        "{told}"
    );
    assert_eq!(told["policy_version"], 3, "{told}");
    each_is_an_incident_of_its_own(&fleet);
    // As long, and another: it is held, compared, and let go on.
    for _ in 0..2 {
        assert_eq!(run(&node, "/srv/alike"), ("0".to_owned(), true));
    }

    an_agent_that_dies_leaves_nobody_held(&mut fleet, &node);
}

/// However often it was started: somebody brought it.
fn each_is_an_incident_of_its_own(fleet: &Fleet) {
    for name in ["listed", "known", "renamed"] {
        let title = format!("Forbidden program {name} on ep1");
        let of_it = || {
            let incidents = fleet.incidents()?;
            let found = incidents
                .into_iter()
                .filter(|one| one["title"] == title.as_str());
            Ok(Some(found.collect::<Vec<_>>()).filter(|found| !found.is_empty()))
        };
        let found = wait::until(&title, LIMIT, of_it).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

/// Held by an agent that stands still itself, and let go on by the next one.
fn an_agent_that_dies_leaves_nobody_held(fleet: &mut Fleet, node: &Node) {
    program(node, "/srv/alike", "E");
    let mut agent = fleet.take_agent("ep1").unwrap();
    agent.signal(nix::sys::signal::Signal::SIGSTOP).unwrap();
    node.succeed(&["rm", "-f", "/srv/ran"]).unwrap();
    let mut held = node.spawn(&["/srv/alike", "/srv/ran"], "held.log").unwrap();
    let process = format!("/proc/{}/stat", held.pid());
    let stands = || Ok(fs::read_to_string(&process)?.contains(") T ").then_some(()));
    wait::until("the program to be held", LIMIT, stands).unwrap();
    assert!(!node.path("/srv/ran").exists());
    agent.signal(nix::sys::signal::Signal::SIGKILL).unwrap();
    agent.wait(LIMIT).unwrap();
    assert!(!node.path("/srv/ran").exists());
    fleet.start_agent("ep1").unwrap();
    assert!(held.wait(LIMIT).unwrap().success());
    assert!(node.path("/srv/ran").exists());
}

/// Nobody knows its length, so nobody knows it before it was hashed. Then it is ended, and from then on it does not start.
#[test]
fn a_program_that_is_known_by_its_digest_alone_is_ended_when_it_was_hashed() {
    let fleet = Fleet::up(&options(1), &Narrator::to_stderr()).unwrap();
    let node = fleet.node("ep1").unwrap();
    let script = "cp /usr/bin/sleep /srv/waiter && printf F >> /srv/waiter";
    node.succeed(&["sh", "-c", script]).unwrap();
    let (sha256, _) = digest(node, "/srv/waiter");
    let programs = serde_json::json!({"files": [{"sha256": sha256}]});
    push(&fleet, "autonomous", &programs, 2);
    for _ in 0..2 {
        let said = node
            .succeed(&["sh", "-c", "/srv/waiter 30; echo $?"])
            .unwrap();
        assert_eq!(said.lines().last(), Some(KILLED));
    }
    let told = wait_told(&fleet, "/srv/waiter", |body| body["act"] == "killed");
    assert_eq!(told["proved"], true, "{told}");
    wait_told(&fleet, "/srv/waiter", |body| body["act"] == "prevented");
}
