//! The isolation machine in a world where anything may fail, come late, or be killed.
//!
//! The world carries out effects one after the other, as the agent does, with a disk and a kernel of
//! its own to compare with. What must always hold is asserted after every step.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod world;

use cordon_proto::policy::WithoutProof;
use cordon_proto::record::IsolationState;
use cordon_respond::isolation::{Effect, Input, Intent, Machine, RETRY, State};
use cordon_respond::proposal::Clocks;
use jiff::SignedDuration;
use proptest::prelude::*;
use world::{Finding, Move, World};

/// How far the wall clock is set at a time: days and decades, both ways.
const JUMPS: &[i64] = &[-20 * YEAR, -DAY, -60, 60, DAY, 20 * YEAR];
const DAY: i64 = 24 * 3600;
const YEAR: i64 = 365 * DAY;

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let policy = prop_oneof![Just(WithoutProof::RollBack), Just(WithoutProof::StayShut)];
    let finding = prop_oneof![
        4 => Just(Finding::Proved),
        1 => Just(Finding::Leak),
        1 => Just(Finding::ControllerSilent),
        1 => Just(Finding::RulesDiffer),
    ];
    let one = prop_oneof![
        2 => (prop::option::of(0..600u32), policy).prop_map(|(lease_seconds, without_proof)| {
            Move::Isolate { lease_seconds, without_proof }
        }),
        1 => Just(Move::Release),
        1 => Just(Move::Tamper),
        2 => (0..400u32).prop_map(|seconds| Move::Pass { seconds }),
        1 => prop::sample::select(JUMPS).prop_map(|by_seconds| Move::Set { by_seconds }),
        8 => (prop::bool::weighted(0.8), finding)
            .prop_map(|(succeeds, finding)| Move::Work { succeeds, finding }),
        1 => Just(Move::Crash),
    ];
    prop::collection::vec(one, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_happens_it_comes_to_rest_open_or_shut(moves in moves()) {
        World::after(moves).settle();
    }

    #[test]
    fn a_release_ends_open_whatever_happened_before(moves in moves()) {
        let mut world = World::after(moves);
        world.play(&Move::Release);
        world.settle();
        prop_assert!(world.machine.is_open());
    }

    #[test]
    fn once_the_lease_is_over_the_host_opens_also_after_a_restart(moves in moves(), killed: bool) {
        let mut world = World::after(moves);
        world.settle();
        let lease = world.machine.intent().and_then(|intent| intent.lease_expires_at);
        if let Some(over_at) = lease {
            world.now += over_at.duration_since(world.time()).max(SignedDuration::ZERO);
            world.play(if killed { &Move::Crash } else { &Move::Pass { seconds: 0 } });
            world.settle();
            prop_assert!(world.machine.is_open());
        }
    }

    #[test]
    fn a_restart_anywhere_leads_to_open_or_to_the_isolation_on_disk(moves in moves()) {
        let mut world = World::after(moves);
        let found = world.disk.clone().filter(|found| {
            // A lease that does not end while the world comes to rest.
            let lasts = |at| at > world.time() + RETRY * 40;
            !found.releasing && found.intent.lease_expires_at.is_none_or(lasts)
        });
        world.play(&Move::Crash);
        world.settle();
        if let Some(found) = found {
            let now = world.machine.intent().map(|intent| intent.id);
            prop_assert_eq!(now, Some(found.intent.id));
        }
    }
}

const ISOLATE: Move = Move::Isolate {
    lease_seconds: Some(3600),
    without_proof: WithoutProof::RollBack,
};
const STAY_SHUT: Move = Move::Isolate {
    lease_seconds: None,
    without_proof: WithoutProof::StayShut,
};
const WORKS: Move = works(Finding::Proved);
const FAILS: Move = Move::Work {
    succeeds: false,
    finding: Finding::Proved,
};

const fn works(finding: Finding) -> Move {
    Move::Work {
        succeeds: true,
        finding,
    }
}

/// One lease, whose whole length is counted by the time that really passes.
#[test]
fn a_wall_clock_that_is_set_opens_no_host_early_and_keeps_none_shut() {
    for by_seconds in JUMPS.iter().copied() {
        for killed in [false, true] {
            let mut world = World::after([ISOLATE]);
            world.settle();
            let began = world.now;
            world.play(&Move::Set { by_seconds });
            let restart = |world: &mut World| {
                if killed {
                    world.play(&Move::Crash);
                }
                world.settle();
            };
            restart(&mut world);
            assert!(!world.machine.is_open(), "set by {by_seconds} s");
            // Nor is the isolation left unrepaired until the clock is there again.
            world.play(&Move::Tamper);
            world.play(&FAILS);
            world.settle();
            assert!(world.kernel.is_some(), "set by {by_seconds} s");

            world.now = began + SignedDuration::from_secs(3600 - 120);
            world.play(&Move::Pass { seconds: 0 });
            assert!(!world.machine.is_open(), "set by {by_seconds} s");
            world.now = began + SignedDuration::from_secs(3600);
            world.play(&Move::Pass { seconds: 0 });
            restart(&mut world);
            assert!(world.machine.is_open(), "set by {by_seconds} s");
            assert_eq!(world.last_report().1, "lease is over");
        }
    }
}

/// After a reboot nothing but the wall clock knows how long the host was down.
#[test]
fn after_a_reboot_the_wall_clock_counts_and_a_lease_never_grows() {
    let lease = SignedDuration::from_secs(3600);
    let mut world = World::after([ISOLATE]);
    world.settle();
    let mut found = world.disk.clone().unwrap();
    found.anchor = None;
    let began = found.intent.started_at;
    let up = |seconds: i64| seconds.unsigned_abs() * 1_000_000_000;
    // What the wall clock shows at the boot, and how much of the lease is left then.
    for (shown, left) in [(0, 3600), (1800, 1800), (-DAY, 3600), (-20 * YEAR, 3600)] {
        let boot = Clocks {
            wall: began + SignedDuration::from_secs(shown),
            boot_ns: up(5),
        };
        let after = |seconds: i64| Clocks {
            // Meanwhile somebody sets it right, or wrong.
            wall: began + lease * 1000,
            boot_ns: up(5 + seconds),
        };
        let (machine, _) = Machine::restart(Some(found.clone()), boot);
        let mut early = machine.clone();
        early.step(Input::Tick, after(left - 1));
        assert!(matches!(early.state(), State::Shut(_)), "{shown}");
        let mut late = machine.clone();
        late.step(Input::Tick, after(left));
        assert!(matches!(late.state(), State::Releasing { .. }), "{shown}");
    }
    let over = Clocks {
        wall: began + lease,
        boot_ns: up(5),
    };
    let (machine, _) = Machine::restart(Some(found.clone()), over);
    assert!(matches!(machine.state(), State::Releasing { .. }));
    // An anchor that is later than now was made in another boot.
    found.anchor = Some(Clocks {
        wall: began,
        boot_ns: up(DAY),
    });
    let (machine, _) = Machine::restart(Some(found), over);
    assert!(matches!(machine.state(), State::Releasing { .. }));
}

#[test]
fn a_host_that_is_opened_on_a_disk_that_takes_nothing_is_open_and_says_so() {
    let mut world = World::after([ISOLATE]);
    world.settle();
    world.play(&Move::Release);
    world.waiting.clear();
    let why = "could not remove isolation.json";
    world.feed(Input::OpenedUntilRestart(why.into()));
    world.work(true, Finding::Proved);
    assert!(world.machine.is_open());
    let (state, reason) = world.last_report();
    assert_eq!(state, IsolationState::Released);
    assert_eq!(
        reason,
        format!("asked for; a restart shuts the host again, because the disk was not told: {why}")
    );
}

#[test]
fn disk_comes_before_the_drop_and_proof_after_it() {
    let mut world = World::after([ISOLATE]);
    let mut seen = Vec::new();
    while let Some(effect) = world.waiting.front() {
        seen.push(match effect {
            Effect::Persist(_) => "persist".to_owned(),
            Effect::Drop(_) => "drop".to_owned(),
            Effect::Probe(_) => "probe".to_owned(),
            Effect::Open(_) => "open".to_owned(),
            Effect::Report(report) => format!("report {:?}", report.state),
        });
        world.play(&WORKS);
    }
    let expected = [
        "persist",
        "drop",
        "report Applied",
        "probe",
        "report Confirmed",
    ];
    assert_eq!(seen, expected);
    assert_eq!(world.reports[1].event_to_drop_micros, Some(8_999));
}

#[test]
fn a_full_disk_drops_nothing() {
    let mut world = World::after([ISOLATE, FAILS]);
    world.settle();
    assert!(world.machine.is_open());
    assert_eq!(world.last_report(), (IsolationState::Failed, "disk full"));
}

#[test]
fn a_failed_proof_rolls_back_where_the_policy_says_so() {
    let mut world = World::after([ISOLATE, WORKS, WORKS, WORKS, works(Finding::Leak)]);
    world.settle();
    assert!(world.machine.is_open());
    let why = "rolled back: forbidden probe got through: tcp 192.0.2.1:7443 unmarked";
    assert_eq!(world.last_report(), (IsolationState::Released, why));
}

#[test]
fn a_failed_proof_stays_shut_where_the_policy_says_so_and_is_tried_again() {
    let mut world = World::after([STAY_SHUT, WORKS, WORKS, WORKS, works(Finding::Leak), WORKS]);
    assert_eq!(world.last_report().0, IsolationState::Unproven);
    world.settle();
    assert!(!world.machine.is_open());
    assert_eq!(world.last_report().0, IsolationState::Confirmed);
}

#[test]
fn a_controller_that_goes_away_does_not_open_a_host_that_was_proved() {
    let mut world = World::after([ISOLATE]);
    world.settle();
    world.play(&Move::Tamper);
    for next in [WORKS, WORKS, works(Finding::ControllerSilent), WORKS] {
        world.play(&next);
    }
    assert_eq!(world.last_report().0, IsolationState::Unproven);
    world.settle();
    assert!(!world.machine.is_open());
}

#[test]
fn a_second_isolation_only_lengthens_the_lease() {
    let mut world = World::after([ISOLATE]);
    world.settle();
    let first = world.machine.intent().unwrap().clone();
    let lease = |seconds| Move::Isolate {
        lease_seconds: Some(seconds),
        without_proof: WithoutProof::StayShut,
    };
    world.play(&lease(60));
    world.settle();
    assert_eq!(world.machine.intent(), Some(&first));
    world.play(&lease(7200));
    world.settle();
    let longer = world.machine.intent().unwrap();
    assert!(longer.lease_expires_at > first.lease_expires_at);
    let otherwise = Intent {
        lease_expires_at: first.lease_expires_at,
        ..longer.clone()
    };
    assert_eq!(otherwise, first);
    let report = world.reports.last().unwrap();
    assert_eq!(report.state, IsolationState::Confirmed);
    assert_eq!(report.lease_expires_at, longer.lease_expires_at);
    assert!(!report.probes.is_empty(), "the proof still holds");
}

#[test]
fn an_isolation_during_a_release_is_refused_and_says_so() {
    let mut world = World::after([ISOLATE]);
    world.settle();
    world.play(&Move::Release);
    world.play(&ISOLATE);
    world.settle();
    assert!(world.machine.is_open());
    let last = world.reports.iter().rev().take(2);
    let states: Vec<_> = last.map(|report| report.state).collect();
    assert_eq!(states, [IsolationState::Released, IsolationState::Failed]);
}
