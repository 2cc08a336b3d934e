//! By which clock a lease that is on disk is counted.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::fs;
use std::process::Command;

use cordon_contain::{Containment, IsolationSpec, Moment, boottime_ns};
use cordon_proto::AGENT_SOCKET_MARK;
use cordon_proto::id::IsolationId;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use support::AGENT;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const YEARS: i64 = 20 * 365 * DAY;

/// Nobody can set this machine's wall clock for a test: the isolation was begun by another one, which is the same to
/// whoever looks later. The time that passes is real to the kernel, in a time namespace whose boot was earlier.
#[test]
fn a_lease_counts_the_time_that_passes_whatever_the_wall_clock_was_set_to() {
    for set_by in [0, DAY, -DAY, YEARS, -YEARS] {
        for (passed, is_shut) in [(0, true), (HOUR - 120, true), (HOUR + 120, false)] {
            let found = restored(set_by, passed);
            assert_eq!(found, is_shut, "set by {set_by} s, {passed} s later");
        }
    }
}

/// Whether an isolation with a lease of an hour is in force, `passed` seconds after the wall clock was set.
fn restored(set_by: i64, passed: i64) -> bool {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().display();
    let config = base.path().join("agent.toml");
    let settings = format!("state_dir = '{root}/state'\nrun_dir = '{root}/run'\n");
    fs::write(&config, settings).unwrap();
    let began = Timestamp::now() - SignedDuration::from_secs(set_by);
    let spec = IsolationSpec {
        id: IsolationId::generate(),
        reason: "drill".into(),
        tree: None,
        started_at: began,
        lease_expires_at: Some(began + SignedDuration::from_secs(HOUR)),
        controllers: vec!["192.0.2.1:7443".parse().unwrap()],
        allow: Vec::new(),
        policy_version: 1,
        moment: Moment::of_this_boot(boottime_ns(), began),
    };
    assert!(spec.moment.is_some());
    let containment = Containment::open(&base.path().join("state"), AGENT_SOCKET_MARK).unwrap();
    containment.intend(&spec).unwrap();
    // The rules are in a network namespace of the program's own, and gone with it.
    let output = Command::new("unshare")
        .args([
            "--net",
            "--fork",
            "--time",
            "--boottime",
            &passed.to_string(),
        ])
        .args([AGENT, "restore", "--json", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    object["isolated"].as_bool().unwrap()
}
