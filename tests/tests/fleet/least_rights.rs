//! What a running agent may do, and who may read what it keeps.

use std::fs;

use super::*;

/// The nine that `docs/agent.md` lists, and the four for files: no node has systemd.
const NEEDED: u64 =
    1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 12 | 1 << 19 | 1 << 21 | 1 << 38 | 1 << 39;
const FOR_FILES: u64 = 1 | 1 << 4 | 1 << 31 | 1 << 33;

fn field(status: &str, name: &str) -> String {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name));
    value
        .unwrap_or_else(|| panic!("no {name} in {status}"))
        .trim()
        .to_owned()
}

#[test]
fn a_running_agent_has_few_rights_in_every_thread_and_others_read_nothing_of_its() {
    let mut fleet = fleet();
    // Cuts, proves and lets go under all of that.
    let order = ["isolate", "ep1", "--reason", "drill", "--wait"];
    assert_eq!(fleet.ctl(&order).unwrap()["state"], "done");
    wait_confirmed(&fleet);
    let node = fleet.node("ep1").unwrap().clone();
    hold_a_file(&node);

    let agent = fleet.take_agent("ep1").unwrap();
    let threads = fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap();
    let threads: Vec<String> = threads
        .map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).unwrap())
        .collect();
    assert!(threads.len() > 10, "{}", threads.len());
    for thread in &threads {
        let name = field(thread, "Name:");
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            let found = u64::from_str_radix(&field(thread, set), 16).unwrap();
            assert_eq!(found, NEEDED | FOR_FILES, "{name} {set} {found:x}");
        }
        assert_eq!(field(thread, "Seccomp:"), "2", "{name}");
        assert_eq!(field(thread, "NoNewPrivs:"), "1", "{name}");
    }

    let open = node.succeed(&["find", "/var/lib/cordon", "/run/cordon", "-perm", "/077"]);
    assert_eq!(open.unwrap(), "");
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    for file in ["/var/lib/cordon/identity.json", "/run/cordon/agent.sock"] {
        let reads = [&nobody[..], &["test", "-e", file]].concat();
        assert!(!node.exec(&reads).unwrap().status.success(), "{file}");
    }
}

#[test]
fn a_capability_that_is_missing_is_named_with_what_is_lost() {
    let mut fleet = fleet();
    fleet.kill_agent("ep1").unwrap();
    let node = fleet.node("ep1").unwrap().clone();
    let without = ["setpriv", "--bounding-set=-kill", "cordon-agent"];
    let said = node
        .exec(&[&without[..], &["doctor", "--json"]].concat())
        .unwrap();
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    let checks = said["checks"].as_array().unwrap().iter();
    let missing: Vec<&Value> = checks
        .filter(|check| check["name"] == "capability")
        .collect();
    assert_eq!(missing.len(), 1, "{missing:?}");
    let detail = missing[0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("CAP_KILL") && detail.contains("frozen or killed"),
        "{detail}"
    );

    let run = [&without[..], &["run", "--config", "/etc/cordon/agent.toml"]].concat();
    let mut agent = node.spawn(&run, "/var/log/without-kill").unwrap();
    let told = || {
        let status = node.exec(&["cordon-agent", "status"])?;
        let said = String::from_utf8_lossy(&status.stdout).into_owned();
        Ok(said.contains("CAP_KILL is missing").then_some(()))
    };
    wait::until("status to name it", LIMIT, told).unwrap();
    agent.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    agent.wait(LIMIT).unwrap();
}
