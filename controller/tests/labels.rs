//! What people say of incidents, and the labels that a model is tuned with.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod reported;
mod site;

use std::fs;
use std::path::{Path, PathBuf};

use cordon_behavior::story::Story;
use cordon_model::tune::{LabelledStory, Word};
use reported::{Reported, detections};
use serde_json::{Value, json};
use site::{Site, problem, program, stderr};

const HOSTILE: &str =
    "' OR 1=1; --\u{1b}[2J\u{202e}<img src=x onerror=alert(1)>\ncordonctl isolate all";

fn deploy(index: usize) -> Value {
    json!({"id": index.to_string(), "command": format!(
        "curl -fsSL http://10.0.0.{index}/deploy{index}.sh -o /tmp/d && bash /tmp/d --host web{index}"
    )})
}

/// A site that serves, with so many incidents of one detection each; the numbers and incidents, newest first.
async fn with_incidents(count: usize) -> (Site, Vec<(i64, String)>) {
    let mut site = Site::init();
    let mut reported = Reported::open(&site).await;
    let host = reported.host("web\u{1b}[2J").await;
    for index in 0..count {
        let tree = format!("a:{index}:1");
        reported
            .detection(host, &tree, &deploy(index), &json!({}))
            .await;
    }
    reported.close().await;
    site.serve();
    let found = detections(&site);
    assert_eq!(found.len(), count);
    (site, found)
}

fn say(site: &Site, incident: &str, label: &str, reason: &str) -> Value {
    site.ctl(&["incidents", "verdict", incident, label, "--reason", reason])
}

fn text_of(site: &Site, arguments: &[&str]) -> String {
    let mut command = program("cordonctl", arguments);
    let out = command.arg("--data").arg(site.data()).output().unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
    String::from_utf8(out.stdout).unwrap()
}

#[tokio::test]
async fn a_verdict_is_kept_shown_audited_and_changes_nothing_else() {
    let (site, found) = with_incidents(1).await;
    let (key, id) = &found[0];
    let before = site.ctl(&["incidents", id]);
    assert_eq!(before["analyst_verdict"], Value::Null);
    let said = say(&site, id, "--malicious", HOSTILE);
    assert_eq!(said["label"], "malicious");
    assert_eq!(said["analyst"], "token:local");
    say(&site, id, "--benign", "it was the roll-out");

    let mut after = site.ctl(&["incidents", id]);
    assert_eq!(after["analyst_verdict"]["label"], "benign");
    assert_eq!(after["detections"][0]["key"], *key);
    assert_eq!(after["detections"][0]["analyst_verdict"]["label"], "benign");
    let kept: Vec<&str> = after["analyst_verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["reason"].as_str().unwrap())
        .collect();
    assert_eq!(kept, ["it was the roll-out", HOSTILE]);
    for part in ["analyst_verdict", "analyst_verdicts"] {
        after[part] = before[part].clone();
    }
    after["detections"][0]["analyst_verdict"] = Value::Null;
    assert_eq!(
        after, before,
        "neither status nor severity nor anything else"
    );

    let text = text_of(&site, &["incidents", id]);
    assert!(text.contains("What people say of it"), "{text}");
    assert!(
        text.contains("malicious, by token:local: ' OR 1=1"),
        "{text}"
    );
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    assert!(!text.contains("\ncordonctl isolate"), "{text}");

    let trail = site.ctl(&["audit", "show"]);
    let entries: Vec<&Value> = trail
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["what"] == "incident.verdict")
        .collect();
    assert_eq!(entries.len(), 2, "{trail}");
    let target = entries[0]["target"].as_str().unwrap();
    assert_eq!(target, format!("{id}: benign: it was the roll-out"));
    assert_eq!(entries[0]["who"], "token:local");
    assert_eq!(site.ctl(&["audit", "verify"])["holds"], true);
}

#[tokio::test]
async fn a_verdict_needs_one_label_a_reason_and_something_that_is_there() {
    const NOWHERE: &str = "00000000-0000-7000-8000-000000000000";
    let (site, found) = with_incidents(2).await;
    let id = found[0].1.as_str();
    let refused = |arguments: &[&str]| {
        let all = [&["incidents", "verdict"][..], arguments].concat();
        site.ctl_fails(&all)
    };
    for senseless in [
        &[id, "--reason", "x"][..],
        &[id, "--malicious", "--benign", "--reason", "x"],
        &[id, "--benign"],
        &["--benign", "--reason", "x"],
        &[id, "--benign", "--reason", "x", "--detection", "one"],
    ] {
        assert_eq!(refused(senseless).0, 2, "{senseless:?}");
    }
    let long = "x".repeat(1_001);
    for reason in ["", " \n", long.as_str()] {
        let (code, words) = refused(&[id, "--benign", "--reason", reason]);
        assert_eq!(code, 4);
        assert!(words.contains("say why"), "{words}");
    }
    for nothing in [NOWHERE, "../users", "x"] {
        let (code, words) = refused(&[nothing, "--benign", "--reason", "x"]);
        assert_eq!(code, 4);
        assert!(words.contains("404"), "{words}");
    }
    let other = found[1].0.to_string();
    let of_another = [id, "--benign", "--reason", "x", "--detection", &other];
    let (code, words) = refused(&of_another);
    assert_eq!(code, 4);
    assert!(words.contains("detection of this incident"), "{words}");
    let export = site.ctl(&["labels", "export"]);
    assert_eq!(export["labels"], json!([]));

    let responder = site.browser_as("responder").await;
    let path = format!("/incidents/{id}/verdict");
    for body in [
        json!({"label": "harmless", "reason": "x"}),
        json!({"label": "benign", "reason": "x", "analyst": "somebody else"}),
        json!({"reason": "x"}),
    ] {
        let (status, _) = problem(responder.post(&path, &body).await).await;
        assert_eq!(status, 422, "{body}");
    }
    let body = json!({"label": "benign", "reason": "x", "through": 0});
    let answer = responder.post(&path, &body).await;
    assert_eq!(answer.status(), 201);
    let said: Value = answer.json().await.unwrap();
    assert!(said["analyst"].as_str().unwrap().starts_with("responder-"));
    let export = site.ctl(&["labels", "export"]);
    assert_eq!(
        export["labels"],
        json!([]),
        "nothing was shown, so nothing is meant"
    );
}

/// The committed model.
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/model/artifact")
}

#[tokio::test]
async fn what_is_exported_a_model_is_tuned_with() {
    let (site, found) = with_incidents(13).await;
    let skipped = &found[12].1;
    for (_, id) in &found[..12] {
        say(&site, id, "--benign", "a roll-out");
    }
    let (labels, out) = (site.data().join("labels.jsonl"), site.data().join("tuned"));
    let export = site.ctl(&["labels", "export", "--out", labels.to_str().unwrap()]);
    assert_eq!(
        (&export["benign"], &export["malicious"]),
        (&json!(12), &json!(0))
    );
    assert_eq!(
        (&export["hosts"], &export["left_out"]),
        (&json!(1), &json!([]))
    );
    let written = fs::read(&labels).unwrap();
    let host = site.ctl(&["hosts"])[0]["id"].as_str().unwrap().to_owned();
    let lines = written.trim_ascii_end().split(|byte| *byte == b'\n');
    let read: Vec<LabelledStory> = lines
        .map(|line| LabelledStory::from_json(line).unwrap())
        .collect();
    // The story that was judged, whole; newest first.
    for (index, line) in read.iter().rev().enumerate() {
        let story: Story = serde_json::from_value(deploy(index + 1)).unwrap();
        assert_eq!(line.story, story);
        assert_eq!(
            (line.label, line.host.as_str()),
            (Word::Benign, host.as_str())
        );
        assert_eq!(line.analyst, "token:local");
    }
    assert!(site.ctl(&["incidents", skipped])["analyst_verdict"].is_null());

    let tune = |labels: &Path| {
        let mut command = program("cordonctl", &["--json", "model", "tune", "--site", "lab"]);
        let key = site.data().join("keys/policy.key");
        command.arg("--key").arg(key).arg("--model").arg(model());
        command.arg("--out").arg(&out).arg(labels).output().unwrap()
    };
    let tuned = tune(&labels);
    assert!(tuned.status.success(), "{}", stderr(&tuned));
    let told: Value = serde_json::from_slice(&tuned.stdout).unwrap();
    assert_eq!(told["skipped"], json!([]));
    assert_eq!(told["tuned"]["counts"]["lines"], 12);
    assert_eq!(told["tuned"]["counts"]["benign"], 12);

    // A file that is there is kept as it is.
    let (code, words) = site.ctl_fails(&["labels", "export", "--out", labels.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(
        words.contains("cannot write") && words.contains("labels.jsonl"),
        "{words}"
    );
    assert_eq!(fs::read(&labels).unwrap(), written);
}

#[tokio::test]
async fn only_what_was_said_since_is_exported_and_what_no_model_would_read_is_named() {
    let mut site = Site::init();
    let mut reported = Reported::open(&site).await;
    let host = reported.host("web").await;
    let huge = json!({"id": "1", "command": "x".repeat(5 << 20)});
    reported.detection(host, "a:1:1", &huge, &json!({})).await;
    let cut = json!({"id": "2", "process": {"exe": "/usr/bin/env", "argv": ["env"], "argv_truncated": true}});
    reported.detection(host, "b:2:2", &cut, &json!({})).await;
    reported.close().await;
    site.serve();
    for (_, id) in &detections(&site) {
        say(&site, id, "--malicious", "seen");
    }
    let ahead = site.ctl(&["labels", "export", "--since", "2999-01-01"]);
    assert_eq!(ahead, json!({"labels": [], "left_out": []}));
    assert_eq!(
        site.ctl_fails(&["labels", "export", "--since", "lately"]).0,
        2
    );
    let all = site.ctl(&["labels", "export", "--since", "1h"]);
    assert_eq!(all["labels"].as_array().unwrap().len(), 1);
    assert_eq!(all["labels"][0]["story"]["process"]["argv_truncated"], true);
    let why = all["left_out"][0].as_str().unwrap();
    assert!(why.contains("detection 1: the line has more than"), "{why}");
    let file = site.data().join("l.jsonl");
    let text = text_of(
        &site,
        &["labels", "export", "--out", file.to_str().unwrap()],
    );
    assert!(
        text.contains("1 malicious and 0 benign stories of 1 hosts"),
        "{text}"
    );
    assert!(text.contains("1 of them lack arguments"), "{text}");
    assert!(text.contains("left out: detection 1"), "{text}");
    let lines = text_of(&site, &["labels", "export"]);
    LabelledStory::from_json(lines.trim_end().as_bytes()).unwrap();
}
