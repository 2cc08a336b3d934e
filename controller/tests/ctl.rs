//! `cordonctl` against a real controller: what it refuses, what it says, how it exits.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod site;

use std::fs;
use std::path::Path;

use cordon_proto::id::HostId;
use cordon_store::{IncomingRecord, Reading, Store};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use site::{Site, add_hosts, policy, program, sign, signed, stderr};

fn push(site: &Site, file: &Path) -> (i32, String) {
    site.ctl_fails(&["policy", "push", file.to_str().unwrap()])
}

#[test]
fn a_signed_policy_is_pushed_and_shown() {
    let site = Site::serving();
    let file = signed(&site, &site, &policy(1));
    let pushed = site.ctl(&["policy", "push", file.to_str().unwrap()]);
    assert_eq!(
        (&pushed["version"], &pushed["group"]),
        (&json!(1), &json!("servers"))
    );
    let file = signed(&site, &site, &policy(2));
    site.ctl(&["policy", "push", file.to_str().unwrap()]);
    let shown = site.ctl(&["policy", "show"]);
    assert_eq!(
        shown.as_array().unwrap().len(),
        1,
        "only the newest of a group"
    );
    assert_eq!(shown[0]["version"], 2);
}

#[test]
fn bad_policies_are_refused_and_the_one_in_force_stays() {
    let (site, other) = (Site::serving(), Site::init());
    let good = signed(&site, &site, &policy(5));
    site.ctl(&["policy", "push", good.to_str().unwrap()]);

    let (code, words) = push(&site, &signed(&site, &other, &policy(6)));
    assert_eq!(code, 4);
    assert!(words.contains("no valid signature"), "{words}");

    let (code, words) = push(&site, &signed(&site, &site, &policy(5)));
    assert_eq!(code, 4);
    assert!(words.contains("not newer than version 5"), "{words}");

    let mut elsewhere = policy(6);
    elsewhere["site"] = json!("elsewhere");
    let (code, words) = push(&site, &signed(&site, &site, &elsewhere));
    assert_eq!(code, 4);
    assert!(words.contains("elsewhere/servers"), "{words}");

    let mut flipped: Value =
        serde_json::from_slice(&fs::read(signed(&site, &site, &policy(6))).unwrap()).unwrap();
    let payload = flipped["payload"].as_str().unwrap().replacen('e', "f", 1);
    flipped["payload"] = json!(payload);
    let (code, _) = push(&site, &site.file("flipped.json", flipped.to_string()));
    assert_eq!(code, 4);

    let (code, words) = push(&site, &site.file("cut.json", "{\"payload"));
    assert_eq!(code, 1);
    assert!(words.contains("cut.json"), "{words}");

    assert_eq!(site.ctl(&["policy", "show"])[0]["version"], 5);
}

#[test]
fn signing_refuses_what_an_agent_would_refuse() {
    let site = Site::init();
    let key = site.data().join("keys/policy.key");
    let mut unknown = policy(1);
    unknown["colour"] = json!("blue");
    let mut senseless = policy(1);
    senseless["thresholds"] = json!({ "suspicious": 0.9, "malicious": 0.1 });
    for (document, wanted) in [
        (unknown, "colour"),
        (senseless, "thresholds"),
        (policy(0), "version"),
    ] {
        let out = sign(&key, &site.file("policy.json", document.to_string()));
        assert_eq!(out.status.code(), Some(1));
        assert!(out.stdout.is_empty());
        let words = stderr(&out);
        assert!(
            words.contains(wanted) && words.contains("policy.json"),
            "{words}"
        );
    }
    let plain = site.file("policy.json", policy(1).to_string());
    let words = stderr(&sign(&site.data().join("keys/order.pub"), &plain));
    assert!(words.contains("order.pub"), "{words}");
}

#[tokio::test]
async fn an_order_needs_one_host_a_policy_that_allows_it_and_an_agent_that_obeys() {
    let mut site = Site::init();
    let ids = add_hosts(&site, &["web", "twin", "twin"]).await;
    site.serve();
    let isolate = |host: &str| {
        let arguments = [
            "isolate",
            host,
            "--reason",
            "a test",
            "--wait",
            "--wait-limit",
            "1s",
        ];
        site.ctl_fails(&arguments)
    };
    let (code, words) = isolate("nowhere");
    assert_eq!(code, 4);
    assert!(words.contains("no host \"nowhere\""), "{words}");
    let (code, words) = isolate("twin");
    assert_eq!(code, 4);
    assert!(
        words.contains(&ids[1].to_string()) && words.contains(&ids[2].to_string()),
        "{words}"
    );
    let (code, words) = isolate("web");
    assert_eq!(code, 4);
    assert!(words.contains("order_keys"), "no policy allows it: {words}");

    let order_key = fs::read_to_string(site.data().join("keys/order.pub")).unwrap();
    let mut allowing = policy(1);
    allowing["order_keys"] = json!([{ "public_key": order_key.trim(), "verbs": ["isolate"] }]);
    let file = signed(&site, &site, &allowing);
    site.ctl(&["policy", "push", file.to_str().unwrap()]);
    // Nobody is there to obey: the order stays queued, and that is what is said.
    let (code, words) = isolate(&ids[0].to_string());
    assert_eq!(code, 6);
    assert!(words.contains("still queued"), "{words}");
    let (code, _) = site.ctl_fails(&["release", "web", "--reason", "not allowed"]);
    assert_eq!(code, 4);

    let orders = site.ctl(&["orders"]);
    assert_eq!(orders.as_array().unwrap().len(), 1);
    let order = site.ctl(&["order", orders[0]["id"].as_str().unwrap()]);
    assert_eq!(
        (&order["verb"], &order["state"]),
        (&json!("isolate"), &json!("queued"))
    );
    assert_eq!(order["requested_by"], "token:local");
    assert_eq!(order["history"][0]["signed"], false);
}

#[tokio::test]
async fn a_person_is_held_to_the_cap_on_isolated_hosts_unless_he_goes_beyond_it() {
    let mut site = Site::init();
    add_hosts(&site, &["web", "mail"]).await;
    site.serve();
    let order_key = fs::read_to_string(site.data().join("keys/order.pub")).unwrap();
    let mut capped = policy(1);
    capped["caps"]["hosts_at_once"] = json!(1);
    capped["order_keys"] = json!([{ "public_key": order_key.trim(), "verbs": ["isolate"] }]);
    let file = signed(&site, &site, &capped);
    let pushed = site.ctl(&["policy", "push", file.to_str().unwrap()]);
    assert_eq!(pushed["places_taken"], 0);
    site.ctl(&["isolate", "web", "--reason", "a test"]);
    let (code, words) = site.ctl_fails(&["isolate", "mail", "--reason", "a test"]);
    assert_eq!(code, 4);
    assert!(
        words.contains("--beyond-cap") && words.contains("web"),
        "{words}"
    );
    assert_eq!(site.ctl(&["policy", "show"])[0]["places_taken"], 1);
    let beyond = ["isolate", "mail", "--beyond-cap", "--reason", "a test"];
    assert_eq!(site.ctl(&beyond)["state"], "queued");
    assert_eq!(site.ctl(&["policy", "show"])[0]["places_taken"], 2);
    let trail = site.ctl(&["audit", "show"]).to_string();
    assert_eq!(trail.matches("beyond the cap").count(), 1, "{trail}");
}

/// As ep1's agent would report it, while nothing is served.
async fn propose(site: &Site, host: HostId, id: &str) {
    let store = Store::open(&site.data().join("cordon.db")).await.unwrap();
    let now = Timestamp::now();
    let record = json!({ "at": now, "kind": "detection", "body": {
        "tree": "a:1:1", "pid": 42,
        "story": { "id": "a1", "process": { "exe": "/usr/bin/perl\u{1b}[2J" } },
        "verdict": {
            "id": "a1", "score": 0.97, "verdict": "malicious", "techniques": [], "reasons": [],
            "stage": "model", "model": "behavior-1@0", "micros": 10,
        },
        "policy_version": 1, "decision": "await_approval", "decision_reason": "malicious", "event_mono_ns": 1,
        "proposal": {
            "id": id, "steps": { "isolate": true, "stop": "freeze", "cut_off": false },
            "made_at": now, "expires_at": now + 1.hours(), "unanswered": "nothing", "offline": "act",
        },
    }});
    let record = IncomingRecord {
        sequence: 1,
        json: serde_json::to_vec(&record).unwrap(),
        reading: Reading::Record(Box::new(serde_json::from_value(record).unwrap())),
    };
    let boot = "00000000-0000-4000-8000-000000000001";
    store
        .commit_batch(host, boot, &[record], now)
        .await
        .unwrap();
    store.close().await;
}

#[tokio::test]
async fn what_waits_is_listed_and_an_answer_is_an_order_to_the_host_that_asks() {
    const ID: &str = "01890000-0000-7000-8000-000000000004";
    let mut site = Site::init();
    let ids = add_hosts(&site, &["web", "twin"]).await;
    propose(&site, ids[0], ID).await;
    site.serve();
    let waiting = site.ctl(&["approvals"]);
    assert_eq!(waiting.as_array().unwrap().len(), 1);
    assert_eq!(
        (&waiting[0]["id"], &waiting[0]["answer"]),
        (&json!(ID), &Value::Null)
    );
    let (code, words) = site.ctl_fails(&["approve", ID]);
    assert_eq!(code, 4);
    assert!(words.contains("order_keys"), "no policy allows it: {words}");
    let (code, words) = site.ctl_fails(&["approve", "01890000-0000-7000-8000-000000000009"]);
    assert_eq!(code, 4);
    assert!(words.contains("waits for an answer"), "{words}");
    for senseless in [
        &["refuse", ID][..],
        &["approve", "perl"],
        &["refuse", ID, "--reason"],
    ] {
        assert_eq!(site.ctl_fails(senseless).0, 2, "{senseless:?}");
    }
    let (code, words) = site.ctl_fails(&["refuse", ID, "--reason", " "]);
    assert_eq!(code, 4);
    assert!(words.contains("say why"), "{words}");

    let order_key = fs::read_to_string(site.data().join("keys/order.pub")).unwrap();
    let mut allowing = policy(1);
    allowing["order_keys"] =
        json!([{ "public_key": order_key.trim(), "verbs": ["approve", "refuse"] }]);
    let file = signed(&site, &site, &allowing);
    site.ctl(&["policy", "push", file.to_str().unwrap()]);
    let order = site.ctl(&["approve", ID]);
    assert_eq!(
        (&order["verb"], &order["reason"]),
        (&json!("approve"), &json!("approved"))
    );
    assert_eq!(order["host"]["name"], "web");
    // Nobody is there to obey, so it waits on, with what was answered.
    let waiting = site.ctl(&["approvals"]);
    let answer = &waiting[0]["answer"];
    assert_eq!(
        (&answer["order"], &answer["state"]),
        (&order["id"], &json!("queued"))
    );
    let mut show = program("cordonctl", &["approvals", "--data"]);
    let shown = show.arg(site.data()).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("approve by token:local: queued"), "{shown}");
    assert!(
        shown.contains("isolate, freeze") && !shown.contains('\u{1b}'),
        "{shown}"
    );
    let trail = site.ctl(&["audit", "show"]);
    let trail = trail.as_array().unwrap();
    let answered = |entry: &&Value| {
        let target = entry["target"].as_str().unwrap();
        entry["what"] == "order.create" && target.starts_with("approve ")
    };
    assert_eq!(trail.iter().filter(answered).count(), 1, "{trail:?}");
}

#[test]
fn only_the_pinned_controller_is_talked_to() {
    let (mut site, other) = (Site::init(), Site::init());
    let at = format!("{}:8443", site.address());
    let token = site.data().join("cordonctl.token");
    let ask = |fingerprint: &str| {
        program(
            "cordonctl",
            &["hosts", "--server", &at, "--ca-fingerprint", fingerprint],
        )
        .arg("--token-file")
        .arg(&token)
        .output()
        .unwrap()
    };
    let own = site.said["ca_fingerprint"].as_str().unwrap().to_owned();
    let out = ask(&own);
    assert_eq!(out.status.code(), Some(3), "nobody serves yet");
    assert!(stderr(&out).contains(&at), "{}", stderr(&out));
    site.serve();
    assert!(ask(&own).status.success());
    let out = ask(other.said["ca_fingerprint"].as_str().unwrap());
    assert_eq!(out.status.code(), Some(3));
    assert!(stderr(&out).contains("UnknownIssuer"), "{}", stderr(&out));
    assert_eq!(ask("abc").status.code(), Some(2));
}

#[test]
fn a_wrong_token_is_refused() {
    let site = Site::serving();
    fs::write(site.data().join("cordonctl.token"), "cordon_0123").unwrap();
    let (code, words) = site.ctl_fails(&["hosts"]);
    assert_eq!(code, 4);
    assert!(words.contains("401"), "{words}");
}

#[test]
fn the_audit_trail_names_who_did_what_and_shows_tampering() {
    let mut site = Site::serving();
    site.ctl(&["user", "create", "ada", "--role", "viewer"]);
    site.ctl(&["token", "create", "--group", "servers", "--uses", "1"]);
    let trail = site.ctl(&["audit", "show"]);
    let acts: Vec<&str> = trail
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["what"].as_str().unwrap())
        .collect();
    assert_eq!(
        acts,
        [
            "audit.read",
            "token.create",
            "account.create",
            "site.create"
        ]
    );
    assert_eq!(trail[2]["who"], "token:local");

    // Beside a running controller, and of a closed database.
    assert_eq!(site.ctl(&["audit", "verify"])["holds"], true);
    site.terminate();
    assert_eq!(site.ctl(&["audit", "verify"])["entries"], 4);

    let path = site.data().join("cordon.db");
    let mut bytes = fs::read(&path).unwrap();
    let words = b"ada as viewer";
    let at = bytes
        .windows(words.len())
        .position(|window| window == words)
        .unwrap();
    bytes[at..at + 3].copy_from_slice(b"eve");
    fs::write(&path, bytes).unwrap();
    let (code, words) = site.ctl_fails(&["audit", "verify"]);
    assert_eq!(code, 7);
    assert!(words.contains("entry 2"), "{words}");
}

#[test]
fn people_get_text_and_scripts_get_json() {
    let site = Site::serving();
    let out = program("cordonctl", &["user", "list", "--data"])
        .arg(site.data())
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.starts_with("ACCOUNT"), "{text}");
    assert_eq!(site.ctl(&["user", "list"])[0]["username"], "admin");
}
