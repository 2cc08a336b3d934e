//! A sensor that starts in the middle of a storm knows every process once. Needs root.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot set up its case has failed, and tells what it had"
)]

mod support;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use cordon_sensor::{Event, EventBody, Mode, ProcessKey, Scope, Sensor, SensorConfig};
use support::{DEADLINE, Groups, exec_of, mark, shell};

/// Class `snapshot`: processes come, go and become others while sensors start.
#[test]
fn a_sensor_that_starts_in_a_storm_knows_every_process_once() {
    let name = mark("join");
    let groups = Groups::make(&name, &["storm", "marker"]);
    let fifo = tempfile::tempdir().unwrap();
    let fifo = fifo.path().join("never");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    // The fifo keeps processes that only were forked; nobody ever writes to it.
    let stays = format!(
        "i=0; while [ $i -lt 300 ]; do ( read x <{} ) & sleep 1000 & i=$((i+1)); done; wait",
        fifo.display()
    );
    let lines = [
        "while :; do /bin/true; done",
        "while :; do (exec /bin/sh -c \"exec /bin/true\"); done",
        "while :; do ( : ); done",
        &stays,
    ];
    let _kill = Kill(groups.path("storm"));
    let _shells = lines.map(|line| shell(&groups, "storm", line));
    // As many starts as there is time for: an emulated machine takes most of a minute for each.
    let began = Instant::now();
    for number in 0..10 {
        if number >= 3 && began.elapsed() > DEADLINE {
            break;
        }
        let (sink, events) = channel();
        let config = SensorConfig {
            scope: Scope::Cgroup(name.clone().into()),
            mode: Mode::Ebpf,
            events_per_cgroup: 0,
            ..SensorConfig::default()
        };
        let sensor = Sensor::start(config, move |event| sink.send(event).unwrap_or_default());
        let sensor = sensor.unwrap();
        let (seen, living) = freeze_and_list(&groups, &events);
        assert_eq!(sensor.losses(), [], "start {number}");
        check_known(&seen, &living);
        println!(
            "start {number}: {} events, {} living",
            seen.len(),
            living.len()
        );
    }
}

/// Ends everything in a cgroup.
struct Kill(std::path::PathBuf);

impl Drop for Kill {
    fn drop(&mut self) {
        fs::write(self.0.join("cgroup.kill"), "1").unwrap();
        let populated = || fs::read_to_string(self.0.join("cgroup.events")).unwrap();
        let end = Instant::now() + DEADLINE;
        while populated().contains("populated 1") && Instant::now() < end {
            std::thread::yield_now();
        }
    }
}

/// Everything told until the storm stood still, and who lives then.
fn freeze_and_list(groups: &Groups, events: &Receiver<Event>) -> (Vec<Event>, Vec<(u32, u64)>) {
    let storm = groups.path("storm");
    fs::write(storm.join("cgroup.freeze"), "1").unwrap();
    let end = Instant::now() + DEADLINE;
    while !fs::read_to_string(storm.join("cgroup.events"))
        .unwrap()
        .contains("frozen 1")
    {
        assert!(Instant::now() < end, "the storm does not stand still");
        std::thread::yield_now();
    }
    let pids = fs::read_to_string(storm.join("cgroup.procs")).unwrap();
    let living = pids
        .lines()
        .filter_map(|pid| Some((pid.parse().ok()?, start_ticks(pid)?)));
    let living = living.collect();
    // Behind this everything from before the freeze has been told.
    let last = mark("last");
    groups.run("marker", &format!("exec /bin/sh -c : {last}"));
    let mut seen = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left).expect("the marked exec");
        let is_last = exec_of(&event).is_some_and(|exec| exec.argv.contains(&last));
        seen.push(event);
        if is_last {
            break;
        }
    }
    fs::write(storm.join("cgroup.freeze"), "0").unwrap();
    (seen, living)
}

fn start_ticks(pid: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    // Fields from the third, `state`, on; `starttime` is the 22nd.
    rest.split(' ').nth(19)?.parse().ok()
}

fn check_known(seen: &[Event], living: &[(u32, u64)]) {
    let mut made: HashMap<ProcessKey, Vec<&'static str>> = HashMap::new();
    let mut executed = HashSet::new();
    for event in seen {
        match &event.body {
            EventBody::Fork { child } => made.entry(*child).or_default().push("fork"),
            EventBody::Exec(exec) if exec.snapshot => {
                made.entry(event.process).or_default().push("snapshot");
            }
            EventBody::Exec(_) => {
                executed.insert(event.process);
            }
            _ => {}
        }
    }
    for (key, ways) in &made {
        assert_eq!(ways.len(), 1, "{key:?} is told by {ways:?}");
    }
    // USER_HZ is 100 on every machine that Linux runs on with BPF.
    let ticks = |key: &ProcessKey| (key.pid, key.start_ns / 10_000_000);
    let known: HashSet<(u32, u64)> = made.keys().chain(&executed).map(ticks).collect();
    for process in living {
        assert!(known.contains(process), "{process:?} is not known");
    }
    assert!(!living.is_empty());
}
