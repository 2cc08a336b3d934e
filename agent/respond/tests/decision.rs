//! What the policy makes of a verdict: a row a case.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_proto::policy::{
    BlockRemote, BlockedPrograms, Caps, IsolationPolicy, Mode, Policy, Protection, Stop,
    Thresholds, WithoutProof,
};
use cordon_proto::verdict::{Stage, Verdict, VerdictKind};
use cordon_respond::{Action, Standing, Subject, decide};
use jiff::Timestamp;

const EXE: &str = "/usr/bin/perl";

const MODES: [Mode; 4] = [
    Mode::Observe,
    Mode::Recommend,
    Mode::Approve,
    Mode::Autonomous,
];

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn verdict(verdict: VerdictKind, score: f32) -> Verdict {
    Verdict {
        id: "a1".into(),
        score,
        verdict,
        techniques: Vec::new(),
        reasons: Vec::new(),
        stage: Stage::Model,
        model: "behavior-1@0123abcd".into(),
        micros: 10,
    }
}

fn malicious() -> Verdict {
    verdict(VerdictKind::Malicious, 0.97)
}

fn policy(mode: Mode) -> Policy {
    Policy {
        version: 7,
        site: "hq".into(),
        group: "servers".into(),
        issued_at: "2026-11-01T00:00:00Z".parse().unwrap(),
        expires_at: "2027-11-01T00:00:00Z".parse().unwrap(),
        mode,
        thresholds: None,
        isolation: IsolationPolicy {
            lease_seconds: 3600,
            without_proof: WithoutProof::RollBack,
            allow: Vec::new(),
            local_release: true,
        },
        stop: Stop::None,
        block_remote: None,
        cut_off: false,
        block_isolated: None,
        blocked_programs: BlockedPrograms::default(),
        protected_addresses: Vec::new(),
        approve: None,
        protection: Protection::default(),
        caps: Caps {
            isolations_per_hour: 2,
            hosts_at_once: None,
            ordered_per_hour: None,
            quiet_hours: Vec::new(),
        },
        protected_processes: Vec::new(),
        order_keys: Vec::new(),
        release_keys: Vec::new(),
    }
}

fn action(verdict: &Verdict, policy: Option<&Policy>, standing: &Standing) -> (Action, String) {
    let subject = Subject { exe: EXE.into() };
    let decision = decide(verdict, &subject, policy, standing, now());
    (decision.action, decision.reason)
}

#[test]
fn the_mode_says_how_far_a_malicious_verdict_goes() {
    for (mode, expected) in [
        (Mode::Observe, Action::Alert),
        (Mode::Recommend, Action::RecommendIsolate),
        (Mode::Approve, Action::AwaitApproval),
        (Mode::Autonomous, Action::Isolate),
    ] {
        let (found, reason) = action(&malicious(), Some(&policy(mode)), &Standing::default());
        assert_eq!(found, expected, "{mode:?}");
        assert!(reason.ends_with("(policy version 7)"), "{reason}");
    }
}

/// What is done to processes, and why.
fn stop(kind: VerdictKind, policy: &Policy, standing: &Standing) -> (Stop, String) {
    let subject = Subject { exe: EXE.into() };
    let verdict = verdict(kind, 0.97);
    let decision = decide(&verdict, &subject, Some(policy), standing, now());
    (decision.stop, decision.reason)
}

#[test]
fn processes_are_cut_off_in_mode_autonomous_alone_and_not_when_they_are_killed() {
    let subject = Subject { exe: EXE.into() };
    for mode in MODES {
        for stop in [Stop::None, Stop::Freeze, Stop::Kill] {
            for (kind, is_protected) in [
                (VerdictKind::Malicious, false),
                (VerdictKind::Malicious, true),
                (VerdictKind::Suspicious, false),
            ] {
                let policy = Policy {
                    stop,
                    cut_off: true,
                    protected_processes: is_protected.then(|| EXE.into()).into_iter().collect(),
                    ..policy(mode)
                };
                let verdict = verdict(kind, 0.97);
                let standing = Standing::default();
                let decision = decide(&verdict, &subject, Some(&policy), &standing, now());
                let wanted = mode == Mode::Autonomous
                    && kind == VerdictKind::Malicious
                    && !is_protected
                    && stop != Stop::Kill;
                assert_eq!(
                    decision.cut_off, wanted,
                    "{mode:?} {stop:?} {kind:?} {is_protected}"
                );
                assert_eq!(decision.reason.contains("are cut off the network"), wanted);
            }
        }
    }
}

#[test]
fn processes_are_stopped_in_mode_autonomous_alone() {
    for mode in MODES {
        for wanted in [Stop::None, Stop::Freeze, Stop::Kill] {
            let policy = Policy {
                stop: wanted,
                ..policy(mode)
            };
            for kind in [
                VerdictKind::NotEvaluable,
                VerdictKind::Benign,
                VerdictKind::Suspicious,
                VerdictKind::Malicious,
            ] {
                let acts = mode == Mode::Autonomous && kind == VerdictKind::Malicious;
                let expected = if acts { wanted } else { Stop::None };
                let (found, _) = stop(kind, &policy, &Standing::default());
                assert_eq!(found, expected, "{mode:?} {wanted:?} {kind:?}");
            }
        }
    }
}

#[test]
fn processes_are_stopped_in_an_isolated_host_and_beyond_the_cap_but_never_protected_ones() {
    let mut policy = Policy {
        stop: Stop::Kill,
        ..policy(Mode::Autonomous)
    };
    let isolated = Standing {
        isolated: true,
        ..Standing::default()
    };
    let capped = Standing {
        isolations_last_hour: 2,
        ..Standing::default()
    };
    for (standing, why) in [
        (isolated.clone(), "already isolated"),
        (capped.clone(), "the cap of 2"),
    ] {
        let (found, reason) = stop(VerdictKind::Malicious, &policy, &standing);
        assert_eq!(found, Stop::Kill, "{standing:?}");
        assert!(reason.contains(why), "{reason}");
        assert!(
            reason.ends_with("; it and what descends from it are killed (policy version 7)"),
            "{reason}"
        );
    }
    policy.protected_processes = vec![EXE.into()];
    for standing in [Standing::default(), isolated, capped] {
        let (found, reason) = stop(VerdictKind::Malicious, &policy, &standing);
        assert_eq!(found, Stop::None, "{standing:?}");
        assert!(!reason.contains("killed"), "{reason}");
    }
}

/// The same conditions as for processes: mode autonomous, malicious, not protected; also in an isolated host and beyond the cap.
#[test]
fn remote_ends_are_blocked_when_processes_would_be_stopped() {
    let wanted = BlockRemote { seconds: 900 };
    let subject = Subject { exe: EXE.into() };
    let capped = Standing {
        isolations_last_hour: 2,
        ..Standing::default()
    };
    let isolated = Standing {
        isolated: true,
        ..Standing::default()
    };
    for mode in MODES {
        for kind in [
            VerdictKind::NotEvaluable,
            VerdictKind::Benign,
            VerdictKind::Suspicious,
            VerdictKind::Malicious,
        ] {
            for standing in [&Standing::default(), &capped, &isolated] {
                for is_protected in [false, true] {
                    let policy = Policy {
                        block_remote: Some(wanted),
                        protected_processes: is_protected.then(|| EXE.into()).into_iter().collect(),
                        ..policy(mode)
                    };
                    let decision = decide(
                        &verdict(kind, 0.97),
                        &subject,
                        Some(&policy),
                        standing,
                        now(),
                    );
                    let acts =
                        mode == Mode::Autonomous && kind == VerdictKind::Malicious && !is_protected;
                    assert_eq!(
                        decision.block,
                        acts.then_some(wanted),
                        "{mode:?} {kind:?} {standing:?}"
                    );
                    assert_eq!(
                        decision
                            .reason
                            .contains("; its remote ends are blocked for 900 s"),
                        acts
                    );
                }
            }
        }
    }
    let without = decide(
        &malicious(),
        &subject,
        Some(&policy(Mode::Autonomous)),
        &Standing::default(),
        now(),
    );
    assert_eq!(without.block, None);
    let without = decide(&malicious(), &subject, None, &Standing::default(), now());
    assert_eq!(without.block, None);
}

#[test]
fn nothing_milder_than_malicious_acts_in_any_mode() {
    for mode in MODES {
        for (kind, expected) in [
            (VerdictKind::NotEvaluable, Action::Record),
            (VerdictKind::Benign, Action::Record),
            (VerdictKind::Suspicious, Action::Alert),
        ] {
            let verdict = verdict(kind, 0.99);
            let (found, _) = action(&verdict, Some(&policy(mode)), &Standing::default());
            assert_eq!(found, expected, "{kind:?} in {mode:?}");
        }
    }
}

#[test]
fn without_a_policy_nothing_is_allowed_but_telling() {
    let (found, reason) = action(&malicious(), None, &Standing::default());
    assert_eq!(found, Action::Alert);
    assert!(reason.contains("no policy is in force"), "{reason}");
}

#[test]
fn caps_protection_and_an_isolation_in_force_hold_back() {
    let autonomous = policy(Mode::Autonomous);
    let within = |isolations_last_hour| Standing {
        isolations_last_hour,
        ..Standing::default()
    };
    let (found, _) = action(&malicious(), Some(&autonomous), &within(1));
    assert_eq!(found, Action::Isolate);
    let (found, reason) = action(&malicious(), Some(&autonomous), &within(2));
    assert_eq!(found, Action::RecommendIsolate);
    assert!(reason.contains("reach the cap of 2"), "{reason}");

    let isolated = Standing {
        isolated: true,
        ..Standing::default()
    };
    let (found, _) = action(&malicious(), Some(&autonomous), &isolated);
    assert_eq!(found, Action::Alert);

    let old = Standing {
        is_from_before_opening: true,
        ..Standing::default()
    };
    let (found, reason) = action(&malicious(), Some(&autonomous), &old);
    assert_eq!(found, Action::Alert);
    assert!(reason.contains("before the host was opened"), "{reason}");

    let mut protective = autonomous;
    protective.protected_processes = vec![EXE.into()];
    let (found, reason) = action(&malicious(), Some(&protective), &within(0));
    assert_eq!(found, Action::RecommendIsolate);
    assert!(reason.contains("protected list"), "{reason}");
}

#[test]
fn an_expired_policy_is_named_as_stale_and_obeyed() {
    let mut stale = policy(Mode::Autonomous);
    stale.expires_at = now();
    let (found, reason) = action(&malicious(), Some(&stale), &Standing::default());
    assert_eq!(found, Action::Isolate);
    assert!(
        reason.contains("stale since 2026-11-24T12:00:00Z"),
        "{reason}"
    );
}

#[test]
fn the_policys_thresholds_overrule_the_judges_names() {
    let mut strict = policy(Mode::Autonomous);
    strict.thresholds = Some(Thresholds {
        suspicious: 0.5,
        malicious: 0.9,
    });
    for (kind, score, expected) in [
        (VerdictKind::Benign, 0.9, Action::Isolate),
        (VerdictKind::Malicious, 0.899, Action::Alert),
        (VerdictKind::Malicious, 0.499, Action::Record),
        (VerdictKind::NotEvaluable, 0.99, Action::Record),
    ] {
        let (found, _) = action(&verdict(kind, score), Some(&strict), &Standing::default());
        assert_eq!(found, expected, "{kind:?} at {score}");
    }
}

#[test]
fn a_score_that_is_no_number_is_no_judgement() {
    for score in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let verdict = verdict(VerdictKind::Malicious, score);
        let (found, reason) = action(
            &verdict,
            Some(&policy(Mode::Autonomous)),
            &Standing::default(),
        );
        assert_eq!(found, Action::Record, "{score}");
        assert!(reason.starts_with("not evaluable"), "{reason}");
    }
}

#[test]
fn every_action_has_the_name_that_its_json_has() {
    for action in [
        Action::Record,
        Action::Alert,
        Action::RecommendIsolate,
        Action::AwaitApproval,
        Action::Isolate,
    ] {
        let json = serde_json::to_value(action).unwrap();
        assert_eq!(json, action.name());
    }
}
