//! Every step of the ladder short of an isolation, by orders: on real processes, packets and files, and undone again.

use std::fs;
use std::thread;

use super::*;
use cordon_proto::order::{STEPS, UNDOS};
use cordon_tests::lab::{Guest, state};
use nix::sys::signal::Signal;
use serde_json::json;

/// Says that it lives, and whether it gets out over either family; its child does too.
const TREE: &str = "\
try() { timeout 1 bash -c \"echo > /dev/tcp/$1/9999\" 2> /dev/null && echo out || echo in; }
loop() { while :; do date +%s%N > /srv/beat.$1; try $2 > /srv/way.$1.new; mv /srv/way.$1.new /srv/way.$1; sleep 0.05; done; }
loop child fd99::200 &
loop root 10.99.0.200";
/// A beat takes less when it beats.
const PAUSE: Duration = Duration::from_millis(1500);
const TICK_NS: u64 = 10_000_000;

/// Under a policy that lets the controller order every step, `cap` times an hour.
fn allow(fleet: &Fleet, cap: u32) {
    let verbs = [
        &["isolate", "release"],
        &STEPS[..],
        &UNDOS.map(|(_, undo)| undo),
    ]
    .concat();
    let change = |policy: &mut Value| {
        policy["caps"]["ordered_per_hour"] = cap.into();
        policy["protected_processes"] = json!(["/srv/guarded"]);
        policy["protected_addresses"] = json!(["10.99.0.12", "10.98.0.0/16"]);
        policy["order_keys"][0]["verbs"] = json!(verbs);
    };
    fleet.push_changed_policy(change).unwrap();
    let in_force = |host: &Value| host["policy_version"] == 2;
    fleet
        .wait_host("ep1", "under the new policy", LIMIT, in_force)
        .unwrap();
}

pub(super) fn stage(cap: u32) -> (Fleet, Reach) {
    let fleet = Fleet::up(&options(2), &Narrator::to_stderr()).unwrap();
    allow(&fleet, cap);
    let outside = Reach::open(fleet.node("outside").unwrap()).unwrap();
    (fleet, outside)
}

/// Gives an order, and waits for the host's signed word that it is done.
pub(super) fn order(fleet: &Fleet, command: &[&str]) -> Value {
    let arguments = [command, &["--reason", "drill", "--wait"]].concat();
    let order = fleet
        .ctl(&arguments)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.agent_log("ep1")));
    assert_eq!(order["state"], "done", "{order}");
    order
}

/// What a host says of an order that it does not carry out.
pub(super) fn refusal(fleet: &Fleet, command: &[&str]) -> String {
    let arguments = [command, &["--reason", "drill", "--wait"]].concat();
    format!("{:#}", fleet.ctl(&arguments).unwrap_err())
}

pub(super) fn id(order: &Value) -> &str {
    order["id"].as_str().unwrap()
}

/// The host's last word.
pub(super) fn word(order: &Value) -> &str {
    let last = order["history"].as_array().unwrap().last().unwrap();
    assert_eq!(last["signed"], true, "{order}");
    last["detail"].as_str().unwrap()
}

/// Pid in its node, and start, of a process that lives.
fn inner(pid: i32) -> (u32, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("NSpid:"));
    let inner = line.unwrap().split_whitespace().last().unwrap();
    let ticks = state::start_time(pid).unwrap();
    (inner.parse().unwrap(), ticks * TICK_NS)
}

/// As orders name a process.
fn name_of(pid: u32, start_ns: u64) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    format!("{}:{pid}:{start_ns}", &boot[..8])
}

/// A process tree on ep1.
pub(super) struct Victim {
    guest: Guest,
    pub node: Node,
    pid: u32,
    start_ns: u64,
}

impl Victim {
    pub fn new(fleet: &Fleet) -> Self {
        let node = fleet.node("ep1").unwrap().clone();
        let guest = node.spawn(&["bash", "-c", TREE], "/srv/tree.log").unwrap();
        let (pid, start_ns) = inner(guest.pid());
        let victim = Self {
            guest,
            node,
            pid,
            start_ns,
        };
        victim.wait_way("out");
        victim
    }

    /// As orders name it.
    pub fn name(&self) -> String {
        name_of(self.pid, self.start_ns)
    }

    pub fn beats(&self) -> bool {
        let [before, after] = self.pulses();
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| before != after)
    }

    pub fn stands(&self) -> bool {
        let [before, after] = self.pulses();
        before == after
    }

    /// Of both, twice.
    fn pulses(&self) -> [[String; 2]; 2] {
        let read = |who| self.node.read(&format!("/srv/beat.{who}")).unwrap();
        [Duration::ZERO, PAUSE].map(|pause| {
            thread::sleep(pause);
            ["root", "child"].map(read)
        })
    }

    /// Waits until both get out, or both do not.
    fn wait_way(&self, way: &str) {
        let as_wanted = || {
            let ways = ["root", "child"].map(|who| self.node.read(&format!("/srv/way.{who}")));
            let is_it =
                |said: &Result<String, _>| said.as_ref().is_ok_and(|said| said.trim() == way);
            Ok(ways.iter().all(is_it).then_some(()))
        };
        wait::until(&format!("the tree {way}"), LIMIT, as_wanted).unwrap();
    }
}

impl Drop for Victim {
    /// Before its node: whoever was frozen has stopped who waits for him outside, and the node ends only when he is reaped.
    fn drop(&mut self) {
        self.guest.signal(Signal::SIGKILL).ok();
        self.guest.wait(LIMIT).ok();
    }
}

/// A neighbour of the tree, of the same node and as root.
fn gets_out(node: &Node) -> bool {
    let try_it = "timeout 2 bash -c 'echo > /dev/tcp/10.99.0.200/9999'";
    node.exec(&["sh", "-c", try_it]).unwrap().status.success()
}

#[test]
fn a_process_tree_is_frozen_thawed_cut_off_let_back_and_killed() {
    let (fleet, _outside) = stage(20);
    let mut victim = Victim::new(&fleet);
    let name = victim.name();

    let frozen = order(&fleet, &["freeze-tree", "ep1", &name]);
    assert!(word(&frozen).contains("0 of the tree run on"), "{frozen}");
    assert!(victim.stands());
    // Once more: nobody is new, and nothing is undone by it.
    let again = order(&fleet, &["freeze-tree", "ep1", &name]);
    assert!(
        word(&again).starts_with("0 processes are frozen"),
        "{again}"
    );
    let thawed = order(&fleet, &["undo", id(&frozen)]);
    assert_eq!(
        (&thawed["verb"], &thawed["undoes"]),
        (&"thaw_tree".into(), &frozen["id"])
    );
    assert!(victim.beats());
    let frozen = fleet.ctl(&["order", id(&frozen)]).unwrap();
    assert_eq!(frozen["undone_by"]["order"], thawed["id"], "{frozen}");
    assert_eq!(frozen["can_undo"], false);

    let cut = order(&fleet, &["cut-off", "ep1", &name]);
    let said = word(&cut);
    assert!(
        said.contains("udp 127.0.0.1:9 by one who is cut off was refused"),
        "{said}"
    );
    assert!(
        said.contains("udp 127.0.0.1:9 by one who is not cut off left"),
        "{said}"
    );
    victim.wait_way("in");
    assert!(victim.beats(), "it runs on");
    assert!(
        gets_out(&victim.node),
        "the rest of the host is not cut off"
    );
    assert!(gets_out(fleet.node("ep2").unwrap()));
    let status = victim
        .node
        .succeed(&["cordon-agent", "status", "--json"])
        .unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    assert!(status["cut_off"].as_u64() >= Some(2), "{status}");
    order(&fleet, &["undo", id(&cut)]);
    victim.wait_way("out");

    let killed = order(&fleet, &["kill-tree", "ep1", &name]);
    assert!(word(&killed).contains("0 survive"), "{killed}");
    assert!(victim.guest.wait(LIMIT).is_ok());
    assert!(victim.stands());

    let events = events(&fleet, "ep1");
    let stops = of_kind(&events, "stop");
    for (act, order) in [
        ("frozen", &frozen),
        ("thawed", &thawed),
        ("cut_off", &cut),
        ("killed", &killed),
    ] {
        let report = stops.iter().find(|event| {
            event["body"]["act"] == act && event["body"]["ordered"]["order"] == order["id"]
        });
        let body = &report.unwrap_or_else(|| panic!("{act}: {stops:?}"))["body"];
        assert_eq!(body["ordered"]["by"], "token:local", "{body}");
        assert_eq!(
            (&body["proved"], &body["policy_version"]),
            (&true.into(), &2.into()),
            "{body}"
        );
        assert_eq!(body["survivors"], json!([]), "{body}");
    }
}

#[test]
fn nobody_else_is_hit_and_no_more_is_done_than_the_policy_lets() {
    let (fleet, _outside) = stage(3);
    let victim = Victim::new(&fleet);
    let recycled = name_of(victim.pid, victim.start_ns - TICK_NS);
    let said = refusal(&fleet, &["kill-tree", "ep1", &recycled]);
    assert!(said.contains("given to another"), "{said}");
    let said = refusal(
        &fleet,
        &["freeze-tree", "ep1", &format!("00000000:{}:1", victim.pid)],
    );
    assert!(said.contains("another boot"), "{said}");
    let said = refusal(&fleet, &["block-remote", "ep1", "10.99.0.10"]);
    assert!(said.contains("the controller's"), "{said}");
    let said = refusal(&fleet, &["block-remote", "ep1", "10.99.0.12"]);
    assert!(said.contains("protected addresses"), "{said}");
    for address in ["10.98.255.9", "::ffff:10.98.255.9"] {
        let said = refusal(&fleet, &["block-remote", "ep1", address]);
        assert!(said.contains("in 10.98.0.0/16"), "{said}");
    }

    let copy = ["cp", "/usr/bin/sleep", "/srv/guarded"];
    victim.node.succeed(&copy).unwrap();
    let guarded = victim
        .node
        .spawn(&["/srv/guarded", "1000"], "/srv/log")
        .unwrap();
    let (pid, start_ns) = inner(guarded.pid());
    let said = refusal(&fleet, &["kill-tree", "ep1", &name_of(pid, start_ns)]);
    assert!(said.contains("protected by the policy"), "{said}");
    assert_eq!(inner(guarded.pid()), (pid, start_ns));

    // Two were begun: the cap of three leaves one.
    order(&fleet, &["freeze-tree", "ep1", &victim.name()]);
    let said = refusal(&fleet, &["kill-tree", "ep1", &victim.name()]);
    assert!(said.contains("reach the cap of 3"), "{said}");
    // What undoes a step is never capped.
    order(&fleet, &["thaw-tree", "ep1", &victim.name()]);
    assert!(victim.beats());
}

#[test]
fn a_remote_end_is_blocked_for_one_host_and_reached_again() {
    let (fleet, outside) = stage(20);
    let [first, second] = ["ep1", "ep2"].map(|name| fleet.node(name).unwrap());
    let ways = |node: &Node| -> Vec<bool> {
        let ways = outside.probe_from(node).unwrap();
        ways.into_iter().map(|way| way.1).collect()
    };
    assert_eq!(ways(first), [true, true]);
    let blocked = order(
        &fleet,
        &["block-remote", "ep1", "10.99.0.200", "--for", "10m"],
    );
    assert!(word(&blocked).contains("the kernel lists it"), "{blocked}");
    assert_eq!(
        (ways(first), ways(second)),
        (vec![false, true], vec![true, true])
    );
    let again = order(
        &fleet,
        &["block-remote", "ep1", "10.99.0.200", "--for", "5m"],
    );
    assert!(word(&again).contains("was blocked already"), "{again}");
    order(&fleet, &["undo", id(&blocked)]);
    assert_eq!(ways(first), [true, true]);
    let again = order(&fleet, &["unblock-remote", "ep1", "10.99.0.200"]);
    assert!(word(&again).contains("was not blocked"), "{again}");
    order(&fleet, &["block-remote", "ep1", "fd99::200", "--for", "6s"]);
    assert_eq!(ways(first), [true, false]);
    let reached = || Ok((ways(first) == [true, true]).then_some(()));
    wait::until("the block's own end", LIMIT, reached).unwrap();
}
