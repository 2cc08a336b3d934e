//! The lab itself: its nodes reach each other, and the machine is as before when it is gone.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use cordon_tests::lab::{Lab, LabOptions, Node, state};
use cordon_tests::wait;

const LIMIT: Duration = Duration::from_secs(20);

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_cordon-lab").into()
}

fn lab(endpoints: u8) -> Lab {
    let program = program();
    Lab::up(&LabOptions { endpoints, program }).unwrap()
}

/// Everything of the machine's own that a lab must leave alone.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    links: String,
    rules: String,
    mounts: String,
    cgroups: BTreeSet<String>,
    processes: BTreeSet<String>,
}

impl Machine {
    fn look() -> Self {
        Self {
            links: said("ip", &["-brief", "link"]),
            rules: said("nft", &["list", "ruleset"]),
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap(),
            cgroups: lab_cgroups(),
            processes: lab_processes(),
        }
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Cgroups of a lab's nodes.
fn lab_cgroups() -> BTreeSet<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" cgroup2 "));
    let mount = mount.unwrap().split(' ').nth(1).unwrap();
    let names = fs::read_dir(mount).unwrap().flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("cordon-lab-"))
        .collect()
}

/// Living processes that are a lab's: the supervisor, its helpers, and the nodes' first processes.
fn lab_processes() -> BTreeSet<String> {
    let of_a_lab = |pid: i32| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let kind = ["node-start", "node-init", "supervise"];
        let words: Vec<&str> = command.split('\0').collect();
        let is_node = kind.iter().any(|kind| words.contains(kind));
        let living = state::start_time(pid).is_some();
        (is_node && living).then(|| format!("{pid} {}", words.join(" ")))
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(of_a_lab)
        .collect()
}

fn assert_as_before(before: &Machine) {
    let settled = wait::until("the machine as before", LIMIT, || {
        Ok((Machine::look() == *before).then_some(()))
    });
    if settled.is_err() {
        assert_eq!(Machine::look(), *before);
    }
}

#[test]
fn nodes_reach_each_other_over_both_families() {
    let lab = lab(2);
    for target in ["10.99.0.12", "10.99.0.200", "fd99::10", "fd99::12", "ep2"] {
        let ping = ["ping", "-c", "1", "-W", "2", target];
        lab.node("ep1").unwrap().succeed(&ping).unwrap();
    }
}

#[test]
fn a_node_has_its_own_name_processes_and_files() {
    let lab = lab(1);
    let node = lab.node("ep1").unwrap();
    assert_eq!(node.succeed(&["hostname"]).unwrap(), "ep1\n");
    let first = node.succeed(&["cat", "/proc/1/cmdline"]).unwrap();
    assert_eq!(first, "/sbin/init\0");
    let script = "pwd; echo here > /etc/cordon-lab-witness; cat /etc/cordon-lab-witness";
    assert_eq!(node.succeed(&["sh", "-c", script]).unwrap(), "/\nhere\n");
    assert_eq!(node.read("/etc/cordon-lab-witness").unwrap(), "here\n");
    assert!(!fs::exists("/etc/cordon-lab-witness").unwrap());
}

#[test]
fn a_node_has_its_own_cgroups_and_everybody_in_it_is_in_them() {
    let lab = lab(2);
    let [first, second] = ["ep1", "ep2"].map(|name| lab.node(name).unwrap());
    let mounts = first.succeed(&["cat", "/proc/self/mounts"]).unwrap();
    let mount = mounts.lines().find(|line| line.contains(" cgroup2 "));
    let mount = mount.unwrap().split(' ').nth(1).unwrap();
    let made = format!("{mount}/witness");
    let script = format!("mkdir {made} && grep ^0:: /proc/self/cgroup /proc/1/cgroup");
    let seen = first.succeed(&["sh", "-c", &script]).unwrap();
    assert!(seen.lines().all(|line| line.ends_with(":0::/")), "{seen}");
    let there = |node: &Node| node.exec(&["test", "-d", &made]).unwrap().status.success();
    assert!(there(first) && !there(second));
    assert!(!fs::exists(&made).unwrap());
}

#[test]
fn a_cut_cable_carries_nothing_until_it_is_mended() {
    let lab = lab(2);
    let node = lab.node("ep1").unwrap();
    let ping = ["ping", "-c", "1", "-W", "1", "10.99.0.12"];
    lab.cut("ep1").unwrap();
    assert!(!node.exec(&ping).unwrap().status.success());
    lab.mend("ep1").unwrap();
    let reached = || Ok(node.exec(&ping)?.status.success().then_some(()));
    wait::until("an answer over the mended cable", LIMIT, reached).unwrap();
}

#[test]
fn a_forwarded_port_leads_into_the_node() {
    let mut lab = lab(1);
    let node = lab.node("controller").unwrap();
    let own = SocketAddr::new(node.address_v4().into(), 9000);
    let listener = node.within_network(|| Ok(TcpListener::bind(own)?)).unwrap();
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(b"from inside").unwrap();
    });
    let door = lab.forward("controller", 9000).unwrap();
    assert!(door.ip().is_loopback());
    let mut answer = String::new();
    let mut client = TcpStream::connect(door).unwrap();
    client.read_to_string(&mut answer).unwrap();
    server.join().unwrap();
    assert_eq!(answer, "from inside");
}

#[test]
fn the_machine_is_as_before_after_up_and_down() {
    let before = Machine::look();
    let lab = lab(3);
    let during = Machine::look();
    assert_eq!(during.links, before.links);
    assert_eq!(during.rules, before.rules);
    assert_eq!(during.mounts, before.mounts);
    let sleeper = lab.node("ep1").unwrap();
    let sleeper = sleeper.spawn(&["sleep", "1000"], "/tmp/log").unwrap();
    drop(lab);
    assert_eq!(state::start_time(sleeper.pid()), None);
    assert_as_before(&before);
}

#[test]
fn the_machine_is_as_before_after_the_supervisor_was_killed() {
    let before = Machine::look();
    let name = format!("killed-{}", std::process::id());
    let command = |arguments: &[&str]| {
        let mut command = Command::new(program());
        let output = command.args(["--name", &name]).args(arguments).output();
        output.unwrap()
    };
    let up = command(&["up", "--bare", "--endpoints", "2"]);
    assert!(up.status.success(), "{up:?}");
    let running = state::LabState::running(&name).unwrap();
    let ep1 = running.nodes.iter().find(|node| node.name == "ep1");
    let rule = command(&["exec", "ep1", "--", "nft", "add", "table", "inet", "mine"]);
    assert!(rule.status.success(), "{rule:?}");
    let supervisor = nix::unistd::Pid::from_raw(running.supervisor);
    nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).unwrap();
    let pid = ep1.unwrap().pid;
    let gone = || Ok(state::start_time(pid).is_none().then_some(()));
    wait::until("end of ep1", LIMIT, gone).unwrap();
    assert_as_before(&before);
    // A file left by the dead supervisor is no lab, and is cleared away.
    assert!(state::LabState::load(&name).unwrap().is_none());
    assert!(!state::file(&name).exists());
}

/// What a node's start says that must fail, given how it is started and its plan.
fn complaint(start: &mut Command, plan: &serde_json::Value) -> String {
    let output = start.arg("node-start").arg(plan.to_string()).output();
    let output = output.unwrap();
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_node_that_cannot_start_says_what_was_tried_on_what() {
    let before = Machine::look();
    let plan = serde_json::json!({
        "name": "ep1", "number": 11, "hosts": "", "cgroup": null,
        "shared": [["/nowhere/agent", "/usr/bin/cordon-agent"]],
    });
    let said = complaint(&mut Command::new(program()), &plan);
    let wanted = "cannot mount /nowhere/agent at /mnt/root/usr/bin/cordon-agent: ENOENT";
    assert!(said.contains(wanted), "{said}");

    // The program was replaced while it ran, as by a build.
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("cordon-lab");
    fs::copy(program(), &gone).unwrap();
    let script = "exec 9< \"$0\" && rm \"$0\" && exec /proc/self/fd/9 \"$@\"";
    let mut start = Command::new("bash");
    start.args(["-c", script]).arg(&gone);
    let said = complaint(&mut start, &plan);
    let gone = gone.display();
    let wanted = format!("cannot start {gone} (deleted) as ep1's first process: No such file");
    assert!(said.contains(&wanted), "{said}");
    assert_as_before(&before);
}

#[test]
fn an_unknown_node_is_named_with_those_that_exist() {
    let lab = lab(1);
    let error = lab.node("ep9").unwrap_err().to_string();
    assert_eq!(error, "no node \"ep9\"; there are controller, ep1, outside");
}
