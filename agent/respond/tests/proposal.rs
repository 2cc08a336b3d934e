//! How a proposal ends, and what of it is carried out.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_proto::id::ProposalId;
use cordon_proto::policy::{AfterTime, Approve, BlockRemote, Mode, Policy, Stop};
use cordon_proto::record::{ApprovalOutcome, Steps};
use cordon_respond::proposal::{
    Clocks, Ending, LINE_DOUBT, Line, NoAnswer, State, Terms, TimeOver, allowed, covers,
    may_answer, time_over,
};
use cordon_respond::{Place, Standing, Subject, Taken};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use AfterTime::{Act, Nothing};

const RULES: [AfterTime; 2] = [Nothing, Act];
const LINES: [Line; 3] = [Line::Up, Line::Down, Line::Unknown];

fn start() -> Clocks {
    Clocks {
        wall: "2026-11-24T03:00:00Z".parse().unwrap(),
        boot_ns: 1_000_000_000_000,
    }
}

fn approve(unanswered: AfterTime, offline: AfterTime) -> Approve {
    Approve {
        seconds: 600,
        unanswered,
        offline,
    }
}

fn secs(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// The clocks after so many seconds on each.
fn at(wall: i64, boot: i64) -> Clocks {
    Clocks {
        wall: start().wall + secs(wall),
        boot_ns: start()
            .boot_ns
            .checked_add_signed(boot * 1_000_000_000)
            .unwrap(),
    }
}

#[test]
fn the_rule_is_that_of_the_line_when_the_time_is_over() {
    for unanswered in RULES {
        for offline in RULES {
            let rules = approve(unanswered, offline);
            let terms = Terms::new(rules, start());
            for line in LINES {
                assert_eq!(time_over(&terms, rules, line, at(599, 599)), None);
            }
            let late = at(1000, 1000);
            let over = |line| time_over(&terms, rules, line, late);
            let up = TimeOver {
                outcome: ApprovalOutcome::Unanswered,
                rule: unanswered,
            };
            let down = TimeOver {
                outcome: ApprovalOutcome::Offline,
                rule: offline,
            };
            assert_eq!(over(Line::Up), Some(up));
            assert_eq!(over(Line::Down), Some(down));
            let agreed = (unanswered == offline).then_some(down);
            assert_eq!(over(Line::Unknown), agreed, "{unanswered:?} {offline:?}");
        }
    }
}

/// Forward or back: what acts goes by the first clock that is there, what ends goes by the last one.
#[test]
fn a_clock_that_is_set_never_leaves_the_host_open_for_longer() {
    for (wall, boot) in [(600, 1), (1, 600), (-86_400, 600), (86_400, 1)] {
        for line in [Line::Up, Line::Down] {
            let acts = approve(Act, Act);
            let over = time_over(&Terms::new(acts, start()), acts, line, at(wall, boot));
            assert_eq!(over.unwrap().rule, Act, "{wall} {boot}");
            let ends = approve(Nothing, Nothing);
            let over = time_over(&Terms::new(ends, start()), ends, line, at(wall, boot));
            assert_eq!(over, None, "{wall} {boot}");
        }
    }
}

/// A line that was cut without a word is known to be down only a while later.
#[test]
fn where_offline_acts_an_unanswered_end_waits_until_the_line_is_known_to_stand() {
    let rules = approve(Nothing, Act);
    let terms = Terms::new(rules, start());
    let doubt = LINE_DOUBT.as_secs();
    let in_doubt = at(600 + doubt - 1, 600 + doubt - 1);
    assert_eq!(time_over(&terms, rules, Line::Up, in_doubt), None);
    assert_eq!(
        time_over(&terms, rules, Line::Down, in_doubt).unwrap().rule,
        Act
    );
    let after = at(600 + doubt, 600 + doubt);
    assert_eq!(
        time_over(&terms, rules, Line::Up, after).unwrap().rule,
        Nothing
    );
}

#[test]
fn it_acts_only_where_the_policy_of_then_and_the_one_of_now_both_say_so() {
    for then in RULES {
        for now in RULES {
            let terms = Terms::new(approve(then, then), start());
            let over = time_over(&terms, approve(now, now), Line::Up, at(700, 700)).unwrap();
            assert_eq!(over.rule, then.min(now));
        }
    }
}

#[test]
fn after_a_reboot_what_is_left_by_the_wall_counts_and_never_more_than_all_of_it() {
    for (wall, left) in [(100, 500), (600, 0), (9_000, 0), (-9_000, 600)] {
        let mut terms = Terms::new(approve(Act, Act), start());
        let now = Clocks {
            boot_ns: 5_000_000_000,
            ..at(wall, 0)
        };
        terms.rearm(secs(600), now);
        let until = terms.until.boot_ns - now.boot_ns;
        assert_eq!(until, left * 1_000_000_000, "{wall}");
        assert_eq!(terms.until.wall, start().wall + secs(600));
    }
}

proptest! {
    /// Whatever the clocks do: nothing acts or ends before any of them is there, and all has ended when both are well past.
    #[test]
    fn no_proposal_ends_early_and_none_waits_for_ever(
        wall in -100_000i64..100_000, boot in 0i64..100_000, then in 0usize..4, now in 0usize..4, line in 0usize..2,
    ) {
        let rules = |n: usize| approve(RULES[n % 2], RULES[n / 2]);
        let terms = Terms::new(rules(then), start());
        let over = time_over(&terms, rules(now), LINES[line], at(wall, boot));
        if wall < 600 && boot < 600 {
            prop_assert_eq!(over, None);
        }
        let doubt = LINE_DOUBT.as_secs();
        if wall >= 600 + doubt && boot >= 600 + doubt {
            prop_assert!(over.is_some());
        }
        if let Some(TimeOver { rule: Nothing, .. }) = over {
            prop_assert!(wall >= 600 && boot >= 600);
        }
    }

    #[test]
    fn what_is_carried_out_is_never_more_than_proposed_nor_more_than_the_policy_of_now_does(
        isolate in any::<bool>(), then in steps(), policy in policies(), isolated in any::<bool>(), isolations in 0u32..4, is_protected in any::<bool>(),
    ) {
        let proposed = Steps { isolate, ..then };
        let subject = Subject { exe: "/usr/bin/perl".into() };
        let policy = Policy {
            protected_processes: is_protected.then(|| subject.exe.clone()).into_iter().collect(),
            ..policy
        };
        let standing = Standing { isolated, isolations_last_hour: isolations, ..Standing::default() };
        let found = allowed(proposed, &subject, Some(&policy), &standing);
        let is_held = is_protected || !matches!(policy.mode, Mode::Approve | Mode::Autonomous);
        prop_assert_eq!(found.is_err(), is_held);
        if let Ok(found) = found {
            prop_assert!(covers(proposed, found), "{:?} {:?}", proposed, found);
            prop_assert!(!found.isolate || isolated || isolations < 2);
            prop_assert!(found.stop <= policy.stop);
            prop_assert!(!found.cut_off || policy.cut_off);
            let seconds = found.block.map_or(0, |block| block.seconds);
            prop_assert!(seconds <= policy.block_remote.map_or(0, |block| block.seconds));
        }
    }
}

fn steps() -> impl Strategy<Value = Steps> {
    let block = prop::option::of((1u64..100).prop_map(|seconds| BlockRemote { seconds }));
    (0usize..3, any::<bool>(), block).prop_map(|(stop, cut_off, block)| Steps {
        isolate: false,
        stop: [Stop::None, Stop::Freeze, Stop::Kill][stop],
        cut_off,
        block,
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    (0usize..4, steps()).prop_map(|(mode, steps)| {
        let mode = ["observe", "recommend", "approve", "autonomous"][mode];
        let mut policy: Policy = serde_json::from_value(serde_json::json!({
            "version": 7, "site": "hq", "group": "servers",
            "issued_at": "2026-11-01T00:00:00Z", "expires_at": "2027-11-01T00:00:00Z",
            "mode": mode,
            "isolation": {"lease_seconds": 60, "without_proof": "stay_shut"},
            "caps": {"isolations_per_hour": 2}, "order_keys": [],
        }))
        .unwrap();
        (policy.stop, policy.cut_off, policy.block_remote) =
            (steps.stop, steps.cut_off, steps.block);
        policy
    })
}

/// An isolation in force has its place, and what hits the judged processes alone needs none.
#[test]
fn an_isolation_whose_time_is_over_is_left_out_where_the_group_has_no_place_for_it() {
    let isolate = Steps {
        isolate: true,
        stop: Stop::Kill,
        ..Steps::default()
    };
    let policy = |hosts_at_once: Option<u32>| -> Policy {
        let mut policy = serde_json::json!({
            "version": 7, "site": "hq", "group": "servers",
            "issued_at": "2026-11-01T00:00:00Z", "expires_at": "2027-11-01T00:00:00Z",
            "mode": "approve", "stop": "kill",
            "isolation": {"lease_seconds": 60, "without_proof": "stay_shut"},
            "caps": {"isolations_per_hour": 2}, "order_keys": [],
        });
        if let Some(hosts) = hosts_at_once {
            policy["caps"]["hosts_at_once"] = hosts.into();
        }
        serde_json::from_value(policy).unwrap()
    };
    let refused = || Place::Refused(Taken::new(1, &["ep1".to_owned()]));
    for (hosts_at_once, place, isolated, is_left) in [
        (Some(1), Place::NotAsked, false, true),
        (Some(1), Place::Granted, false, true),
        (Some(1), Place::Unknown, false, true),
        (Some(1), refused(), false, false),
        (Some(1), refused(), true, true),
        (None, refused(), false, true),
    ] {
        let standing = Standing {
            isolated,
            place,
            ..Standing::default()
        };
        let policy = policy(hosts_at_once);
        let found = allowed(isolate, &Subject::default(), Some(&policy), &standing).unwrap();
        assert_eq!(
            (found.isolate, found.stop),
            (is_left, Stop::Kill),
            "{standing:?}"
        );
    }
}

#[test]
fn without_a_policy_nothing_is_carried_out() {
    let isolate = Steps {
        isolate: true,
        ..Steps::default()
    };
    let why = allowed(isolate, &Subject::default(), None, &Standing::default()).unwrap_err();
    assert_eq!(why, "no policy is in force");
}

#[test]
fn a_proposal_takes_one_answer_and_says_why_it_takes_no_other() {
    let id: ProposalId = "01890000-0000-7000-8000-000000000004".parse().unwrap();
    assert_eq!(may_answer(id, &State::Waiting), Ok(()));
    let ending = |outcome, rule, by: Option<&str>| Ending {
        outcome,
        rule,
        at: "2026-11-24T03:10:00Z".parse::<Timestamp>().unwrap(),
        order: None,
        by: by.map(str::to_owned),
        reason: "why".to_owned(),
    };
    for (ending, said) in [
        (
            ending(ApprovalOutcome::Approved, None, Some("ada")),
            "answered before: approved at 2026-11-24T03:10:00Z by ada",
        ),
        (
            ending(ApprovalOutcome::Refused, None, None),
            "answered before: refused at 2026-11-24T03:10:00Z",
        ),
        (
            ending(ApprovalOutcome::Unanswered, Some(Nothing), None),
            "over at 2026-11-24T03:10:00Z: nothing was done",
        ),
        (
            ending(ApprovalOutcome::Offline, Some(Act), None),
            "over at 2026-11-24T03:10:00Z: it was carried out",
        ),
        (
            ending(ApprovalOutcome::Withdrawn, None, None),
            "the host was opened",
        ),
    ] {
        for state in [State::Carrying(ending.clone()), State::Ended(ending)] {
            let why = may_answer(id, &state).unwrap_err().to_string();
            assert!(why.contains(said) && why.contains("01890000"), "{why}");
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
        }
    }
    let unknown = NoAnswer::Unknown(id).to_string();
    assert!(unknown.contains("has no proposal 01890000"), "{unknown}");
}
