//! A disk, a kernel and a clock, and an agent that carries out effects one after the other.

use std::collections::VecDeque;

use cordon_proto::policy::WithoutProof;
use cordon_proto::record::{IsolationReport, IsolationState, Probe};
use cordon_respond::isolation::{
    Effect, Input, Intent, Lease, Machine, Persisted, RETRY, Standing, State,
};
use cordon_respond::proof::{Evidence, Proof, weigh};
use cordon_respond::proposal::Clocks;
use jiff::{SignedDuration, Timestamp};

/// What the probes of the world say.
#[derive(Clone, Copy, Debug)]
pub enum Finding {
    Proved,
    Leak,
    ControllerSilent,
    RulesDiffer,
}

#[derive(Clone, Debug)]
pub enum Move {
    Isolate {
        lease_seconds: Option<u32>,
        without_proof: WithoutProof,
    },
    Release,
    Tamper,
    Pass {
        seconds: u32,
    },
    /// Somebody sets the wall clock.
    Set {
        by_seconds: i64,
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
pub struct World {
    pub machine: Machine,
    /// The true time.
    pub now: Timestamp,
    /// What the wall clock shows too much.
    pub wrong: SignedDuration,
    pub waiting: VecDeque<Effect>,
    pub disk: Option<Persisted>,
    /// Hash of the rules in force.
    pub kernel: Option<String>,
    /// Hash of the rules that were proved last.
    pub proved: Option<String>,
    pub reports: Vec<IsolationReport>,
    pub made: u32,
}

impl World {
    pub fn new() -> Self {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        let clocks = Clocks {
            wall: now,
            boot_ns: 0,
        };
        Self {
            machine: Machine::new(clocks),
            now,
            wrong: SignedDuration::ZERO,
            waiting: VecDeque::new(),
            disk: None,
            kernel: None,
            proved: None,
            reports: Vec::new(),
            made: 0,
        }
    }

    pub fn after(moves: impl IntoIterator<Item = Move>) -> Self {
        let mut world = Self::new();
        moves.into_iter().for_each(|next| world.play(&next));
        world
    }

    /// The machine was booted at the beginning of the world.
    pub fn clocks(&self) -> Clocks {
        let began: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let up = self.now.duration_since(began);
        Clocks {
            wall: self.now.checked_add(self.wrong).unwrap(),
            boot_ns: up.as_nanos().try_into().unwrap(),
        }
    }

    /// As leases are counted.
    pub fn time(&self) -> Timestamp {
        self.machine.time(self.clocks())
    }

    pub fn intent(&mut self, lease_seconds: Option<u32>, without_proof: WithoutProof) -> Intent {
        self.made += 1;
        let time = self.time();
        let lease = |seconds: u32| time + SignedDuration::from_secs(seconds.into());
        Intent {
            id: format!("00000000-0000-7000-8000-{:012}", self.made)
                .parse()
                .unwrap(),
            reason: "reverse shell".into(),
            tree: None,
            started_at: time,
            lease_expires_at: lease_seconds.map(lease),
            policy_version: 1,
            without_proof,
            event_mono_ns: Some(1_000),
        }
    }

    pub fn play(&mut self, next: &Move) {
        match *next {
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
            Move::Set { by_seconds } => {
                self.wrong += SignedDuration::from_secs(by_seconds);
                self.feed(Input::Tick);
            }
            Move::Work { succeeds, finding } => {
                self.work(succeeds, finding);
            }
            Move::Crash => self.crash(),
        }
    }

    pub fn crash(&mut self) {
        let (machine, effects) = Machine::restart(self.disk.clone(), self.clocks());
        let found = self.disk.as_ref().map(|found| found.intent.id);
        assert_eq!(machine.intent().map(|intent| intent.id), found);
        self.machine = machine;
        self.waiting = effects.into();
    }

    pub fn feed(&mut self, input: Input) {
        if matches!(&input, Input::Probed(evidence) if weigh(evidence) == Proof::Proved) {
            self.proved.clone_from(&self.kernel);
        }
        for effect in self.machine.step(input, self.clocks()) {
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
    pub fn work(&mut self, succeeds: bool, finding: Finding) -> bool {
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

    pub fn persist(&mut self, intent: Intent) -> Input {
        self.disk = Some(Persisted {
            intent,
            releasing: false,
            anchor: Some(self.machine.anchor()),
        });
        Input::Persisted
    }

    pub fn drop_packets(&mut self, intent: &Intent, succeeds: bool) -> Input {
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
    pub fn open(&mut self, succeeds: bool) -> Input {
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
    pub fn settle(&mut self) {
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

    pub fn check_settled(&self) {
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

    pub fn last_report(&self) -> (IsolationState, &str) {
        let report = self.reports.last().expect("nothing was reported");
        (report.state, &report.reason)
    }
}

pub fn at_least(lease: Lease, wanted: Lease) -> bool {
    match (lease, wanted) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(lease), Some(wanted)) => lease >= wanted,
    }
}

pub fn evidence(finding: Finding) -> Evidence {
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
