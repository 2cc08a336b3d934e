//! What is done to an agent from outside is told, by whom, and mended where it can be.

use super::*;

/// A fleet of one whose agent runs a copy of the program, which may be meddled with.
fn fleet_of_one() -> Fleet {
    let options = options(1);
    let mut fleet = Fleet::with_controller(&options, &Narrator::to_stderr()).unwrap();
    fleet.push_policy(&options.mode).unwrap();
    let token = fleet.join_token(1).unwrap();
    let node = fleet.node("ep1").unwrap();
    node.succeed(&["cp", "/usr/bin/cordon-agent", "/usr/local/bin/cordon-agent"])
        .unwrap();
    fleet.enrol("ep1", &token).unwrap();
    fleet.start_agent("ep1").unwrap();
    fleet.wait_online("ep1").unwrap();
    fleet
}

/// Who did it, by the first report with these words.
fn wait_told(fleet: &Fleet, words: &str) -> Value {
    let told = || {
        let events = events(fleet, "ep1");
        Ok(tampering(&events, words).first().map(|e| e["body"].clone()))
    };
    wait::until(&format!("a report of {words:?}"), LIMIT, told)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")))
}

fn shell(node: &Node, line: &str) {
    node.succeed(&["sh", "-c", line]).unwrap();
}

#[test]
fn an_agent_that_is_killed_or_halted_says_by_whom_and_one_that_is_stopped_says_nothing() {
    let mut fleet = fleet_of_one();
    let node = fleet.node("ep1").unwrap().clone();
    shell(
        &node,
        "kill -STOP $(pgrep -x cordon-agent); sleep 1; kill -CONT $(pgrep -x cordon-agent)",
    );
    let told = wait_told(&fleet, "sent the agent SIGSTOP");
    assert_eq!(told["by"]["exe"], "/usr/bin/dash", "{told}");
    assert_eq!(told["by"]["uid"], 0, "{told}");

    // Without a place that outlives it nobody knows who it was.
    let mut agent = fleet.take_agent("ep1").unwrap();
    shell(&node, "kill -KILL $(pgrep -x cordon-agent)");
    agent.wait(LIMIT).unwrap();
    fleet.start_agent("ep1").unwrap();
    fleet.wait_heartbeat("ep1", LIMIT).unwrap();
    let told = wait_told(&fleet, "SIGKILL of an unknown sender");
    assert!(told["by"].is_null(), "{told}");

    // As systemd mounts it.
    node.succeed(&["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"])
        .unwrap();
    let mut agent = fleet.take_agent("ep1").unwrap();
    agent.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    agent.wait(LIMIT).unwrap();
    fleet.start_agent("ep1").unwrap();
    fleet.wait_heartbeat("ep1", LIMIT).unwrap();
    let kept = || {
        let found = node.exec(&["sh", "-c", "ls /sys/fs/bpf/cordon/*"])?;
        Ok(found.status.success().then_some(()))
    };
    wait::until("a place that outlives the agent", LIMIT, kept).unwrap();
    let mut agent = fleet.take_agent("ep1").unwrap();
    shell(&node, "kill -KILL $(pgrep -x cordon-agent)");
    agent.wait(LIMIT).unwrap();
    fleet.start_agent("ep1").unwrap();
    fleet.wait_heartbeat("ep1", LIMIT).unwrap();
    let told = wait_told(&fleet, "was ended by SIGKILL of /usr/bin/dash");
    assert!(told["by"]["pid"].as_u64().unwrap() > 0, "{told}");

    // Ended by a way that it knows: no start since has anything to say of that.
    let all = events(&fleet, "ep1");
    assert_eq!(tampering(&all, "it runs again").len(), 2, "{all:?}");
}

#[test]
fn whoever_changes_its_program_settings_state_or_units_is_named_and_its_own_commands_are_not() {
    let fleet = fleet_of_one();
    let node = fleet.node("ep1").unwrap();
    hold_a_file(node);
    let state = "/var/lib/cordon";
    for (line, words, exe) in [
        (
            "mv /usr/local/bin/cordon-agent /usr/local/bin/gone".to_owned(),
            "renamed the agent's /usr/local/bin/cordon-agent".to_owned(),
            "/usr/bin/mv",
        ),
        (
            "echo '#' >> /etc/cordon/agent.toml".to_owned(),
            "wrote to the agent's /etc/cordon/agent.toml".to_owned(),
            "/usr/bin/dash",
        ),
        (
            format!("rm {state}/policy.json"),
            format!("removed the agent's {state}/policy.json"),
            "/usr/bin/rm",
        ),
        (
            format!("rm {state}/quarantine/*"),
            format!("removed the agent's {state}/quarantine/"),
            "/usr/bin/rm",
        ),
        (
            "echo > /etc/systemd/system/cordon-agent.service".to_owned(),
            "the agent's /etc/systemd/system/cordon-agent.service".to_owned(),
            "/usr/bin/dash",
        ),
    ] {
        shell(node, &line);
        let told = wait_told(&fleet, &words);
        assert_eq!(told["by"]["exe"], exe, "{told}");
        assert_eq!(told["repaired"], false, "{told}");
    }
    let all = events(&fleet, "ep1");
    let own: Vec<&Value> = tampering(&all, "the agent's")
        .into_iter()
        .filter(|told| told["body"]["by"]["exe"] == "/usr/local/bin/cordon-agent")
        .collect();
    assert!(own.is_empty(), "{own:?}");
}
