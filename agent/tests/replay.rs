//! `cordon-agent replay`: logs as stories and verdicts, and what is said of damage.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{AGENT, agent, complaint, model};

const AUDIT: &str = include_str!("../history/tests/logs/audit-raw.txt");
const STORY: &str = r#"{"id":"a1","process":{"exe":"/usr/bin/ls","argv":["ls"],"uid":0}}"#;

fn replay(arguments: &[&str], stdin: &[u8]) -> Output {
    agent(&[&["replay"], arguments].concat(), stdin)
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let line = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(line).collect()
}

fn compressed(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 1).unwrap()
}

#[test]
fn an_audit_log_becomes_stories() {
    let output = replay(&[], AUDIT.as_bytes());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        complaint(&output),
        "audit: 150 lines, 20 stories, 0 bad lines, 0 events lost"
    );
    let stories = lines(&output);
    let python = serde_json::json!(["/usr/bin/python3", "-"]);
    let is_python = |story: &&Value| story["process"]["argv"] == python;
    let told = stories.iter().find(is_python).unwrap();
    assert_eq!(told["ancestors"][0]["exe"], "/usr/bin/bash");
    // Its script did much at once, which is told when that is over.
    let script = stories.last().unwrap();
    assert_eq!(script["process"]["argv"][1], "/srv/work.sh");
    assert_eq!(script["connections"].as_array().unwrap().len(), 3);
}

#[test]
fn verdicts_are_of_the_stories_that_would_be_printed() {
    let model = model();
    let judge = ["--judge", "--model", model.to_str().unwrap()];
    let (told, judged) = (
        replay(&[], AUDIT.as_bytes()),
        replay(&judge, AUDIT.as_bytes()),
    );
    assert_eq!(judged.status.code(), Some(0), "{}", complaint(&judged));
    assert!(complaint(&judged).contains("20 stories, 0 malicious"));
    let ids = |output: &Output| -> Vec<String> {
        lines(output)
            .iter()
            .map(|line| line["id"].to_string())
            .collect()
    };
    assert_eq!(ids(&told), ids(&judged));
    assert!(lines(&told).iter().all(|line| line["tree"].is_string()));
    let piped = agent(&["judge", "--model", model.to_str().unwrap()], &told.stdout);
    let scores = |output: &Output| -> Vec<Value> {
        lines(output)
            .iter()
            .map(|line| line["score"].clone())
            .collect()
    };
    assert_eq!(scores(&judged), scores(&piped));
}

#[test]
fn compressed_files_are_read_whatever_they_are_called_and_frame_after_frame() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.txt");
    let mut bytes = compressed(&AUDIT[..AUDIT.len() / 2]);
    bytes.extend(compressed(&AUDIT[AUDIT.len() / 2..]));
    std::fs::write(&path, &bytes).unwrap();
    let output = replay(&[path.to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    assert_eq!(output.stdout, replay(&[], AUDIT.as_bytes()).stdout);
}

#[test]
fn a_compressed_file_that_is_cut_off_tells_what_it_has() {
    let mut bytes = compressed(&format!("{STORY}\n{STORY}\n"));
    let second = compressed(&format!("{STORY}\n"));
    bytes.extend(&second[..second.len() - 3]);
    let output = replay(&["--json"], &bytes);
    assert_eq!(output.status.code(), Some(3));
    let said = lines(&output);
    assert_eq!(
        (&said[0]["id"], &said[1]["id"]),
        (&"a1".into(), &"a1".into())
    );
    let damage = said.iter().find(|line| line["error"].is_string()).unwrap();
    assert!(
        damage["error"]
            .as_str()
            .unwrap()
            .contains("damaged or cut off here"),
        "{damage}"
    );
    assert_eq!(said.last().unwrap()["summary"]["bad_lines"], 1);
}

#[test]
fn a_damaged_line_is_named_and_the_rest_goes_on() {
    let mut log: Vec<String> = AUDIT.lines().map(str::to_owned).collect();
    log[2] = "type=CWD msg=audit(".to_owned();
    log[20] = "\u{1b}[31mgarbage".to_owned();
    let log = log.join("\n");
    let output = replay(&[], log.as_bytes());
    assert_eq!(output.status.code(), Some(3));
    let said = complaint(&output);
    assert!(
        said.starts_with("line 3: audit(TIME:SERIAL) is missing\nline 21: type= is missing\n"),
        "{said}"
    );
    assert!(said.ends_with("2 bad lines, 0 events lost"), "{said}");
    assert_eq!(lines(&output).len(), 20);

    let said = lines(&replay(&["--json"], log.as_bytes()));
    let bad: Vec<&Value> = said
        .iter()
        .filter(|line| line["error"].is_string())
        .collect();
    assert_eq!((&bad[0]["line"], &bad[1]["line"]), (&3.into(), &21.into()));
    assert_eq!(said.last().unwrap()["summary"]["stories"], 20);
}

#[test]
fn an_over_long_line_is_not_kept() {
    let long = "x".repeat(cordon_agent::cli::MAX_LINE_BYTES + 1);
    let output = replay(&["--json"], format!("{STORY}\n{long}\n{STORY}").as_bytes());
    assert_eq!(output.status.code(), Some(3));
    let said = lines(&output);
    assert_eq!(said[1]["error"], "the line has more than 4194304 bytes");
    assert_eq!(
        (&said[1]["line"], &said[2]["id"]),
        (&2.into(), &"a1".into())
    );
}

#[test]
fn what_the_recording_lost_is_told() {
    let loss = r#"{"wall_ns":1,"loss":{"source":"ring/exec","count":7}}"#;
    let output = replay(&[], format!("{STORY}\n{loss}\n").as_bytes());
    assert_eq!(output.status.code(), Some(0));
    let said = complaint(&output);
    assert!(
        said.contains("missing in the recording: 7 of ring/exec"),
        "{said}"
    );
    assert!(said.ends_with("7 events lost"), "{said}");
}

#[test]
fn endless_garbage_is_no_format_and_is_not_read_to_its_end() {
    let output = replay(&[], "garbage\n".repeat(100_000).as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let said = complaint(&output);
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("error: cannot tell the format of -: give --format"),
        "{last}"
    );
    assert!(said.lines().count() < 30, "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn nothing_is_nothing() {
    let output = replay(&[], b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_arguments_are_named() {
    for (arguments, code, said) in [
        (&["/nonexistent"][..], 1, "error: cannot read /nonexistent"),
        (&["/etc"], 1, "error: cannot read /etc: it is a folder"),
        (
            &["--format", "evtx"],
            2,
            "there are stories, events, audit, laurel, sysmon, ocsf",
        ),
        (&["--model", "/x"], 2, "--judge"),
    ] {
        let output = replay(arguments, b"");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(complaint(&output).contains(said), "{}", complaint(&output));
    }
}

/// One event after the other, as `auditd` writes them, from a host whose pids go round and round.
fn generate(into: &mut impl Write, bytes: u64) -> u64 {
    let (mut written, mut serial) = (0, 0_u64);
    while written < bytes {
        serial += 1;
        let pid = 300 + serial * 7 % 4_000_000;
        let at = format!(
            "msg=audit({}.{:03}:{serial}):",
            1_795_000_000 + serial / 500,
            serial % 500 * 2
        );
        let event = format!(
            "type=SYSCALL {at} arch=c000003e syscall=59 success=yes exit=0 a0=55fcdbce3580 a1=55fcdbce5310 a2=55fcdbce07b0 a3=dbbc items=2 ppid={} pid={pid} auid=1000 uid=1000 gid=1000 euid=1000 suid=1000 fsuid=1000 egid=1000 sgid=1000 fsgid=1000 tty=(none) ses=3 comm=\"work\" exe=\"/usr/bin/work{}\" key=(null)\n\
             type=EXECVE {at} argc=3 a0=\"work\" a1=\"--number={serial}\" a2=612066696C65\n\
             type=CWD {at} cwd=\"/srv/work/{serial}\"\n\
             type=PATH {at} item=0 name=\"/usr/bin/work\" inode=247042 dev=fe:00 mode=0100755 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0\n\
             type=PROCTITLE {at} proctitle=776F726B002D2D6E756D626572\n",
            300 + serial * 7 / 3 % 4_000_000,
            serial % 100,
        );
        into.write_all(event.as_bytes()).unwrap();
        written += event.len() as u64;
    }
    serial
}

/// The most memory that a process ever had, MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// However much goes through: CORDON_REPLAY_MB (default 48) sets how much that is here.
#[test]
fn a_long_log_streams_in_bounded_memory() {
    let megabytes = std::env::var("CORDON_REPLAY_MB").map_or(48, |text| text.parse().unwrap());
    let mut child = Command::new(AGENT)
        .args(["replay", "--format", "audit"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = std::time::Instant::now();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let counter = std::thread::spawn(move || stdout.lines().count() as u64);
    let mut stdin = child.stdin.take().unwrap();
    let events = generate(&mut stdin, megabytes << 20);
    let peak = peak_mib(child.id());
    drop(stdin);
    let stories = counter.join().unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    let seconds = began.elapsed().as_secs_f64();
    eprintln!(
        "{megabytes} MB, {:.1} MB/s, {peak} MiB at most, {said}",
        megabytes as f64 / seconds
    );
    assert_eq!(stories, events, "{said}");
    assert!(peak <= 120, "{peak} MiB");
}
