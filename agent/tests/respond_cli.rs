//! `cordon-agent respond --explain`: what would be done, under which policy, and why.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::path::Path;

use cordon_agent::identity::Identity;
use cordon_agent::policy_store::{Offer, PolicyStore};
use cordon_proto::envelope::sign;
use cordon_proto::policy::Policy;
use serde_json::{Value, json};
use support::{Ca, agent, complaint, key, model};
use tempfile::TempDir;

const SHELL: &str = r#"{"id":"a1","process":{"exe":"/usr/bin/bash","argv":["bash","-i"],"cwd":"/tmp","uid":33,"euid":33,"tty":false,"stdin":"socket","stdout":"socket","stderr":"socket","deleted_exe":false,"memfd":false},"ancestors":[{"exe":"/usr/sbin/nginx","argv":["nginx: worker process"],"uid":33}],"connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":4444}]}"#;
const LISTING: &str = r#"{"id":"b2","process":{"exe":"/usr/bin/ls","argv":["ls","-l"],"cwd":"/root","uid":0,"euid":0,"tty":true,"stdin":"tty","stdout":"tty","stderr":"tty"}}"#;

struct Host {
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().display();
        let settings = format!(
            "state_dir = '{base}/state'\nrun_dir = '{base}/run'\n[model]\ndir = '{}'\n",
            model().display()
        );
        std::fs::write(dir.path().join("agent.toml"), settings).unwrap();
        Self { dir }
    }

    fn enrolled(change: impl Fn(&mut Value)) -> Self {
        let host = Self::new();
        let state = host.dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let identity = Ca::new().identity("controller:7443", key(1).verifying_key());
        identity.save(&state).unwrap();
        let mut policy = json!({
            "version": 7, "site": "test", "group": "servers",
            "issued_at": "2026-01-01T00:00:00Z", "expires_at": "2099-01-01T00:00:00Z",
            "mode": "autonomous",
            "isolation": {"lease_seconds": 60, "without_proof": "stay_shut", "allow": []},
            "caps": {"isolations_per_hour": 1}, "protected_processes": ["/usr/sbin/sshd"], "order_keys": [],
        });
        change(&mut policy);
        put_in_force(&state, &identity, policy);
        host
    }

    fn explain(&self, stories: &str) -> (Vec<Value>, Option<i32>) {
        self.explain_with("both", stories)
    }

    fn explain_with(&self, judge: &str, stories: &str) -> (Vec<Value>, Option<i32>) {
        let output = self.run(stories, &["--json", "--with", judge]);
        let text = String::from_utf8(output.0).unwrap();
        let lines = text.lines();
        let answers = lines.map(|line| serde_json::from_str(line).unwrap());
        (answers.collect(), output.1)
    }

    fn run(&self, stories: &str, more: &[&str]) -> (Vec<u8>, Option<i32>) {
        let config = self.dir.path().join("agent.toml");
        let command = [
            "respond",
            "--explain",
            "-",
            "--config",
            config.to_str().unwrap(),
        ];
        let output = agent(&[&command, more].concat(), stories.as_bytes());
        assert!(output.stderr.is_empty(), "{}", complaint(&output));
        (output.stdout, output.status.code())
    }
}

fn put_in_force(state: &Path, identity: &Identity, policy: Value) {
    let policy: Policy = serde_json::from_value(policy).unwrap();
    let offer = PolicyStore::load(state, identity).offer(&sign(&policy, &key(1)).to_json());
    assert!(matches!(offer, Offer::Taken(7)), "{offer:?}");
}

#[test]
fn each_story_gets_what_would_be_done_and_why() {
    let host = Host::enrolled(|policy| policy["stop"] = "kill".into());
    let (answers, code) = host.explain(&format!("{SHELL}\nnot a story\n{LISTING}\n"));
    assert_eq!((answers.len(), code), (3, Some(3)));
    let shell = &answers[0];
    assert_eq!(shell["id"], "a1");
    assert_eq!(shell["verdict"]["verdict"], "malicious", "{shell}");
    assert_eq!(shell["decision"]["action"], "isolate");
    assert_eq!(shell["decision"]["stop"], "kill");
    assert_eq!(
        shell["decision"]["reason"],
        "malicious; mode autonomous, within the caps; it and what descends from it are killed (policy version 7)"
    );
    assert_eq!(
        shell["steps"],
        json!([
            "kill the process and everything that descends from it, but no protected executable",
            "isolate the host for 60 s, unless it is released before, and report it"
        ])
    );
    assert_eq!(
        (&answers[1]["line"], shell["policy_version"].as_u64()),
        (&2.into(), Some(7))
    );
    assert_eq!(answers[2]["decision"]["action"], "record");
    assert_eq!(answers[2]["steps"], json!(["tell nobody"]));
}

#[test]
fn what_would_be_proposed_is_said_and_what_happens_without_an_answer() {
    let host = Host::enrolled(|policy| {
        policy["mode"] = "approve".into();
        policy["stop"] = "kill".into();
        policy["block_remote"] = json!({"seconds": 900});
    });
    let (answers, _) = host.explain(SHELL);
    let decision = &answers[0]["decision"];
    assert_eq!(decision["action"], "await_approval", "{decision}");
    assert_eq!(decision["stop"], "none");
    let proposed =
        json!({"isolate": true, "stop": "kill", "cut_off": false, "block": {"seconds": 900}});
    assert_eq!(decision["propose"], proposed);
    assert_eq!(
        answers[0]["steps"],
        json!([
            "report it, and propose to isolate the host, kill the process tree, block its remote ends for 900 s; \
                without an answer in 3600 s nothing is done, or nothing is done when the controller is out of reach"
        ])
    );
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let quiet = json!([{"days": days, "from": "00:00", "to": "24:00", "zone": "Asia/Shanghai"}]);
    let host = Host::enrolled(|policy| {
        policy["stop"] = "kill".into();
        policy["caps"]["quiet_hours"] = quiet.clone();
    });
    let (answers, _) = host.explain(SHELL);
    let decision = &answers[0]["decision"];
    assert_eq!(decision["action"], "recommend_isolate", "{decision}");
    assert_eq!(decision["stop"], "kill");
    let reason = decision["reason"].as_str().unwrap();
    assert!(reason.contains("in quiet hours (mon,tue"), "{reason}");
}

#[test]
fn when_the_controller_would_be_asked_for_a_place_is_said() {
    let with = |change: &dyn Fn(&mut Value)| {
        let host = Host::enrolled(|policy| {
            policy["caps"]["hosts_at_once"] = 3.into();
            policy["block_remote"] = json!({"seconds": 900});
            change(policy);
        });
        let (answers, _) = host.explain(SHELL);
        answers[0].clone()
    };
    let shell = with(&|_| {});
    assert_eq!(shell["decision"]["action"], "isolate", "{shell}");
    assert_eq!(shell["decision"]["asks_for_place"], 3);
    assert_eq!(
        shell["steps"],
        json!([
            "block 203.0.113.9 for 900 s, unless unblocked before",
            "ask the controller for one of the 3 places that the group has for isolated hosts (caps.hosts_at_once); \
                if others have them all, recommend to isolate the host instead; \
                without an answer in 300 ms, or without a session, go on",
            "isolate the host for 60 s, unless it is released before, and report it"
        ])
    );
    let observing = with(&|policy| policy["mode"] = "observe".into());
    assert_eq!(observing["decision"].get("asks_for_place"), None);
}

#[test]
fn who_would_be_cut_off_is_said() {
    let host = Host::enrolled(|policy| {
        policy["stop"] = "freeze".into();
        policy["cut_off"] = true.into();
    });
    let (answers, _) = host.explain(SHELL);
    let steps = answers[0]["steps"].as_array().unwrap();
    assert_eq!(
        steps[0],
        "cut off the network the process and everything that descends from it, but no protected executable, until `cordon-agent rejoin`"
    );
    assert_eq!(steps.len(), 3);
}

#[test]
fn whom_a_block_would_hit_is_said_and_whom_it_spares() {
    let step = |change: &dyn Fn(&mut Value)| {
        let host = Host::enrolled(|policy| {
            policy["block_remote"] = json!({"seconds": 900});
            change(policy);
        });
        let (answers, _) = host.explain(SHELL);
        let steps = answers[0]["steps"].as_array().unwrap().clone();
        assert_eq!(answers[0]["decision"]["block"]["seconds"], 900);
        assert_eq!(steps.len(), 2);
        steps[0].as_str().unwrap().to_owned()
    };
    assert_eq!(
        step(&|_| {}),
        "block 203.0.113.9 for 900 s, unless unblocked before"
    );
    let allowed = |policy: &mut Value| {
        policy["isolation"]["allow"] =
            json!([{"address": "203.0.113.9", "transport": "tcp", "port": 22}]);
    };
    assert_eq!(
        step(&allowed),
        "block nobody: no remote end is known that may be blocked; but not 203.0.113.9 (on the policy's list of what stays reachable)"
    );
    let protected = |policy: &mut Value| {
        policy["protected_addresses"] = json!(["192.0.2.80", "203.0.113.0/24"]);
    };
    assert_eq!(
        step(&protected),
        "block nobody: no remote end is known that may be blocked; but not 203.0.113.9 (in 203.0.113.0/24, on the policy's list of protected addresses)"
    );
}

#[test]
fn people_read_it_as_text_and_nothing_is_done_by_it() {
    let host = Host::enrolled(|policy| {
        policy["stop"] = "freeze".into();
        policy["caps"]["isolations_per_hour"] = 0.into();
    });
    let (text, code) = host.run(SHELL, &[]);
    let text = String::from_utf8(text).unwrap();
    assert_eq!(code, Some(0));
    assert!(text.starts_with("a1: malicious, score "), "{text}");
    assert!(
        text.contains("\n  would 1. freeze the process and everything"),
        "{text}"
    );
    assert!(
        text.contains("\n  would 2. report it, and recommend"),
        "{text}"
    );
    assert!(
        text.contains("\n  because: malicious, but 0 isolations"),
        "{text}"
    );
    let state = host.dir.path().join("state");
    for made in ["isolation.json", "isolations.json", "frozen.json", "spool"] {
        assert!(!state.join(made).exists(), "{made}");
    }
    assert!(!host.dir.path().join("run").exists());
}

#[test]
fn the_policys_thresholds_count_and_a_host_without_a_policy_only_tells() {
    let host = Host::enrolled(|policy| {
        policy["stop"] = "kill".into();
        policy["thresholds"] = json!({"suspicious": 1.0, "malicious": 1.0});
    });
    // A rule that is certain has a score of 1; the model never has.
    let (answers, _) = host.explain_with("model", SHELL);
    assert_eq!(answers[0]["decision"]["stop"], "none", "{}", answers[0]);
    let (answers, code) = Host::new().explain(SHELL);
    assert_eq!(code, Some(0));
    let decision = &answers[0]["decision"];
    assert_eq!(
        (&decision["action"], &decision["stop"]),
        (&"alert".into(), &"none".into())
    );
    let reason = decision["reason"].as_str().unwrap();
    assert!(reason.contains("no policy is in force"), "{reason}");
    assert_eq!(answers[0]["policy_version"], 0);
}
