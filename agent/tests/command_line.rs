//! What the commands say when something is missing.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{AGENT, agent, complaint};

const FINGERPRINT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const NOBODY: u32 = 65534;

fn config(dir: &Path) -> String {
    let path = dir.join("agent.toml");
    let base = dir.display();
    let settings = format!("state_dir = '{base}/state'\nrun_dir = '{base}/run'\n");
    std::fs::write(&path, settings).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_unknown_key_ends_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, "[sensor]\nmood = 1\n").unwrap();
    for command in ["run", "status", "doctor"] {
        let output = agent(&[command, "--config", path.to_str().unwrap()], b"");
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = complaint(&output);
        assert!(
            said.contains("agent.toml, line 2: unknown field `mood`"),
            "{said}"
        );
        assert!(said.contains("`scope`, `mode`, `ring_bytes`"), "{said}");
    }
}

#[test]
fn status_says_that_nothing_runs_and_what_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let output = agent(&["status", "--json", "--config", &config], b"");
    assert_eq!(output.status.code(), Some(5));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["running"], false);
    assert_eq!(said["enrolled"], false);
    assert_eq!(said["isolated"], false);
}

#[test]
fn a_host_that_is_not_enrolled_does_not_run_and_is_told_how() {
    let dir = tempfile::tempdir().unwrap();
    let output = agent(&["run", "--config", &config(dir.path())], b"");
    assert_eq!(output.status.code(), Some(1));
    let said = complaint(&output);
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("error: this host is not enrolled"),
        "{said}"
    );
    assert!(last.contains("cordon-agent enroll"), "{said}");
}

#[test]
fn isolate_needs_the_daemon_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let output = agent(
        &["isolate", "--reason", "x", "--config", &config(dir.path())],
        b"",
    );
    assert_eq!(output.status.code(), Some(1));
    let said = complaint(&output);
    assert!(
        said.starts_with("error: the agent is not running"),
        "{said}"
    );
}

#[test]
fn doctor_names_each_part_and_is_degraded_without_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let output = agent(&["doctor", "--json", "--config", &config(dir.path())], b"");
    assert_eq!(output.status.code(), Some(4), "{}", complaint(&output));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["ok"], false);
    let check = |name: &str| {
        let checks = said["checks"].as_array().unwrap();
        checks
            .iter()
            .find(|check| check["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(check("identity")["ok"], false);
    assert!(
        check("identity")["detail"]
            .as_str()
            .unwrap()
            .contains("cordon-agent enroll")
    );
    for class in ["exec", "connect", "dns"] {
        let coverage = said["coverage"].as_array().unwrap();
        let row = coverage.iter().find(|row| row["class"] == class).unwrap();
        assert!(row["covered"].is_boolean() && row["source"].is_string());
        assert!(row["covered"] == true || row["why"].is_string(), "{row}");
    }
}

#[test]
fn enroll_says_what_is_wrong_before_it_asks_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let enroll = |controller: &str, fingerprint: &str| {
        let arguments = [
            "enroll",
            "--config",
            &config,
            "--controller",
            controller,
            "--ca-fingerprint",
            fingerprint,
            "--token",
            "t",
        ];
        agent(&arguments, b"")
    };
    let no_port = enroll("controller", FINGERPRINT);
    assert_eq!(no_port.status.code(), Some(1));
    assert!(
        complaint(&no_port).contains("is not HOST:PORT"),
        "{}",
        complaint(&no_port)
    );
    let no_fingerprint = enroll("127.0.0.1:1", "abcd");
    assert_eq!(no_fingerprint.status.code(), Some(2));
    assert!(complaint(&no_fingerprint).contains("64 hex digits"));
    let unreachable = enroll("127.0.0.1:1", FINGERPRINT);
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(complaint(&unreachable).contains("cannot reach the controller at 127.0.0.1:1"));
    assert!(!dir.path().join("state/identity.json").exists());
}

/// Root can read everything, so this needs root to become somebody else.
#[test]
fn somebody_who_is_not_root_is_told_to_be() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "run the tests as root, as `cargo xtask test` does"
    );
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), readable).unwrap();
    let program = dir.path().join("cordon-agent");
    std::fs::copy(AGENT, &program).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .args(["--config", &config])
            .uid(NOBODY)
            .gid(NOBODY);
        command.output().unwrap()
    };
    let run_said = complaint(&run(&["run"]));
    assert!(run_said.contains("run as root"), "{run_said}");
    let doctor = run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(4));
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(text.contains("as root or with CAP_BPF"), "{text}");
    assert!(text.contains("NOT OK  isolation"), "{text}");
}
