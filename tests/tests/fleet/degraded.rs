//! A host that lacks something says what it lacks, does what it can, and claims nothing else.

use super::*;

/// What `doctor` says of one thing, and the exit code.
fn doctor(node: &Node, prefix: &[&str], check: &str) -> (Value, Option<i32>) {
    let command = [prefix, &["cordon-agent", "doctor", "--json"]].concat();
    let output = node.exec(&command).unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = said["checks"].as_array().unwrap();
    let found = checks.iter().find(|one| one["name"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check} in {said}"));
    (found.clone(), output.status.code())
}

fn detail(check: &Value) -> &str {
    check["detail"].as_str().unwrap()
}

#[test]
fn without_nftables_the_attack_is_told_and_no_isolation_is_claimed() {
    let fleet = fleet();
    let victim = fleet.node("ep1").unwrap();
    let doors = Doors::open(&fleet);
    victim.succeed(&["rm", "/usr/sbin/nft"]).unwrap();
    let (isolation, code) = doctor(victim, &[], "isolation");
    assert_eq!(isolation["ok"], false);
    assert!(detail(&isolation).contains("install the nftables package"));
    assert_eq!(code, Some(4));
    let mut shell = attack(&fleet);
    let told = || Ok(fleet.incidents()?.into_iter().next());
    let incident = wait::until("the incident", LIMIT, told).unwrap();
    assert_eq!(incident["host"]["name"], "ep1");
    let failed = |host: &Value| host["isolation"]["state"] == "failed";
    fleet
        .wait_host("ep1", "said to be open still", LIMIT, failed)
        .unwrap();
    assert!(shell.ask("id", "uid=", SILENCE).unwrap());
    doors.assert_all(true);
}

#[test]
fn without_rights_doctor_says_which_and_what_would_mend_it() {
    let fleet = fleet();
    let node = fleet.node("ep1").unwrap();
    let no_rights = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"];
    let (sensor, code) = doctor(node, &no_rights, "sensor");
    assert_eq!(sensor["ok"], false);
    assert!(detail(&sensor).contains("CAP_BPF"), "{sensor}");
    assert_eq!(code, Some(4));
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let command = [&nobody[..], &["cordon-agent", "run"]].concat();
    let refused = node.exec(&command).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(said.contains("run as root"), "{said}");
}

#[test]
fn without_ebpf_the_agent_runs_on_proc_and_the_controller_knows() {
    let mut fleet = fleet();
    fleet.kill_agent("ep1").unwrap();
    fleet.start_agent_without_bpf("ep1").unwrap();
    let on_proc = |host: &Value| host["online"] == true && host["sensor_mode"] == "proc";
    fleet
        .wait_host("ep1", "online on /proc", LIMIT, on_proc)
        .unwrap();
}

#[test]
fn a_damaged_model_is_named_and_orders_still_isolate() {
    let mut fleet = fleet();
    fleet.kill_agent("ep1").unwrap();
    let node = fleet.node("ep1").unwrap();
    let damage = "mkdir /root/model && cp /usr/share/cordon/model/* /root/model/ && \
                  printf x | dd of=/root/model/model.gguf bs=1 seek=4096 conv=notrunc status=none && \
                  sed -i 's|/usr/share/cordon/model|/root/model|' /etc/cordon/agent.toml";
    node.succeed(&["sh", "-c", damage]).unwrap();
    let (model, _) = doctor(node, &[], "model");
    assert_eq!(model["ok"], false);
    assert!(detail(&model).contains("sha256"), "{model}");
    fleet.start_agent("ep1").unwrap();
    fleet.wait_online("ep1").unwrap();
    let command = ["isolate", "ep1", "--reason", "drill", "--wait"];
    let order = fleet.ctl(&command).unwrap();
    assert_eq!(order["state"], "done", "{order}");
    wait_confirmed(&fleet);
}
