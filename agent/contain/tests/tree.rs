//! Real trees of processes, each in a PID namespace of its own: when its first process goes, the kernel removes the
//! rest, whatever a test left behind.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

#[path = "tree/cage.rs"]
mod cage;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use cage::Cage;
use cordon_behavior::event::ProcessKey;
use cordon_contain::{Stopped, Tree, Trees};

/// A tree of processes, told by its root alone.
fn tree(root: ProcessKey) -> Tree {
    Tree {
        root,
        known: Vec::new(),
        protected: Vec::new(),
    }
}

/// Pids of those that something was done to; nobody survived.
fn done(stopped: &Stopped) -> BTreeSet<u32> {
    assert!(stopped.survivors.is_empty(), "{stopped:?}");
    stopped.processes.iter().map(|one| one.pid).collect()
}

fn whys(stopped: &Stopped) -> BTreeSet<(u32, &str)> {
    let spared = stopped.spared.iter();
    spared.map(|one| (one.pid, one.why.as_str())).collect()
}

/// Five processes on three levels.
fn forking() -> Cage {
    Cage::new(
        "sleep 1000 & sh -c 'sleep 1001 & sleep 1002; true' & wait",
        vec!["sh -c", "sh -c", "sleep 1000", "sleep 1001", "sleep 1002"],
    )
}

#[test]
fn a_forking_tree_is_killed_whole_and_its_neighbour_lives() {
    let cage = forking();
    let all = cage.living();
    let stopped = cage.trees().kill(&tree(cage.root())).unwrap();
    assert_eq!((done(&stopped), all.len()), (all, 5));
    assert!(stopped.is_whole && stopped.spared.is_empty(), "{stopped:?}");
    assert!(cage.living().is_empty());
    cage.neighbour();
}

#[test]
fn who_left_the_session_is_killed_with_the_rest() {
    let cage = Cage::new(
        "setsid sh -c 'setsid sleep 1000 & sleep 1001; true' & sleep 1002 & wait",
        vec!["sh -c", "sh -c", "sleep 1000", "sleep 1001", "sleep 1002"],
    );
    let all = cage.living();
    let stopped = cage.trees().kill(&tree(cage.root())).unwrap();
    assert_eq!(done(&stopped), all);
    assert!(stopped.is_whole && cage.living().is_empty(), "{stopped:?}");
}

/// nsenter stops itself when its command is stopped, and looks at that again when somebody lets it go on.
#[test]
fn who_waits_for_the_killed_goes_on() {
    let cage = Cage::new(
        "nsenter --pid=/proc/self/ns/pid sleep 1000; exec sleep 1001",
        vec!["nsenter --pid=/proc/self/ns/pid", "sh -c", "sleep 1000"],
    );
    let stopped = cage.trees().kill(&tree(cage.one("sleep 1000"))).unwrap();
    let maker = stopped.maker.unwrap();
    let began = Instant::now();
    while !cage.has("sleep 1001") {
        maker.go_on();
        assert!(began.elapsed() < Duration::from_secs(10), "it still waits");
        std::thread::yield_now();
    }
    cage.neighbour();
}

/// The maker of a session's maker ended: nothing but who is known leads to the daemon.
#[test]
fn a_daemon_that_lost_its_parent_is_killed_when_it_is_known() {
    let cage = Cage::new(
        "sh -c 'setsid sh -c \"sleep 1000 & sleep 1001; true\" & exit' & sleep 1002 & wait",
        vec!["sh -c", "sh -c", "sleep 1000", "sleep 1001", "sleep 1002"],
    );
    let (all, daemon) = (cage.living(), cage.one("sh -c sleep"));
    assert_eq!(cage::parent(daemon.pid), cage.init());
    let kin = cage.trees().freeze(&tree(cage.root())).unwrap();
    assert_eq!(done(&kin).len(), 2);
    assert!(!done(&kin).contains(&daemon.pid));
    let known = Tree {
        known: vec![daemon],
        ..tree(cage.root())
    };
    let stopped = cage.trees().kill(&known).unwrap();
    assert_eq!(done(&stopped), all);
    assert!(stopped.is_whole && cage.living().is_empty(), "{stopped:?}");
}

/// Two that lost their parents, in the session of a root that runs still.
#[test]
fn who_lost_his_parent_is_found_by_his_session() {
    let cage = Cage::new(
        "exec setsid sh -c '(sleep 1000 & sleep 1001 & exit); sleep 1002; true'",
        vec!["sh -c", "sleep 1000", "sleep 1001", "sleep 1002"],
    );
    let all = cage.living();
    assert_eq!(cage::parent(cage.one("sleep 1000").pid), cage.init());
    let stopped = cage.trees().kill(&tree(cage.root())).unwrap();
    assert_eq!(done(&stopped), all);
    assert!(stopped.is_whole && cage.living().is_empty(), "{stopped:?}");
}

#[test]
fn what_a_root_that_ended_left_behind_is_killed() {
    let cage = forking();
    let known = Tree {
        known: vec![cage.one("sh -c sleep 1001")],
        ..tree(cage::before(cage.root()))
    };
    let stopped = cage.trees().kill(&known).unwrap();
    assert_eq!(done(&stopped).len(), 3);
    assert!(stopped.is_whole, "{stopped:?}");
    assert!(cage.living().contains(&cage.root().pid));
}

#[test]
fn who_has_a_reused_pid_is_somebody_else_and_not_touched() {
    let cage = forking();
    let all = cage.living();
    let before = tree(cage::before(cage.root()));
    for stopped in [
        cage.trees().kill(&before).unwrap(),
        cage.trees().freeze(&before).unwrap(),
    ] {
        assert!(done(&stopped).is_empty() && stopped.spared.is_empty());
    }
    assert_eq!(cage.living(), all);
    assert!(cage.standing().is_empty());
}

#[test]
fn a_fork_bomb_is_killed_to_its_last_process() {
    let cage = Cage::bomb(200);
    let began = Instant::now();
    let stopped = cage.trees().kill(&tree(cage.root())).unwrap();
    let took = began.elapsed();
    assert!(stopped.is_whole && cage.living().is_empty(), "{stopped:?}");
    assert_eq!(done(&stopped).len(), 200);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn the_frozen_stand_still_until_they_are_thawed_and_nobody_else_is_let_go() {
    let cage = forking();
    let all = cage.living();
    // Stopped by somebody else before: it stays so.
    let other = BTreeSet::from([cage.one("sleep 1002").pid]);
    signal("STOP", &other);
    cage.wait_standing(&other);

    let frozen = cage.trees().freeze(&tree(cage.root())).unwrap();
    assert!(frozen.is_whole, "{frozen:?}");
    assert_eq!(done(&frozen), &all - &other);
    assert_eq!(cage.standing(), all);
    let again = cage.trees().freeze(&tree(cage.root())).unwrap();
    assert!(again.is_whole && done(&again).is_empty(), "{again:?}");
    assert_eq!(cage.trees().frozen().unwrap(), 4);

    // Not by the object that froze them, as after a restart.
    let thawed = cage.trees().thaw().unwrap();
    assert_eq!(done(&thawed), &all - &other);
    assert_eq!((cage.standing(), cage.living()), (other, all));
    assert_eq!(cage.trees().frozen().unwrap(), 0);
    assert!(done(&cage.trees().thaw().unwrap()).is_empty());
}

fn signal(name: &str, pids: &BTreeSet<u32>) {
    let mut kill = Command::new("kill");
    kill.args(["-s", name])
        .args(pids.iter().map(u32::to_string));
    assert!(kill.status().unwrap().success());
}

#[test]
fn the_frozen_can_be_killed_afterwards() {
    let cage = forking();
    let all = cage.living();
    cage.trees().freeze(&tree(cage.root())).unwrap();
    let killed = cage.trees().kill(&tree(cage.root())).unwrap();
    assert_eq!(done(&killed), all);
    assert!(cage.living().is_empty());
    assert_eq!(cage.trees().frozen().unwrap(), 0);
}

#[test]
fn the_protected_are_left_alone_and_named_and_what_they_made_is_not() {
    let cage = Cage::new(
        "perl -e 'system q(sleep 1000; true); sleep 1003' & sleep 1001 & wait",
        vec!["perl -e", "sh -c", "sh -c", "sleep 1000", "sleep 1001"],
    );
    let (all, perl) = (cage.living(), cage.one("perl"));
    let protected = Tree {
        protected: vec![cage::exe(perl.pid)],
        ..tree(cage.root())
    };
    let stopped = cage.trees().kill(&protected).unwrap();
    let perl = BTreeSet::from([perl.pid]);
    assert_eq!(done(&stopped), &all - &perl);
    assert_eq!(cage.living(), perl);
    let spared = whys(&stopped).into_iter().collect::<Vec<_>>();
    assert!(matches!(spared[..], [(_, "protected by the policy")]));
    assert!(stopped.is_whole, "{stopped:?}");
}

#[test]
fn the_agent_what_it_runs_under_and_what_it_made_are_never_touched() {
    let cage = Cage::new(
        "sh -c 'sleep 1000 & wait' & sleep 1001 & wait",
        vec!["sh -c", "sh -c", "sleep 1000", "sleep 1001"],
    );
    let (all, root) = (cage.living(), cage.root());
    let (agent, below) = (cage.one("sh -c sleep 1000"), cage.one("sleep 1000"));
    let trees = Trees::open(cage.state(), agent.pid);
    for unjust in [root, agent, below] {
        let stopped = trees.kill(&tree(unjust)).unwrap();
        assert!(
            done(&stopped).is_empty() && !stopped.is_whole,
            "{stopped:?}"
        );
    }
    assert_eq!(cage.living(), all);
    // They are told to belong to another tree, with somebody who may be touched.
    let known = Tree {
        known: vec![root, agent, below, cage.one("sleep 1001")],
        ..tree(cage.neighbour())
    };
    let stopped = trees.kill(&known).unwrap();
    assert_eq!(done(&stopped).len(), 2);
    let wanted = [
        (root.pid, "the agent runs under it"),
        (agent.pid, "the agent itself"),
        (below.pid, "it belongs to the agent"),
    ];
    assert_eq!(whys(&stopped), BTreeSet::from(wanted));
    assert_eq!(cage.living().len(), 3);
}

#[test]
fn whom_nothing_can_note_nothing_freezes() {
    let cage = forking();
    // A folder in the place of the file: writing fails whoever asks, root too.
    std::fs::create_dir(cage.state().join("frozen.json.new")).unwrap();
    assert!(cage.trees().freeze(&tree(cage.root())).is_err());
    assert!(cage.standing().is_empty());
    // To kill takes no note.
    let killed = cage.trees().kill(&tree(cage.root())).unwrap();
    assert_eq!(done(&killed).len(), 5);
}

#[test]
fn a_part_of_the_frozen_goes_on_and_nobody_else() {
    let cage = forking();
    let (trees, inner) = (cage.trees(), cage.one("sh -c sleep 1001"));
    assert_eq!(done(&trees.freeze(&tree(cage.root())).unwrap()).len(), 5);
    let stranger = trees.thaw_tree(&tree(cage::before(inner))).unwrap();
    assert!(done(&stranger).is_empty() && stranger.is_whole);
    assert_eq!(cage.standing().len(), 5);
    let part = trees.thaw_tree(&tree(inner)).unwrap();
    assert_eq!((done(&part).len(), part.is_whole), (3, true));
    assert_eq!((cage.standing().len(), trees.frozen().unwrap()), (2, 2));
    let rest = trees.thaw_tree(&tree(cage.root())).unwrap();
    assert_eq!((done(&rest).len(), trees.frozen().unwrap()), (2, 0));
    assert!(cage.standing().is_empty());
}

/// Whoever is told as one of a tree is found by that when nothing in `/proc` leads to it any more.
#[test]
fn who_was_frozen_as_one_of_a_tree_is_thawed_with_it() {
    let cage = Cage::new(
        "sh -c 'setsid sh -c \"sleep 1000 & sleep 1001; true\" & exit' & sleep 1002 & wait",
        vec!["sh -c", "sh -c", "sleep 1000", "sleep 1001", "sleep 1002"],
    );
    let (trees, daemon) = (cage.trees(), cage.one("sh -c sleep"));
    let known = Tree {
        known: vec![daemon],
        ..tree(cage.root())
    };
    assert_eq!(done(&trees.freeze(&known).unwrap()).len(), 5);
    let thawed = trees.thaw_tree(&tree(cage.root())).unwrap();
    assert_eq!((done(&thawed).len(), trees.frozen().unwrap()), (5, 0));
}

#[test]
fn the_image_of_a_root_is_not_told_of_who_has_its_pid_now() {
    let cage = forking();
    let image = tree(cage.root()).root_image().unwrap();
    assert!(image.starts_with('/'), "{image}");
    assert_eq!(tree(cage::before(cage.root())).root_image(), None);
}
