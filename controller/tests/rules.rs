//! Rules and indicators, checked and tried on what hosts reported.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod reported;
mod site;

use reported::{Reported, detections};
use serde_json::{Value, json};
use site::{Site, program, stderr};

const RULES: &str = "\
title: Copies away
id: own-1
level: critical
logsource: {product: linux, category: process_creation}
detection:
  s: {Image|endswith: /rclone}
  condition: s
---
title: Asks for names
id: own-2
level: low
logsource: {category: dns_query}
detection:
  s: {QueryName|endswith: .example}
  condition: s
---
title: Never there
id: own-3
logsource: {category: process_creation}
detection:
  s: {Image: /nowhere}
  condition: s
";
const BAD: &str = "\
title: Counts
id: bad-1
logsource: {category: process_creation}
detection:
  s: {Image: /x}
  condition: s | count() > 3
---
title: Broken
id: bad-2
logsource: {category: process_creation}
detection:
  condition: none_such
";

fn story(target: &str) -> Value {
    json!({"id": "1",
        "process": {"exe": "/usr/bin/rclone", "argv": ["rclone", target]},
        "connections": [{"direction": "out", "protocol": "tcp", "address": "203.0.113.9", "port": 443}],
        "dns": ["files.evil.example"]})
}

/// Three stories of two hosts, the oldest called malicious.
async fn fleet() -> Site {
    let mut site = Site::init();
    let mut reported = Reported::open(&site).await;
    let (one, two) = (
        reported.host("web\u{1b}[2J").await,
        reported.host("db").await,
    );
    reported
        .detection(
            one,
            "a:1:1",
            &story("a"),
            &json!({"exe_sha256": "ab".repeat(32)}),
        )
        .await;
    reported
        .detection(two, "b:2:2", &story("b\u{202e}"), &json!({}))
        .await;
    let other = json!({"id": "3", "command": "ls -l"});
    reported.detection(two, "c:3:3", &other, &json!({})).await;
    reported.close().await;
    site.serve();
    let oldest = detections(&site).pop().unwrap().1;
    site.ctl(&[
        "incidents",
        "verdict",
        &oldest,
        "--malicious",
        "--reason",
        "looked at",
    ]);
    site
}

fn text_of(site: &Site, arguments: &[&str]) -> String {
    let mut command = program("cordonctl", arguments);
    let out = command.arg("--data").arg(site.data()).output().unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn files_are_checked_as_agents_read_them_without_a_controller() {
    let site = Site::init();
    let good = site.file("good.yml", RULES);
    let bad = site.file("bad.yml", BAD);
    let told = site.ctl(&["rules", "check", good.to_str().unwrap()]);
    assert_eq!((&told["rules"], &told["problems"]), (&json!(3), &json!([])));
    let out = site.try_ctl(&[
        "rules",
        "check",
        good.to_str().unwrap(),
        bad.to_str().unwrap(),
    ]);
    assert_eq!(out.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(told["rules"], 3);
    let kinds: Vec<&str> = told["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["unsupported", "broken"]);
    assert!(
        stderr(&out).contains("1 rules are broken"),
        "{}",
        stderr(&out)
    );

    let list = site.file(
        "list.txt",
        "203.0.113.9\n*.evil[.]example\n# nothing\nhttp://x.example/y\n10.0.0.0/4\n",
    );
    let out = site.try_ctl(&["ioc", "check", list.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(told["indicators"], 2);
    assert_eq!(told["problems"].as_array().unwrap().len(), 2);
    for missing in [
        ["rules", "check", "/nowhere.yml"],
        ["ioc", "check", "/nowhere.txt"],
    ] {
        let (code, words) = site.ctl_fails(&missing);
        assert_eq!(code, 1, "{words}");
    }
    assert_eq!(site.ctl_fails(&["rules", "check"]).0, 2);
}

#[tokio::test]
async fn rules_are_tried_on_what_hosts_reported() {
    let site = fleet().await;
    let rules = site.file("own.yml", RULES);
    let path = rules.to_str().unwrap();
    let told = site.ctl(&["rules", "try", path]);
    assert_eq!((&told["rules"], &told["quiet"]), (&json!(3), &json!(1)));
    assert_eq!(
        (&told["history"]["stories"], &told["history"]["cut"]),
        (&json!(3), &Value::Null)
    );
    let first = &told["matched"][0];
    assert_eq!(
        (&first["id"], &first["effect"]),
        (&json!("own-1"), &json!("malicious"))
    );
    assert_eq!((&first["stories"], &first["hosts"]), (&json!(2), &json!(2)));
    assert_eq!(
        (&first["malicious"], &first["benign"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(first["examples"].as_array().unwrap().len(), 2);
    let second = &told["matched"][1];
    assert_eq!(
        (&second["id"], &second["effect"]),
        (&json!("own-2"), &json!("noted"))
    );

    let one = site.ctl(&["rules", "try", path, "--most", "2"]);
    assert_eq!(one["history"]["stories"], 2);
    let why = one["history"]["cut"].as_str().unwrap();
    assert!(why.contains("--most"), "{why}");
    assert_eq!(one["matched"][0]["stories"], 1);
    let none = site.ctl(&["rules", "try", path, "--since", "2999-01-01"]);
    assert_eq!(
        (&none["history"]["stories"], &none["matched"]),
        (&json!(0), &json!([]))
    );
    let text = text_of(&site, &["rules", "try", path]);
    assert!(
        text.contains("tried on 3 stories that hosts reported"),
        "{text}"
    );
    assert!(
        text.contains("Copies away") && text.contains("1 rules would have matched nothing"),
        "{text}"
    );
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    let text = text_of(&site, &["rules", "try", path, "--since", "2999-01-01"]);
    assert!(text.contains("nothing was tried"), "{text}");
}

#[tokio::test]
async fn indicators_are_looked_up_in_what_hosts_reported() {
    let site = fleet().await;
    let list = format!(
        "203.0.113.0/24\n*.evil.example\n{}\nother.example\n",
        "ab".repeat(32)
    );
    let list = site.file("list.txt", list);
    let bundle = json!({"type": "bundle", "id": "bundle--1", "objects": [{
        "type": "indicator", "spec_version": "2.1", "id": "indicator--1", "pattern_type": "stix",
        "pattern": "[ipv4-addr:value = '203.0.113.9']", "valid_from": "2020-01-01T00:00:00Z",
        "valid_until": "2021-01-01T00:00:00Z",
    }]});
    let bundle = site.file("bundle.json", bundle.to_string());
    let told = site.ctl(&[
        "ioc",
        "try",
        list.to_str().unwrap(),
        bundle.to_str().unwrap(),
    ]);
    assert_eq!(
        (&told["indicators"], &told["problems"]),
        (&json!(5), &json!([]))
    );
    let matched = told["matched"].as_array().unwrap();
    let counts: Vec<(&str, u64)> = matched
        .iter()
        .map(|one| {
            (
                one["indicator"].as_str().unwrap(),
                one["stories"].as_u64().unwrap(),
            )
        })
        .collect();
    let hash = "ab".repeat(32);
    assert_eq!(
        counts,
        [
            ("*.evil.example", 2),
            ("203.0.113.0/24", 2),
            (hash.as_str(), 1)
        ]
    );
    assert_eq!(told["quiet"], 2, "one is over, one is nowhere");
    assert_eq!(matched[0]["examples"][0]["what"], "files.evil.example");
    let text = text_of(&site, &["ioc", "try", list.to_str().unwrap()]);
    assert!(
        text.contains("203.0.113.0/24") && text.contains("line 1"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
}
