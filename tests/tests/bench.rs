//! The bench runs from start to end, counts rightly, and puts the machine back. Its times are not looked at here.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Rows that count what was made and what was seen of it.
const COUNTS: [&str; 10] = [
    "execs_seen",
    "execs_with_arguments",
    "execs_with_parent",
    "execs_with_stdio",
    "connects_seen",
    "cordon_daemon_execs_of_made",
    "cordon_events_lost",
    "cordon_lost_at_100",
    "burst_execs_unaccounted",
    "fullest_cache",
];

/// Rows of containment's bench that a short run has values for.
const CONTAINED: [&str; 8] = [
    "reachable_exec_to_last_packet_p50",
    "reachable_judging_p50",
    "reachable_told_by_agent_p50",
    "unreachable_exec_to_last_packet_p50",
    "order_to_last_packet_p50",
    "order_to_first_packet_p50",
    "flush_to_whole_p50",
    "restart_to_right_view_p50",
];

fn quick(bench: &str, json: &Path) -> (Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cordon-bench"));
    command.args([bench, "--quick", "--json"]).arg(json);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let report = std::fs::read(json).unwrap();
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    (serde_json::from_slice(&report).unwrap(), table)
}

#[test]
fn a_short_run_counts_rightly_and_says_what_it_could_not_measure() {
    let folder = tempfile::tempdir().unwrap();
    let (report, table) = quick("sensor", &folder.path().join("sensor.json"));
    assert_eq!(report["bench"], "sensor");
    assert_eq!(report["quick"], true);
    assert!(report["machine"]["cpus"].as_u64().unwrap() > 0);
    let rows = report["rows"].as_array().unwrap();
    for row in rows {
        let metric = row["metric"].as_str().unwrap();
        assert!(table.contains(metric), "{metric} is not in the table");
        assert!(row["unit"].is_string() && row["goal"].is_string(), "{row}");
        // What was not measured does not hold, and says why.
        let measured = row["value"].is_number();
        assert_eq!(measured, row["why"].is_null(), "{row}");
        assert!(measured || row["holds"] == false, "{row}");
    }
    for metric in COUNTS {
        let row = rows.iter().find(|row| row["metric"] == metric);
        let row = row.unwrap_or_else(|| panic!("no row {metric}"));
        assert_eq!(row["holds"], true, "{row}");
    }
    assert_nothing_is_left();
}

#[test]
fn a_short_run_of_containment_cuts_off_opens_repairs_and_is_never_half_open() {
    let folder = tempfile::tempdir().unwrap();
    let (report, table) = quick("contain", &folder.path().join("contain.json"));
    let rows = report["rows"].as_array().unwrap();
    let value = |metric: &str| {
        let row = rows.iter().find(|row| row["metric"] == metric);
        let row = row.unwrap_or_else(|| panic!("no row {metric}: {table}"));
        row["value"].as_f64().unwrap_or_else(|| panic!("{row}"))
    };
    for metric in CONTAINED {
        assert!(value(metric) > 0.0, "{table}");
    }
    for row in [
        "flush_not_whole_again",
        "kill_left_neither_open_nor_shut",
        "kill_view_never_right",
    ] {
        assert!(value(row) == 0.0, "{table}");
    }
}

fn assert_nothing_is_left() {
    for (folder, prefix) in [
        (std::env::temp_dir().as_path(), "cordon-bench-"),
        (Path::new("/sys/fs/cgroup"), "cordon-bench-"),
        (Path::new("/sys/fs/cgroup/unified"), "cordon-bench-"),
        (Path::new("/sys/fs/cgroup/pids"), "cordon-bench-"),
    ] {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let left: Vec<_> = names
            .filter(|name| name.to_string_lossy().starts_with(prefix))
            .collect();
        assert!(left.is_empty(), "{left:?} in {}", folder.display());
    }
}

#[test]
fn a_mistake_is_named_before_anything_is_started() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cordon-bench"));
    let output = command.args(["sensor", "--only", "everything"]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        said.contains("no part \"everything\", only whole"),
        "{said}"
    );
}
