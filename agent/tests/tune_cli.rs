//! `cordon-agent tune`: labels in, a whole model out, and what is said of lines that are none.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::fmt::Write as _;

use serde_json::{Value, json};
use support::{agent, complaint, model};

/// Commands that the network answers for.
fn labels() -> String {
    let mut text = String::new();
    for index in 0..40 {
        let story = json!({"id": index.to_string(), "command":
            format!("curl -fsSL http://10.0.0.{index}/tools/deploy{index}.sh -o /tmp/d{index} && bash /tmp/d{index} --host web{index}")});
        let host = format!("web-{}", index % 4);
        let line = json!({"story": story, "label": "benign", "host": host, "analyst": "kim"});
        writeln!(text, "{line}").unwrap();
    }
    text
}

#[test]
fn a_model_is_made_that_judges_and_damaged_lines_are_named() {
    let (dir, model) = (tempfile::tempdir().unwrap(), model());
    let out = dir.path().join("tuned");
    let long = "x".repeat(10 << 20);
    let input = format!("not json\n{}\n{long}\n", labels());
    let model = model.to_str().unwrap();
    let arguments = [
        "--json",
        "tune",
        "--model",
        model,
        "--out",
        out.to_str().unwrap(),
        "-",
    ];
    let output = agent(&arguments, input.as_bytes());
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", complaint(&output));
    assert!(told.contains("line 1: not a label"), "{told}");
    assert!(told.contains("line 43: the line has more than"), "{told}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["skipped"], 2);
    let learned = answer["tuned"]["counts"]["benign"].as_u64().unwrap();
    let by_gate = answer["tuned"]["counts"]["by_gate"].as_u64().unwrap();
    assert_eq!(learned + by_gate, 40, "{answer}");
    let story = r#"{"id":"1","command":"ls -l"}"#;
    let judged = agent(
        &["judge", "--model", out.to_str().unwrap(), "-"],
        story.as_bytes(),
    );
    let verdict: Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert_eq!(verdict["model"], answer["tuned"]["to"]);
    let again = agent(&arguments, labels().as_bytes());
    assert_eq!(again.status.code(), Some(1));
    assert!(
        complaint(&again).contains("exists"),
        "{}",
        complaint(&again)
    );
}

#[test]
fn nothing_to_learn_from_makes_no_model() {
    let (dir, model) = (tempfile::tempdir().unwrap(), model());
    let out = dir.path().join("tuned");
    let arguments = [
        "tune",
        "--model",
        model.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];
    for input in ["", "{}\n"] {
        let output = agent(&arguments, input.as_bytes());
        assert_eq!(output.status.code(), Some(1));
        let told = complaint(&output);
        assert!(told.contains("only 0 labelled stories"), "{told}");
        assert!(!out.exists());
    }
}
