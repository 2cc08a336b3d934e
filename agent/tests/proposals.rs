//! What waits for a yes outlives the agent, within bounds, and a damaged file is set aside.

use std::path::Path;

use cordon_agent::proposals::{Kept, MOST_WAITING, Proposals, Target, clocks, on_disk, withdraw};
use cordon_behavior::event::ProcessKey;
use cordon_behavior::story::Connection;
use cordon_proto::policy::{AfterTime, Approve, Stop};
use cordon_proto::record::{ApprovalOutcome, Steps};
use cordon_respond::Asking;
use cordon_respond::proposal::{Ending, NoAnswer, State, Terms};
use jiff::{SignedDuration, Timestamp};

const BOOT: &str = "b00t";
/// Nobody's child.
const NEW: ProcessKey = ProcessKey {
    pid: 5000,
    start_ns: 9,
};

fn load(dir: &Path) -> Proposals {
    Proposals::load(dir, BOOT, clocks(Timestamp::now()))
}

fn isolate() -> Steps {
    Steps {
        isolate: true,
        stop: Stop::Freeze,
        ..Steps::default()
    }
}

fn terms() -> Terms {
    let approve = Approve {
        seconds: 600,
        unanswered: AfterTime::Nothing,
        offline: AfterTime::Act,
    };
    Terms::new(approve, clocks(Timestamp::now()))
}

fn target(pid: u32) -> Target {
    let key = |pid| ProcessKey { pid, start_ns: 9 };
    let out = |port| Connection {
        direction: "out".into(),
        protocol: "tcp".into(),
        address: "203.0.113.9".into(),
        port,
        ..Connection::default()
    };
    Target {
        root: key(pid),
        exe: "/usr/bin/perl".into(),
        below: (0..1000).map(key).collect(),
        connections: (0..1000).map(out).collect(),
        event_mono_ns: 7,
        reason: "/usr/bin/perl judged malicious".into(),
    }
}

fn kept(tree: &str) -> Kept {
    Kept::new(tree, BOOT, isolate(), terms(), target(1))
}

fn ending(outcome: ApprovalOutcome) -> Ending {
    Ending {
        outcome,
        rule: None,
        at: Timestamp::now(),
        order: None,
        by: Some("ada".into()),
        reason: "why".into(),
    }
}

#[test]
fn what_waits_is_the_same_after_a_restart_and_takes_one_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut proposals = load(dir.path());
    let one = kept("t");
    let id = one.id;
    proposals.keep(one.clone()).unwrap();
    let mut again = load(dir.path());
    assert_eq!(again.answerable(id).unwrap(), &one);
    assert_eq!(on_disk(dir.path()), again.told());
    assert_eq!(again.told()[0].proposal.expires_at, one.terms.until.wall);
    assert_eq!(again.asking("t", NEW), Asking::Possible);

    again.set(id, State::Carrying(ending(ApprovalOutcome::Approved)));
    let mut again = load(dir.path());
    assert_eq!(
        again.carrying().count(),
        1,
        "a start finishes what was begun"
    );
    assert!(matches!(
        again.answerable(id),
        Err(NoAnswer::Answered { .. })
    ));
    assert_eq!(on_disk(dir.path()), []);
    again.set(id, State::Ended(ending(ApprovalOutcome::Approved)));
    let again = load(dir.path());
    assert!(again.get(id).unwrap().targets.is_empty());
    assert!(matches!(
        again.answerable(id),
        Err(NoAnswer::Answered { .. })
    ));
    assert_eq!(again.asking("t", NEW), Asking::Possible);
}

/// A service is one tree: what else happens in it is asked about all the same.
#[test]
fn a_no_holds_for_its_processes_after_a_restart_too_and_for_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut proposals = load(dir.path());
    let one = kept("t");
    let id = one.id;
    proposals.keep(one).unwrap();
    proposals.set(id, State::Ended(ending(ApprovalOutcome::Refused)));
    let again = load(dir.path());
    let key = |pid| ProcessKey { pid, start_ns: 9 };
    assert_eq!(again.asking("t", key(1)), Asking::Refused, "the judged one");
    assert_eq!(again.asking("t", key(999)), Asking::Refused, "below it");
    assert_eq!(again.asking("t", NEW), Asking::Possible);
    let other = ProcessKey {
        pid: 1,
        start_ns: 10,
    };
    assert_eq!(again.asking("t", other), Asking::Possible, "the pid again");
    let kept = again.get(id).unwrap();
    assert!(kept.targets[0].connections.is_empty());
}

#[test]
fn more_of_a_tree_joins_what_waits_and_wider_steps_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut proposals = load(dir.path());
    let one = kept("t");
    let id = one.id;
    proposals.keep(one).unwrap();
    for pid in [1, 2, 2, 3] {
        let joined = proposals.join("t", isolate(), &target(pid)).unwrap();
        assert_eq!(joined.id, id);
    }
    assert_eq!(proposals.join("other", isolate(), &target(4)), None);
    let kill = Steps {
        stop: Stop::Kill,
        ..isolate()
    };
    assert_eq!(proposals.join("t", kill, &target(4)), None);
    proposals.flush();
    let again = load(dir.path());
    let targets = &again.get(id).unwrap().targets;
    let roots: Vec<u32> = targets.iter().map(|target| target.root.pid).collect();
    assert_eq!(roots, [1, 2, 3]);
    for pid in 10..100 {
        proposals.join("t", isolate(), &target(pid)).unwrap();
    }
    let kept = proposals.get(id).unwrap();
    assert_eq!(kept.targets.len(), 8);
    let newest = kept.targets[0].connections.last().unwrap();
    assert_eq!((kept.targets[0].connections.len(), newest.port), (16, 999));
    assert_eq!(kept.targets[0].below.len(), 64);
}

#[test]
fn no_more_are_kept_than_there_is_room_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut proposals = load(dir.path());
    for number in 0..MOST_WAITING {
        assert_eq!(proposals.asking("new", NEW), Asking::Possible);
        proposals.keep(kept(&format!("t{number}"))).unwrap();
    }
    assert_eq!(proposals.asking("new", NEW), Asking::Full);
    assert_eq!(proposals.asking("t0", NEW), Asking::Possible, "it joins");
    let first = proposals.waiting().next().unwrap().id;
    proposals.set(first, State::Ended(ending(ApprovalOutcome::Unanswered)));
    assert_eq!(proposals.asking("new", NEW), Asking::Possible);
    // Of those that ended the oldest are forgotten.
    for number in 0..200 {
        let one = kept(&format!("u{number}"));
        let id = one.id;
        proposals.keep(one).unwrap();
        proposals.set(id, State::Ended(ending(ApprovalOutcome::Withdrawn)));
    }
    assert!(matches!(
        proposals.answerable(first),
        Err(NoAnswer::Unknown(_))
    ));
    assert_eq!(load(dir.path()).waiting().count(), MOST_WAITING - 1);
}

#[test]
fn a_proposal_that_is_too_large_for_the_disk_was_never_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut proposals = load(dir.path());
    proposals.keep(kept("t")).unwrap();
    let huge = Target {
        exe: "x".repeat(5 << 20),
        ..target(1)
    };
    let huge = Kept::new("huge", BOOT, isolate(), terms(), huge);
    assert!(proposals.keep(huge).is_err());
    assert_eq!(proposals.waiting().count(), 1);
    assert_eq!(load(dir.path()).waiting().count(), 1);
}

#[test]
fn a_damaged_file_is_set_aside_and_what_waited_is_forgotten() {
    for damage in ["", "[{\"id\":", "{}", "[{\"id\": 1}]", "\0\0\0"] {
        let dir = tempfile::tempdir().unwrap();
        let one = kept("t");
        let id = one.id;
        load(dir.path()).keep(one).unwrap();
        let file = dir.path().join("proposals.json");
        std::fs::write(&file, damage).unwrap();
        let proposals = load(dir.path());
        assert!(proposals.was_damaged(), "{damage:?}");
        assert_eq!(proposals.answerable(id), Err(NoAnswer::Unknown(id)));
        assert!(!file.exists());
        assert!(dir.path().join("proposals.json.damaged").exists());
        assert!(!load(dir.path()).was_damaged(), "told once");
    }
}

#[test]
fn another_boot_leaves_the_time_and_forgets_the_processes() {
    let dir = tempfile::tempdir().unwrap();
    let one = kept("t");
    let (id, made) = (one.id, one.terms);
    load(dir.path()).keep(one).unwrap();
    let later = clocks(made.until.wall - SignedDuration::from_secs(200));
    let later = cordon_respond::proposal::Clocks {
        boot_ns: 5,
        ..later
    };
    let proposals = Proposals::load(dir.path(), "another", later);
    let kept = proposals.get(id).unwrap();
    assert!(!proposals.is_of_this_boot(kept));
    assert_eq!(kept.terms.until.wall, made.until.wall);
    assert_eq!(kept.terms.until.boot_ns, 5 + 200_000_000_000);
}

#[test]
fn who_opens_the_host_without_an_agent_ends_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = withdraw(dir.path(), &ending(ApprovalOutcome::Withdrawn)).unwrap();
    assert_eq!(nothing, []);
    assert!(!dir.path().join("proposals.json").exists());
    let one = kept("t");
    let id = one.id;
    load(dir.path()).keep(one).unwrap();
    let told = withdraw(dir.path(), &ending(ApprovalOutcome::Withdrawn)).unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].proposal, told[0].outcome),
        (id, ApprovalOutcome::Withdrawn)
    );
    assert!(matches!(
        load(dir.path()).answerable(id),
        Err(NoAnswer::Withdrawn { .. })
    ));
}
