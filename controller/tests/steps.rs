//! Steps against an attack, ordered by `cordonctl` and over REST: what is signed, and what is refused before it is.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod site;

use std::fs;

use cordon_proto::id::HostId;
use cordon_proto::order::{STEPS, UNDOS};
use reqwest::StatusCode;
use serde_json::{Value, json};
use site::{Site, add_hosts, policy, problem, program, signed, stderr};

const PROCESS: &str = "0f3c9a1e:412:3210000000";
const HELD: &str = "01890000000070008000000000000001";

/// A site with one host, whose policy lets the controller order everything.
async fn site() -> (Site, HostId) {
    let mut site = Site::init();
    let host = add_hosts(&site, &["web"]).await[0];
    site.serve();
    let order_key = fs::read_to_string(site.data().join("keys/order.pub")).unwrap();
    let verbs = [
        &["isolate", "release"],
        &STEPS[..],
        &UNDOS.map(|(_, undo)| undo),
    ]
    .concat();
    let mut allowing = policy(1);
    allowing["caps"]["ordered_per_hour"] = json!(8);
    allowing["order_keys"] = json!([{ "public_key": order_key.trim(), "verbs": verbs }]);
    let file = signed(&site, &site, &allowing);
    site.ctl(&["policy", "push", file.to_str().unwrap()]);
    (site, host)
}

#[tokio::test]
async fn each_command_signs_the_order_that_it_says() {
    let (site, _) = site().await;
    let digest = "AB".repeat(32);
    let tree = |verb| json!({ "verb": verb, "process": PROCESS });
    let cases: [(&[&str], Value, &str); 9] = [
        (&["kill-tree", "web", PROCESS], tree("kill_tree"), PROCESS),
        (
            &["freeze-tree", "web", PROCESS],
            tree("freeze_tree"),
            PROCESS,
        ),
        (&["thaw-tree", "web", PROCESS], tree("thaw_tree"), PROCESS),
        (&["cut-off", "web", PROCESS], tree("cut_off"), PROCESS),
        (&["rejoin", "web", PROCESS], tree("rejoin"), PROCESS),
        (
            &["block-remote", "web", "2001:db8::9", "--for", "30m"],
            json!({ "verb": "block_remote", "address": "2001:db8::9", "seconds": 1800 }),
            "2001:db8::9 for 1800 s",
        ),
        (
            &["unblock-remote", "web", "203.0.113.9"],
            json!({ "verb": "unblock_remote", "address": "203.0.113.9" }),
            "203.0.113.9",
        ),
        (
            &["quarantine-file", "web", "/tmp/a b", "--sha256", &digest],
            json!({ "verb": "quarantine_file", "path": "/tmp/a b", "sha256": "ab".repeat(32) }),
            "/tmp/a b",
        ),
        (
            &["restore-file", "web", HELD],
            json!({ "verb": "restore_file", "held": HELD }),
            HELD,
        ),
    ];
    for (command, asks, subject) in cases {
        let order = site.ctl(&[command, &["--reason", "a test"]].concat());
        assert_eq!((&order["asks"], &order["state"]), (&asks, &json!("queued")));
        assert_eq!(
            (&order["subject"], &order["can_undo"]),
            (&json!(subject), &json!(false))
        );
        let told = site.ctl(&["order", order["id"].as_str().unwrap()]);
        assert_eq!(
            (&told["verb"], &told["reason"]),
            (&asks["verb"], &json!("a test"))
        );
    }
    let trail = site.ctl(&["audit", "show"]);
    let orders = trail.as_array().unwrap().iter();
    let orders = orders.filter(|entry| entry["what"] == "order.create");
    let targets: Vec<&str> = orders
        .filter_map(|entry| entry["target"].as_str())
        .collect();
    assert_eq!(targets.len(), 9);
    assert!(
        targets
            .iter()
            .any(|target| target.starts_with("quarantine_file \"/tmp/a b\" on "))
    );
    // Undo: only of what was done.
    let first = site.ctl(&["orders"])[0]["id"].as_str().unwrap().to_owned();
    let (code, words) = site.ctl_fails(&["undo", &first, "--reason", "a test"]);
    assert_eq!(code, 4);
    assert!(words.contains("nothing undoes restore_file"), "{words}");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_what_would_be_right() {
    let (site, _) = site().await;
    for (command, code, wanted) in [
        (&["kill-tree", "web", "412"][..], 2, "BOOT:PID:START"),
        (&["kill-tree", "web", "0f3c9a1e:0:1"], 2, "BOOT:PID:START"),
        (&["kill-tree", "nowhere", PROCESS], 4, "nowhere"),
        (&["block-remote", "web", "example.net"], 2, "address"),
        (&["block-remote", "web", "203.0.113.0/24"], 2, "address"),
        (
            &["block-remote", "web", "203.0.113.9", "--for", "8d"],
            4,
            "not between 1 and 604800",
        ),
        (&["quarantine-file", "web", "tmp/x"], 4, "absolute"),
        (
            &["quarantine-file", "web", "/tmp/../etc/shadow"],
            4,
            "absolute",
        ),
        (
            &["quarantine-file", "web", "/tmp/x", "--sha256", "ab"],
            2,
            "sha256sum",
        ),
        (&["restore-file", "web", "../x"], 4, "32 hexadecimal digits"),
        (&["undo", "x"], 2, "id"),
        (
            &["undo", "01890000-0000-7000-8000-000000000001"],
            4,
            "no such order",
        ),
    ] {
        let (exit, words) = site.ctl_fails(&[command, &["--reason", "a test"]].concat());
        assert_eq!(exit, code, "{command:?}: {words}");
        assert!(
            words.to_lowercase().contains(&wanted.to_lowercase()),
            "{command:?}: {words}"
        );
    }
    assert_eq!(site.ctl(&["orders"]), json!([]));
    let mut help = program("cordonctl", &["--help"]);
    let help = String::from_utf8(help.output().unwrap().stdout).unwrap();
    for command in [
        "kill-tree",
        "cut-off",
        "block-remote",
        "quarantine-file",
        "undo",
    ] {
        assert!(help.contains(command), "{command}");
    }
}

#[tokio::test]
async fn a_body_asks_for_one_step_and_nothing_else() {
    let (site, host) = site().await;
    let responder = site.browser_as("responder").await;
    let path = format!("/hosts/{host}/orders");
    for (body, wanted) in [
        (json!({ "reason": "x" }), "verb"),
        (
            json!({ "reason": "x", "verb": "shell", "command": "id" }),
            "shell",
        ),
        (
            json!({ "reason": "x", "verb": "isolate", "lease_seconds": 0 }),
            "isolate",
        ),
        (json!({ "reason": "x", "verb": "kill_tree" }), "process"),
        (
            json!({ "reason": "x", "verb": "kill_tree", "process": "412" }),
            "BOOT:PID:START",
        ),
        (
            json!({ "reason": "x", "verb": "kill_tree", "process": PROCESS, "signal": 9 }),
            "signal",
        ),
        (
            json!({ "reason": " ", "verb": "kill_tree", "process": PROCESS }),
            "why",
        ),
        (json!({ "verb": "kill_tree", "process": PROCESS }), "reason"),
    ] {
        let (status, detail) = problem(responder.post(&path, &body).await).await;
        assert_eq!(status, 422, "{body}: {detail}");
        assert!(detail.contains(wanted), "{body}: {detail}");
    }
    let body = json!({ "reason": "x", "verb": "kill_tree", "process": PROCESS });
    let answer = responder.post(&path, &body).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let order: Value = answer.json().await.unwrap();
    let undo = format!("/orders/{}/undo", order["id"].as_str().unwrap());
    let (status, detail) = problem(responder.post(&undo, &json!({ "reason": " " })).await).await;
    assert_eq!((status, detail.contains("why")), (422, true), "{detail}");
    let (status, detail) = problem(responder.post(&undo, &json!({ "reason": "x" })).await).await;
    assert_eq!(status, 409, "{detail}");
    assert!(detail.contains("nothing undoes kill_tree"), "{detail}");
}

#[tokio::test]
async fn a_person_reads_what_an_order_is_about_and_a_hostile_path_moves_no_cursor() {
    let (site, _) = site().await;
    let path = "/tmp/\u{1b}[2Jx";
    let order = site.ctl(&["quarantine-file", "web", path, "--reason", "a test"]);
    for command in [vec!["orders"], vec!["order", order["id"].as_str().unwrap()]] {
        let mut show = program("cordonctl", &["--data"]);
        let out = show.arg(site.data()).args(&command).output().unwrap();
        assert!(out.status.success(), "{}", stderr(&out));
        let said = String::from_utf8(out.stdout).unwrap();
        assert!(said.contains("quarantine_file"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
}
