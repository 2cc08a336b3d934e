//! What watching costs: numbers for people, not for a verdict. Run it on a quiet machine:
//! `cargo run -p cordon-sensor --example sensor_cost`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be set up has failed, and its numbers are its purpose"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cordon_sensor::{EventBody, Mode, Scope, Sensor, SensorConfig};
use support::{DEADLINE, Groups, mark};

const EXECS: u32 = 5000;
const CONNECTS: u32 = 2000;
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Puts the kernel's setting back, also when the measurement fails.
struct Stats(String);

impl Stats {
    fn on() -> Self {
        let before = fs::read_to_string(STATS).unwrap();
        fs::write(STATS, "1").unwrap();
        Self(before)
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        if let Err(error) = fs::write(STATS, self.0.trim()) {
            eprintln!("cannot put {STATS} back: {error}");
        }
    }
}

/// CPU time of this process's thread of that name, nanoseconds, and how often it was switched to.
fn thread(name: &str) -> (u64, u64) {
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if comm.trim() == name {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap();
            let mut words = text.split_whitespace().map(|word| word.parse().unwrap());
            let ran = words.next().unwrap();
            return (ran, words.nth(1).unwrap());
        }
    }
    panic!("no thread {name}");
}

/// Run time and runs of each of this process's programs.
fn programs() -> Vec<(String, u64, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fdinfo").unwrap().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1).map(str::to_owned)
        };
        if let (Some(id), Some(time)) = (field("prog_id:"), field("run_time_ns:")) {
            let runs = field("run_cnt:").unwrap();
            found.push((id, time.parse().unwrap(), runs.parse().unwrap()));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn main() {
    of_execs_and_connects();
    of_decoding();
    of_waiting();
}

fn of_execs_and_connects() {
    let _stats = Stats::on();
    let execs = Arc::new(AtomicU64::new(0));
    let connects = Arc::new(AtomicU64::new(0));
    let (execs_seen, connects_seen) = (Arc::clone(&execs), Arc::clone(&connects));
    let config = SensorConfig {
        mode: Mode::Ebpf,
        ..SensorConfig::default()
    };
    let own = std::process::id();
    let sensor = Sensor::start(config, move |event| match &event.body {
        EventBody::Exec(exec) if exec.parent.is_some_and(|parent| parent.pid == own) => {
            execs_seen.fetch_add(1, Ordering::Relaxed);
        }
        EventBody::Connect { .. } if event.process.pid == own => {
            connects_seen.fetch_add(1, Ordering::Relaxed);
        }
        _ => {}
    })
    .unwrap();
    let before = thread("cordon-sensor");
    let start = Instant::now();
    for number in 0..EXECS {
        Command::new("/bin/true")
            .args(["--number", &number.to_string()])
            .stdin(Stdio::null())
            .status()
            .unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..CONNECTS {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        drop(stream);
    }
    let took = start.elapsed();
    let end = Instant::now() + DEADLINE;
    while (execs.load(Ordering::Relaxed) < u64::from(EXECS)
        || connects.load(Ordering::Relaxed) < u64::from(CONNECTS))
        && Instant::now() < end
    {
        std::thread::yield_now();
    }
    let after = thread("cordon-sensor");
    println!("workload {took:?}, {:?}", sensor.counters());
    println!(
        "reader: {:.1} ms of CPU, {} times switched to",
        (after.0 - before.0) as f64 / 1e6,
        after.1 - before.1
    );
    let mut all = 0;
    for (id, time, runs) in programs() {
        let mean = time.checked_div(runs).unwrap_or(0);
        println!("program {id}: {mean} ns a run, {runs} runs");
        all += time;
    }
    println!("programs: {:.1} ms", all as f64 / 1e6);
}

/// An exec as the kernel writes it: `struct exec_record` and its texts.
fn record() -> Vec<u8> {
    let mut bytes = vec![0; 144];
    bytes[0] = 1;
    bytes[16] = 7;
    let texts: [&[u8]; 4] = [
        b"true\0bin\0usr\0",
        b"work\0main\0home\0",
        b"",
        b"/bin/true\0--number\x001234\0",
    ];
    for (field, text) in [134, 136, 138, 140].into_iter().zip(texts) {
        let length = (text.len() as u16).to_ne_bytes();
        bytes[field..field + 2].copy_from_slice(&length);
        bytes.extend(text);
    }
    bytes
}

fn of_decoding() {
    let bytes = record();
    let start = Instant::now();
    for _ in 0..100_000 {
        let event = cordon_sensor::decode(&bytes, 0).unwrap();
        assert!(event.is_some());
    }
    println!("decoding an exec: {:?}", start.elapsed() / 100_000);
}

/// Nanoseconds from the kernel's stamp of an exec to the callback, sorted. In a cgroup of its own, so
/// that nobody else's events wake or hold up the reader.
fn delays(count: u32, between: Duration) -> Vec<u64> {
    let name = mark("delay");
    let groups = Groups::make(&name, &[]);
    let join = fs::OpenOptions::new()
        .write(true)
        .open(groups.path("cgroup.procs"))
        .unwrap();
    let (sink, delays) = channel();
    let config = SensorConfig {
        scope: Scope::Cgroup(name.into()),
        mode: Mode::Ebpf,
        ..SensorConfig::default()
    };
    let _sensor = Sensor::start(config, move |event| {
        if matches!(event.body, EventBody::Exec(_)) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let delay_ns = (now.as_nanos() as u64).saturating_sub(event.wall_ns);
            sink.send(delay_ns).unwrap_or_default();
        }
    })
    .unwrap();
    let (_never, pause) = channel::<()>();
    let mut all = Vec::new();
    for _ in 0..count {
        let join = join.try_clone().unwrap();
        let mut command = Command::new("/bin/true");
        // SAFETY: the closure makes one system call, with memory from before the fork.
        unsafe {
            command.pre_exec(move || Ok(nix::unistd::write(&join, b"0").map(drop)?));
        }
        command.status().unwrap();
        if !between.is_zero() {
            all.push(delays.recv_timeout(DEADLINE).unwrap());
            assert!(pause.recv_timeout(between).is_err());
        }
    }
    while all.len() < count as usize {
        all.push(delays.recv_timeout(DEADLINE).unwrap());
    }
    all.sort_unstable();
    all
}

fn of_waiting() {
    for (what, between) in [("one by one", 20), ("in a row", 0)] {
        let all = delays(1000, Duration::from_millis(between));
        let at = |part: usize| all[all.len() * part / 1000] / 1000;
        println!(
            "execs {what}: p50 {} us, p90 {} us, p99 {} us, most {} us",
            at(500),
            at(900),
            at(990),
            at(999)
        );
    }
}
