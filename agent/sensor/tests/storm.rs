//! Storms of short processes, seeded: what is made is seen or counted, exactly; and causes come
//! before effects. Needs root.
//!
//! `CORDON_SEED=N` repeats a run.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot set up its case has failed, and tells its seed"
)]

mod support;

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cordon_sensor::{Event, EventBody, Mode, ProcessKey, Scope, Sensor, SensorConfig};
use support::{DEADLINE, Groups, Shell, exec_of, mark, shell};

const KINDS: [&str; 3] = ["exec", "fork", "exit"];

/// xorshift64: what a seed gives never changes.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let given = std::env::var("CORDON_SEED").ok();
        let seed = given.map_or(now.as_micros() as u64, |seed| seed.parse().unwrap());
        println!("CORDON_SEED={seed}");
        Self(seed | 1)
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        low + self.0 % (high - low + 1)
    }
}

/// What one round makes and how the sensor is held.
#[derive(Debug)]
struct Round {
    /// How many processes each shell makes, and in which cgroup.
    shells: Vec<(u64, &'static str)>,
    ring_bytes: u32,
    events_per_cgroup: u32,
    /// Nothing is taken from the ring until the storm is over.
    held: bool,
}

impl Round {
    fn of(number: u64, random: &mut Random) -> Self {
        let shells = (0..random.between(2, 5))
            .map(|_| {
                let below = ["a", "b", "c"][random.between(0, 2) as usize];
                (random.between(40, 200), below)
            })
            .collect();
        // Each of the four ways to lose comes, in every run.
        let held = !number.is_multiple_of(2);
        let throttled = !(number / 2).is_multiple_of(2);
        Self {
            shells,
            ring_bytes: if held { 4096 } else { 1 << 22 },
            events_per_cgroup: match (throttled, held) {
                (false, _) => SensorConfig::default().events_per_cgroup,
                (true, false) => random.between(4, 6) as u32,
                // A cgroup may make ten times its rate at once, and all shells may be in one: that has to be more than the
                // some 42 records that the ring holds, and less than the 120 that the fewest processes make.
                (true, true) => random.between(6, 8) as u32,
            },
            held,
        }
    }

    /// Execs, forks and exits.
    fn made(&self) -> [u64; 3] {
        let children: u64 = self.shells.iter().map(|(count, _)| count).sum();
        let shells = self.shells.len() as u64;
        [children + shells, children, children + shells]
    }
}

/// What came out of the sensor.
#[derive(Debug, Default)]
struct Tally {
    seen: [u64; 3],
    ring: [u64; 3],
    throttled: [u64; 3],
    others: Vec<String>,
    /// By cgroup: beginnings, ends, and what the ends say was dropped.
    storms: HashMap<u64, (u64, u64, u64)>,
    events: Vec<Event>,
}

impl Tally {
    fn take(&mut self, event: Event) {
        match &event.body {
            EventBody::Exec(exec) if !exec.snapshot => self.seen[0] += 1,
            EventBody::Fork { .. } => self.seen[1] += 1,
            EventBody::Exit { .. } => self.seen[2] += 1,
            EventBody::Loss { source, count } => self.lose(source, *count),
            EventBody::Throttle {
                cgroup,
                started,
                dropped,
            } => {
                let storm = self.storms.entry(*cgroup).or_default();
                storm.0 += u64::from(*started);
                storm.1 += u64::from(!*started);
                storm.2 += dropped;
            }
            _ => {}
        }
        self.events.push(event);
    }

    fn lose(&mut self, source: &str, count: u64) {
        let (of, kind) = source.split_once('/').unwrap();
        let kind = KINDS.iter().position(|it| *it == kind);
        match (of, kind) {
            ("ring", Some(kind)) => self.ring[kind] += count,
            ("throttle", Some(kind)) => self.throttled[kind] += count,
            _ => self.others.push(format!("{source}: {count}")),
        }
    }

    fn accounted(&self) -> [u64; 3] {
        [0, 1, 2].map(|kind| self.seen[kind] + self.ring[kind] + self.throttled[kind])
    }

    fn storms_are_over(&self) -> bool {
        self.storms.values().all(|(begun, ended, _)| begun == ended)
    }
}

#[test]
fn what_is_made_is_seen_or_counted() {
    let mut random = Random::seeded();
    for number in 0..8 {
        let round = Round::of(number, &mut random);
        println!("{round:?}");
        let tally = storm(&round);
        println!("{:?} {:?} {:?}", tally.seen, tally.ring, tally.throttled);
        assert_eq!(tally.accounted(), round.made(), "{:?}", tally.others);
        check_losses(&round, &tally);
        check_arguments(&tally);
        check_order(&tally.events);
    }
}

fn storm(round: &Round) -> Tally {
    let name = mark("storm");
    let groups = Groups::make(&name, &["a", "b", "c"]);
    let (sink, events) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let mut is_held = round.held;
    let config = SensorConfig {
        scope: Scope::Cgroup(name.into()),
        mode: Mode::Ebpf,
        ring_bytes: round.ring_bytes,
        events_per_cgroup: round.events_per_cgroup,
        ..SensorConfig::default()
    };
    let sensor = Sensor::start(config, move |event| {
        // The cgroups that were there come from the list, not from the ring.
        if is_held && !matches!(event.body, EventBody::Cgroup { .. }) {
            may_go_on.recv().unwrap_or_default();
            is_held = false;
        }
        sink.send(event).unwrap_or_default();
    })
    .unwrap();
    let lines = round.shells.iter().map(|(count, below)| {
        let line =
            format!("i=0; while [ $i -lt {count} ]; do /bin/true {below} $i; i=$((i+1)); done");
        shell(&groups, below, &line)
    });
    let mut shells: Vec<Shell> = lines.collect();
    for shell in &mut shells {
        assert!(shell.0.wait().unwrap().success());
    }
    drop(go_on);
    let mut tally = Tally::default();
    let end = Instant::now() + DEADLINE;
    while tally.accounted() != round.made() || !tally.storms_are_over() {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(event) => tally.take(event),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => panic!("the sensor ended"),
        }
    }
    // Whatever comes still would be too much.
    drop(sensor);
    for event in events {
        tally.take(event);
    }
    tally
}

/// The round lost where it must lose, and nowhere else.
fn check_losses(round: &Round, tally: &Tally) {
    let is_any = |counts: &[u64; 3]| counts.iter().any(|count| *count > 0);
    assert_eq!(is_any(&tally.ring), round.held, "the ring");
    let is_throttled = round.events_per_cgroup < 100;
    assert_eq!(is_any(&tally.throttled), is_throttled, "the throttle");
    // A notice may itself have found the ring full: then it is among the others.
    if !round.held {
        assert_eq!(tally.others, [""; 0]);
        assert_eq!(!tally.storms.is_empty(), is_throttled);
        assert!(
            tally
                .storms
                .values()
                .all(|(begun, ended, _)| (*begun, *ended) == (1, 1))
        );
        let dropped: u64 = tally.storms.values().map(|(.., dropped)| dropped).sum();
        assert_eq!(dropped, tally.throttled.iter().sum::<u64>());
    }
}

/// No process is told twice: each has its own number among its shell's.
fn check_arguments(tally: &Tally) {
    let mut known = HashSet::new();
    for event in &tally.events {
        let exec =
            exec_of(event).filter(|exec| exec.argv.first().is_some_and(|it| it == "/bin/true"));
        if let Some(exec) = exec {
            assert!(exec.argv.len() == 3 && !exec.argv_truncated, "{exec:?}");
            let parent = exec.parent.unwrap();
            assert!(
                known.insert((parent, exec.argv[2].clone())),
                "{exec:?} twice"
            );
        }
    }
}

/// A fork comes before all else of its child, nothing comes after an exit, and the stamps of one
/// process only grow.
fn check_order(events: &[Event]) {
    let mut last: HashMap<ProcessKey, (u64, &'static str)> = HashMap::new();
    for event in events.iter().filter(|event| KINDS.contains(&event.class())) {
        if let EventBody::Fork { child } = event.body {
            let before = last.insert(child, (event.mono_ns, "fork"));
            assert_eq!(before, None, "{child:?} did something before it was made");
        }
        let before = last.insert(event.process, (event.mono_ns, event.class()));
        if let Some((mono_ns, class)) = before {
            assert!(
                mono_ns <= event.mono_ns,
                "{event:?} after {class} at {mono_ns}"
            );
            assert_ne!(class, "exit", "{event:?} after its end");
        }
    }
}

/// A cgroup that makes too much is named, with its id.
#[test]
fn a_throttled_cgroup_is_named_and_its_neighbour_is_not() {
    let name = mark("throttle");
    let groups = Groups::make(&name, &["loud", "quiet"]);
    let mut watch = support::Watch::with(SensorConfig {
        scope: Scope::Cgroup(name.into()),
        mode: Mode::Ebpf,
        events_per_cgroup: 3,
        ..SensorConfig::default()
    });
    groups.run(
        "loud",
        "for i in 1 2 3 4 5 6 7 8 9; do for j in 1 2 3 4 5 6 7; do /bin/true; done; done",
    );
    let quiet = mark("quiet");
    groups.run("quiet", &format!("exec /bin/sh -c : {quiet}"));
    watch.exec(&quiet);
    let throttle = |event: &Event| match event.body {
        EventBody::Throttle {
            cgroup,
            started,
            dropped,
        } => Some((cgroup, started, dropped)),
        _ => None,
    };
    let begun = watch.wait("throttle", throttle);
    let loud = groups.path("loud").metadata().unwrap().ino();
    assert_eq!(begun, (loud, true, 0));
    let ended = watch.wait("its end", |event| throttle(event).filter(|it| !it.1));
    assert_eq!(ended.0, loud);
    assert!(ended.2 > 0);
    assert_eq!(watch.seen.iter().filter_map(throttle).count(), 2);
}
