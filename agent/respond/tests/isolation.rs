//! The isolation machine in a world where anything may fail, come late, or be killed.
//!
//! The world carries out effects one after the other, as the agent does, with a disk and a kernel of
//! its own to compare with. What must always hold is asserted after every step.

use std::collections::VecDeque;

use cordon_proto::policy::WithoutProof;
use cordon_proto::record::{IsolationReport, IsolationState, Probe};
use cordon_respond::isolation::{
    Effect, Input, Intent, Lease, Machine, Persisted, RETRY, Standing, State,
};
use cordon_respond::proof::{Evidence, Proof, weigh};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

/// What the probes of the world say.
#[derive(Clone, Copy, Debug)]
enum Finding {
    Proved,
    Leak,
    ControllerSilent,
    RulesDiffer,
}

#[derive(Clone, Debug)]
enum Move {
    Isolate {
        lease_seconds: Option<u32>,
        without_proof: WithoutProof,
    },
    Release,
    Tamper,
    Pass {
        seconds: u32,
    },
    /// The next effect is carried out, with this outcome.
    Work {
        succeeds: bool,
        finding: Finding,
    },
    /// `kill -9`, then a start: what was asked for and not done is forgotten.
    Crash,
}

/// Disk, kernel, clock and the effects that wait for their turn.
struct World {
    machine: Machine,
    now: Timestamp,
    waiting: VecDeque<Effect>,
    disk: Option<Persisted>,
    /// Hash of the rules in force.
    kernel: Option<String>,
    /// Hash of the rules that were proved last.
    proved: Option<String>,
    reports: Vec<IsolationReport>,
    made: u32,
}

impl World {
    fn new() -> Self {
        Self {
            machine: Machine::new(),
            now: "2026-11-24T12:00:00Z".parse().unwrap(),
            waiting: VecDeque::new(),
            disk: None,
            kernel: None,
            proved: None,
            reports: Vec::new(),
            made: 0,
        }
    }

    fn after(moves: impl IntoIterator<Item = Move>) -> Self {
        let mut world = Self::new();
        moves.into_iter().for_each(|next| world.play(next));
        world
    }

    fn intent(&mut self, lease_seconds: Option<u32>, without_proof: WithoutProof) -> Intent {
        self.made += 1;
        let lease = |seconds: u32| self.now + SignedDuration::from_secs(seconds.into());
        Intent {
            id: format!("00000000-0000-7000-8000-{:012}", self.made)
                .parse()
                .unwrap(),
            reason: "reverse shell".into(),
            tree: None,
            started_at: self.now,
            lease_expires_at: lease_seconds.map(lease),
            policy_version: 1,
            without_proof,
            event_mono_ns: Some(1_000),
        }
    }

    fn play(&mut self, next: Move) {
        match next {
            Move::Isolate {
                lease_seconds,
                without_proof,
            } => {
                let intent = self.intent(lease_seconds, without_proof);
                self.feed(Input::Isolate(intent));
            }
            Move::Release => self.feed(Input::Release("asked for".into())),
            Move::Tamper => {
                self.kernel = None;
                self.feed(Input::Tampered);
            }
            Move::Pass { seconds } => {
                self.now += SignedDuration::from_secs(seconds.into());
                self.feed(Input::Tick);
            }
            Move::Work { succeeds, finding } => {
                self.work(succeeds, finding);
            }
            Move::Crash => self.crash(),
        }
    }

    fn crash(&mut self) {
        let (machine, effects) = Machine::restart(self.disk.clone(), self.now);
        let found = self.disk.as_ref().map(|found| found.intent.id);
        assert_eq!(machine.intent().map(|intent| intent.id), found);
        self.machine = machine;
        self.waiting = effects.into();
    }

    fn feed(&mut self, input: Input) {
        if matches!(&input, Input::Probed(evidence) if weigh(evidence) == Proof::Proved) {
            self.proved.clone_from(&self.kernel);
        }
        for effect in self.machine.step(input, self.now) {
            if let Effect::Report(report) = &effect
                && report.state == IsolationState::Confirmed
            {
                assert!(report.rules_sha256.is_some(), "confirmed without rules");
                assert_eq!(report.rules_sha256, self.proved, "not proved");
                assert_eq!(report.rules_sha256, self.kernel, "proof of other rules");
            }
            self.waiting.push_back(effect);
        }
    }

    /// Carries out the next effect; `false` when there is none.
    fn work(&mut self, succeeds: bool, finding: Finding) -> bool {
        let Some(effect) = self.waiting.pop_front() else {
            return false;
        };
        let outcome = match effect {
            Effect::Report(report) => {
                self.reports.push(report);
                return true;
            }
            Effect::Persist(_) if !succeeds => Input::PersistFailed("disk full".into()),
            Effect::Persist(intent) => self.persist(intent),
            Effect::Drop(intent) => self.drop_packets(&intent, succeeds),
            Effect::Probe(_) => Input::Probed(evidence(finding)),
            Effect::Open(_) => self.open(succeeds),
        };
        self.feed(outcome);
        true
    }

    fn persist(&mut self, intent: Intent) -> Input {
        self.disk = Some(Persisted {
            intent,
            releasing: false,
        });
        Input::Persisted
    }

    fn drop_packets(&mut self, intent: &Intent, succeeds: bool) -> Input {
        let disk = self.disk.as_ref().expect("a drop with nothing on disk");
        assert_eq!(disk.intent.id, intent.id, "a drop with another id on disk");
        let (on_disk, dropped) = (disk.intent.lease_expires_at, intent.lease_expires_at);
        assert!(
            at_least(on_disk, dropped),
            "a drop without its lease on disk"
        );
        if !succeeds {
            return Input::DropFailed("nft refused".into());
        }
        self.made += 1;
        let rules_sha256 = format!("{:064x}", self.made);
        self.kernel = Some(rules_sha256.clone());
        Input::Dropped {
            rules_sha256,
            dropped_at_mono_ns: 9_000_000,
        }
    }

    /// That a release has begun is on disk before the rules go; a failure leaves it there.
    fn open(&mut self, succeeds: bool) -> Input {
        if let Some(disk) = &mut self.disk {
            disk.releasing = true;
        }
        if !succeeds {
            return Input::OpenFailed("nft refused".into());
        }
        self.kernel = None;
        self.disk = None;
        Input::Opened
    }

    /// Everything works from now on: until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..20 {
            while self.work(true, Finding::Proved) {}
            self.now += RETRY;
            self.feed(Input::Tick);
            if self.waiting.is_empty() {
                return self.check_settled();
            }
        }
        panic!("never comes to rest: {:?}", self.machine);
    }

    fn check_settled(&self) {
        match self.machine.state() {
            State::Open => assert!(self.kernel.is_none() && self.disk.is_none(), "not open"),
            State::Shut(shut) => {
                assert_eq!(shut.standing, Standing::Proved);
                assert_eq!(Some(&shut.rules_sha256), self.kernel.as_ref());
                let disk = self.disk.as_ref().expect("shut with nothing on disk");
                assert_eq!(disk.intent, shut.intent);
            }
            other => panic!("at rest in {other:?}"),
        }
    }

    fn last_report(&self) -> (IsolationState, &str) {
        let report = self.reports.last().expect("nothing was reported");
        (report.state, &report.reason)
    }
}

fn at_least(lease: Lease, wanted: Lease) -> bool {
    match (lease, wanted) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(lease), Some(wanted)) => lease >= wanted,
    }
}

fn evidence(finding: Finding) -> Evidence {
    let probe = |target: &str, reached, expected| Probe {
        target: target.into(),
        reached,
        expected,
    };
    let reached = !matches!(finding, Finding::ControllerSilent);
    let leaks = matches!(finding, Finding::Leak);
    Evidence {
        rules_whole: !matches!(finding, Finding::RulesDiffer),
        controller_was_reachable: true,
        probes: vec![
            probe("tcp 192.0.2.1:7443 marked", reached, true),
            probe("tcp 192.0.2.1:7443 unmarked", leaks, false),
        ],
    }
}

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
        world.play(Move::Release);
        world.settle();
        prop_assert!(world.machine.is_open());
    }

    #[test]
    fn once_the_lease_is_over_the_host_opens_also_after_a_restart(moves in moves(), killed: bool) {
        let mut world = World::after(moves);
        world.settle();
        let lease = world.machine.intent().and_then(|intent| intent.lease_expires_at);
        if let Some(over_at) = lease {
            world.now = world.now.max(over_at);
            world.play(if killed { Move::Crash } else { Move::Pass { seconds: 0 } });
            world.settle();
            prop_assert!(world.machine.is_open());
        }
    }

    #[test]
    fn a_restart_anywhere_leads_to_open_or_to_the_isolation_on_disk(moves in moves()) {
        let mut world = World::after(moves);
        let found = world.disk.clone().filter(|found| {
            // A lease that does not end while the world comes to rest.
            let lasts = |at| at > world.now + RETRY * 40;
            !found.releasing && found.intent.lease_expires_at.is_none_or(lasts)
        });
        world.play(Move::Crash);
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
        world.play(WORKS);
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
    world.play(Move::Tamper);
    for next in [WORKS, WORKS, works(Finding::ControllerSilent), WORKS] {
        world.play(next);
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
    world.play(lease(60));
    world.settle();
    assert_eq!(world.machine.intent(), Some(&first));
    world.play(lease(7200));
    world.settle();
    let longer = world.machine.intent().unwrap();
    assert!(longer.lease_expires_at > first.lease_expires_at);
    let otherwise = Intent {
        lease_expires_at: first.lease_expires_at,
        ..longer.clone()
    };
    assert_eq!(otherwise, first);
}

#[test]
fn an_isolation_during_a_release_is_refused_and_says_so() {
    let mut world = World::after([ISOLATE]);
    world.settle();
    world.play(Move::Release);
    world.play(ISOLATE);
    world.settle();
    assert!(world.machine.is_open());
    let last = world.reports.iter().rev().take(2);
    let states: Vec<_> = last.map(|report| report.state).collect();
    assert_eq!(states, [IsolationState::Released, IsolationState::Failed]);
}
