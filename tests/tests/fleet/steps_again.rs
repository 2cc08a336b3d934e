//! Files by order, and orders of each kind over the end of an agent.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::thread;

use super::steps::{Victim, id, order, refusal, stage, word};
use super::*;

#[test]
fn a_file_is_taken_and_comes_back_byte_for_byte() {
    let (fleet, _outside) = stage(20);
    let node = fleet.node("ep1").unwrap();
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    node.write("/srv/dropper", &content).unwrap();
    let path = node.path("/srv/dropper");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
    std::os::unix::fs::chown(&path, Some(1234), Some(2345)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
    let digest = node.succeed(&["sha256sum", "/srv/dropper"]).unwrap();
    let digest = digest.split(' ').next().unwrap();

    let changed = "00".repeat(32);
    let said = refusal(
        &fleet,
        &[
            "quarantine-file",
            "ep1",
            "/srv/dropper",
            "--sha256",
            &changed,
        ],
    );
    assert!(said.contains("was meant"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), content);
    let said = refusal(&fleet, &["quarantine-file", "ep1", "/usr/bin/env"]);
    assert!(said.contains("--of-package"), "{said}");
    let said = refusal(&fleet, &["quarantine-file", "ep1", "/srv/nothing"]);
    assert!(said.contains("/srv/nothing"), "{said}");

    let taken = order(
        &fleet,
        &["quarantine-file", "ep1", "/srv/dropper", "--sha256", digest],
    );
    assert!(word(&taken).contains("nothing has its name now"), "{taken}");
    assert!(!path.exists());
    let back = order(&fleet, &["undo", id(&taken)]);
    assert_eq!(back["verb"], "restore_file");
    assert_eq!(fs::read(&path).unwrap(), content);
    let is = fs::metadata(&path).unwrap();
    assert_eq!(
        (is.mode() & 0o7777, is.uid(), is.gid()),
        (0o4751, 1234, 2345)
    );
    let held = back["asks"]["held"].as_str().unwrap();
    let said = refusal(&fleet, &["restore-file", "ep1", held]);
    assert!(said.contains("nothing is held"), "{said}");

    let events = events(&fleet, "ep1");
    let files = of_kind(&events, "quarantine");
    let acts: Vec<&Value> = files.iter().map(|event| &event["body"]["act"]).collect();
    assert_eq!(acts, ["taken", "restored"], "{files:?}");
    for (event, order) in files.iter().zip([&taken, &back]) {
        assert_eq!(event["body"]["ordered"]["order"], order["id"], "{event}");
        assert_eq!(event["body"]["sha256"], digest, "{event}");
    }
}

/// Whatever the moment: the next start does again what was begun, and what the host says is so.
#[test]
fn an_order_outlives_an_agent_that_is_killed() {
    let (mut fleet, outside) = stage(40);
    let victim = Victim::new(&fleet);
    let name = victim.name();
    let content = "a dropper".repeat(5000);
    let final_word = |fleet: &Fleet, id: &str| {
        wait::until("the end of the order", 2 * LIMIT, || {
            let order = fleet.ctl(&["order", id])?;
            let is_over = order["state"] == "done" || order["state"] == "failed";
            Ok(is_over.then_some(order))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")))
    };
    for round in 0..6_u64 {
        victim.node.write("/srv/dropper", &content).unwrap();
        let commands: [&[&str]; 3] = [
            &["freeze-tree", "ep1", &name],
            &["block-remote", "ep1", "10.99.0.200", "--for", "1h"],
            &["quarantine-file", "ep1", "/srv/dropper"],
        ];
        let give = |command: &[&str]| {
            let sent = fleet
                .ctl(&[command, &["--reason", "drill"]].concat())
                .unwrap();
            id(&sent).to_owned()
        };
        let ids: Vec<String> = commands.iter().map(|command| give(command)).collect();
        thread::sleep(Duration::from_millis(7 * round * round));
        fleet.kill_agent("ep1").unwrap();
        fleet.start_agent("ep1").unwrap();
        for id in &ids {
            let order = final_word(&fleet, id);
            assert_eq!(order["state"], "done", "round {round}: {order}");
        }
        assert!(victim.stands(), "round {round}");
        assert!(
            !outside.probe_from(&victim.node).unwrap()[0].1,
            "round {round}"
        );
        assert!(!victim.node.path("/srv/dropper").exists(), "round {round}");
        for id in &ids {
            order(&fleet, &["undo", id]);
        }
        assert!(victim.beats(), "round {round}");
        assert_eq!(victim.node.read("/srv/dropper").unwrap(), content);
    }
}
