//! What is proposed in place of being done: mode approve, quiet hours, and a group that has no place for one more.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_proto::policy::{Approve, BlockRemote, Mode, Policy, Stop};
use cordon_proto::record::Steps;
use cordon_proto::verdict::Verdict;
use cordon_respond::{Action, Asking, Decision, Place, Standing, Subject, Taken, decide};
use jiff::Timestamp;

const EXE: &str = "/usr/bin/perl";

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn malicious() -> Verdict {
    serde_json::from_value(serde_json::json!({
        "id": "a1", "score": 0.97, "verdict": "malicious", "techniques": [], "reasons": [],
        "stage": "model", "model": "behavior-1@0123abcd", "micros": 10,
    }))
    .unwrap()
}

fn policy(mode: Mode) -> Policy {
    serde_json::from_value(serde_json::json!({
        "version": 7, "site": "hq", "group": "servers", "mode": mode,
        "issued_at": "2026-11-01T00:00:00Z", "expires_at": "2027-11-01T00:00:00Z",
        "isolation": {"lease_seconds": 60, "without_proof": "stay_shut"},
        "caps": {"isolations_per_hour": 2}, "order_keys": [],
    }))
    .unwrap()
}

/// Everything that a policy can do about processes, with quiet hours on Tuesdays, which `now` is one of.
fn eager(mode: Mode, is_quiet: bool) -> Policy {
    let quiet = serde_json::json!({"days": ["tue"], "from": "08:00", "to": "18:00", "zone": "UTC"});
    let mut policy = Policy {
        stop: Stop::Freeze,
        cut_off: true,
        block_remote: Some(BlockRemote { seconds: 900 }),
        approve: Some(Approve::default()),
        ..policy(mode)
    };
    if is_quiet {
        policy.caps.quiet_hours = vec![serde_json::from_value(quiet).unwrap()];
    }
    policy
}

fn taken(decision: &Decision) -> Steps {
    Steps {
        isolate: decision.action == Action::Isolate,
        stop: decision.stop,
        cut_off: decision.cut_off,
        block: decision.block,
    }
}

#[test]
fn mode_approve_proposes_exactly_what_mode_autonomous_would_do_and_does_none_of_it() {
    for isolated in [false, true] {
        for isolations_last_hour in [0, 2] {
            for is_from_before_opening in [false, true] {
                for is_protected in [false, true] {
                    for has_steps in [false, true] {
                        let standing = Standing {
                            isolated,
                            isolations_last_hour,
                            is_from_before_opening,
                            ..Standing::default()
                        };
                        let decided = |mode| {
                            let base = if has_steps {
                                eager(mode, false)
                            } else {
                                policy(mode)
                            };
                            let protected = is_protected.then(|| EXE.into()).into_iter().collect();
                            let policy = Policy {
                                protected_processes: protected,
                                ..base
                            };
                            let subject = Subject { exe: EXE.into() };
                            decide(&malicious(), &subject, Some(&policy), &standing, now())
                        };
                        let (autonomous, approve) =
                            (decided(Mode::Autonomous), decided(Mode::Approve));
                        let wanted = Some(taken(&autonomous)).filter(|steps| !steps.is_none());
                        assert_eq!(approve.propose, wanted, "{standing:?}");
                        assert!(taken(&approve).is_none(), "{approve:?}");
                        assert_eq!(approve.action == Action::AwaitApproval, wanted.is_some());
                        assert_eq!(autonomous.propose, None);
                        if wanted.is_none() {
                            assert_eq!(approve.action, autonomous.action);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn in_quiet_hours_milder_steps_go_on_and_the_isolation_waits_for_a_yes() {
    let subject = Subject { exe: EXE.into() };
    let decided = |policy: &Policy| {
        decide(
            &malicious(),
            &subject,
            Some(policy),
            &Standing::default(),
            now(),
        )
    };
    let quiet = decided(&eager(Mode::Autonomous, true));
    let open = decided(&eager(Mode::Autonomous, false));
    assert_eq!(quiet.action, Action::AwaitApproval);
    let isolate = Steps {
        isolate: true,
        ..Steps::default()
    };
    assert_eq!(quiet.propose, Some(isolate));
    assert_eq!(open.action, Action::Isolate);
    assert_eq!(
        taken(&quiet),
        Steps {
            isolate: false,
            ..taken(&open)
        }
    );
    assert!(
        quiet
            .reason
            .contains("in quiet hours (tue 08:00-18:00 UTC)"),
        "{}",
        quiet.reason
    );

    let without = Policy {
        approve: None,
        ..eager(Mode::Autonomous, true)
    };
    let without = decided(&without);
    assert_eq!(
        (without.action, without.propose),
        (Action::RecommendIsolate, None)
    );
    assert_eq!(taken(&without), taken(&quiet));
    // They say nothing to a mode that asks anyway.
    let (asked, quiet) = (
        decided(&eager(Mode::Approve, false)),
        decided(&eager(Mode::Approve, true)),
    );
    assert_eq!(asked, quiet);
}

#[test]
fn nobody_is_asked_again_who_said_no_or_when_no_more_is_kept() {
    let subject = Subject { exe: EXE.into() };
    for (asking, action, said) in [
        (Asking::Refused, Action::Alert, "somebody said no"),
        (Asking::Full, Action::RecommendIsolate, "no more proposals"),
    ] {
        let standing = Standing {
            asking,
            ..Standing::default()
        };
        for policy in [eager(Mode::Approve, false), eager(Mode::Autonomous, true)] {
            let decision = decide(&malicious(), &subject, Some(&policy), &standing, now());
            assert_eq!((decision.action, decision.propose), (action, None));
            assert!(decision.reason.contains(said), "{}", decision.reason);
        }
        let autonomous = eager(Mode::Autonomous, false);
        let decision = decide(&malicious(), &subject, Some(&autonomous), &standing, now());
        assert_eq!(decision.action, Action::Isolate);
    }
}

/// With a policy that lets two hosts of the group be isolated at one time.
fn at_once(mut policy: Policy, place: Place) -> Decision {
    policy.caps.hosts_at_once = Some(2);
    let subject = Subject { exe: EXE.into() };
    let standing = Standing {
        place,
        ..Standing::default()
    };
    decide(&malicious(), &subject, Some(&policy), &standing, now())
}

fn taken_by_others() -> Place {
    let names = ["ep1".to_owned(), "ep2\u{1b}[2J".to_owned()];
    Place::Refused(Taken::new(2, &names))
}

#[test]
fn a_place_is_asked_for_only_where_the_host_would_be_isolated_unasked() {
    for mode in [
        Mode::Observe,
        Mode::Recommend,
        Mode::Approve,
        Mode::Autonomous,
    ] {
        for is_quiet in [false, true] {
            let decision = at_once(eager(mode, is_quiet), Place::NotAsked);
            let isolates = mode == Mode::Autonomous && !is_quiet;
            assert_eq!(
                decision.asks_for_place,
                isolates.then_some(2),
                "{mode:?} {is_quiet}"
            );
            assert_eq!(decision.action == Action::Isolate, isolates);
        }
    }
    let standing = Standing {
        isolations_last_hour: 2,
        ..Standing::default()
    };
    let mut policy = eager(Mode::Autonomous, false);
    policy.caps.hosts_at_once = Some(2);
    let subject = Subject { exe: EXE.into() };
    let capped = decide(&malicious(), &subject, Some(&policy), &standing, now());
    assert_eq!(capped.asks_for_place, None);
    policy.caps.hosts_at_once = None;
    let standing = Standing::default();
    let uncapped = decide(&malicious(), &subject, Some(&policy), &standing, now());
    assert_eq!(
        (uncapped.action, uncapped.asks_for_place),
        (Action::Isolate, None)
    );
}

/// The others have nothing to do with what hits nobody but the judged processes.
#[test]
fn without_a_place_the_isolation_waits_for_a_yes_and_milder_steps_go_on() {
    let asked = at_once(eager(Mode::Autonomous, false), Place::NotAsked);
    let refused = at_once(eager(Mode::Autonomous, false), taken_by_others());
    let isolate = Steps {
        isolate: true,
        ..Steps::default()
    };
    assert_eq!(refused.asks_for_place, None);
    assert_eq!(
        (refused.action, refused.propose),
        (Action::AwaitApproval, Some(isolate))
    );
    assert_eq!(
        taken(&refused),
        Steps {
            isolate: false,
            ..taken(&asked)
        }
    );
    let said = "2 isolated hosts of the group (ep1, ep2[2J) reach the cap of 2 at one time";
    assert!(refused.reason.contains(said), "{}", refused.reason);
    assert!(
        refused.reason_zh.contains("ep1") && !refused.reason_zh.contains('\u{1b}'),
        "{}",
        refused.reason_zh
    );
    let without = Policy {
        approve: None,
        ..eager(Mode::Autonomous, false)
    };
    let without = at_once(without, taken_by_others());
    assert_eq!(
        (without.action, without.propose),
        (Action::RecommendIsolate, None)
    );
    assert_eq!(taken(&without), taken(&refused));
}

#[test]
fn with_a_place_or_without_an_answer_the_host_is_isolated() {
    let eager = || eager(Mode::Autonomous, false);
    let granted = at_once(eager(), Place::Granted);
    assert_eq!(
        (granted.action, granted.asks_for_place),
        (Action::Isolate, None)
    );
    assert!(
        granted.reason.contains("within the caps"),
        "{}",
        granted.reason
    );
    let unknown = at_once(eager(), Place::Unknown);
    assert_eq!(
        (unknown.action, unknown.asks_for_place),
        (Action::Isolate, None)
    );
    assert!(
        unknown.reason.contains("the controller did not say"),
        "{}",
        unknown.reason
    );
    assert_eq!(taken(&granted), taken(&unknown));
}
