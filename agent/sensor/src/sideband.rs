//! The kernel's side band: what it tells every profiler of mappings, namespaces and BPF programs.
//!
//! `perf_event_open(2)` with a software event that never counts; the records come from
//! `perf_event_mmap` (mmap and mprotect), `perf_event_namespaces` (fork, unshare, setns) and
//! `perf_event_bpf_event`. One ring a CPU, read ten times a second or when one fills up. What was read
//! is told one reading later, so that the main source has told who the process is by then.

mod memory;
mod namespaces;
mod program;
mod record;
mod ring;

use std::fs::File;
use std::io::{self, PipeReader};
use std::sync::Arc;
use std::time::Duration;

use cordon_behavior::event::{EventBody, ProcessKey};

use crate::cache::Gauge;
use crate::out::Out;
use crate::sensor::Source;
use crate::task;
use crate::{Coverage, Scope, SensorConfig};
use memory::Told;
use namespaces::Tasks;
pub use record::{NAMESPACE_KINDS, SideError, SideRecord, TaskNamespaces, decode_sideband};
use ring::Ring;

const INTERVAL: Duration = Duration::from_millis(100);
/// Most events that wait to be told; more in one interval are counted as lost.
const WAITING: usize = 4096;
const SOURCE: &str = "perf side band";
const GIVE_PERF: &str = "Linux 5.1 or newer with CONFIG_PERF_EVENTS, as root or with CAP_PERFMON, and a seccomp profile that allows perf_event_open";

/// Starts watching, as far as this host allows.
pub(crate) fn start(config: &SensorConfig, out: &Out) -> Source {
    let watch = match open() {
        Ok(rings) => Watch::new(rings, config.scope.clone(), out.clone()),
        Err(error) => return Source::refused(refused(&error)),
    };
    Source::spawn("cordon-sideband", covered(), move |stopped| {
        watch.run(stopped);
    })
}

/// What would be seen.
pub(crate) fn probe() -> Vec<Coverage> {
    match open() {
        Ok(_) => covered(),
        Err(error) => refused(&error),
    }
}

fn covered() -> Vec<Coverage> {
    vec![
        Coverage::part(
            "namespace",
            SOURCE,
            "a time namespace is told by the next exec in it only",
            None,
        ),
        Coverage::part(
            "executable_memory",
            SOURCE,
            "once for each process and kind of mapping; code of a file that was changed in memory and \
             is no longer writable looks like any library's",
            None,
        ),
        Coverage::full("bpf", SOURCE),
    ]
}

fn refused(error: &io::Error) -> Vec<Coverage> {
    let why = format!("cannot open it: {error}");
    ["namespace", "executable_memory", "bpf"]
        .map(|class| Coverage::missing(class, SOURCE, why.clone(), Some(GIVE_PERF)))
        .into()
}

/// A ring for each CPU that is online now.
fn open() -> io::Result<Vec<Ring>> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    cpus(&text).into_iter().map(Ring::open).collect()
}

/// The numbers in a list like `0-3,8`.
fn cpus(list: &str) -> Vec<u32> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        Some(from.parse().ok()?..=to.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// What waits to be told.
struct Waiting {
    mono_ns: u64,
    pid: u32,
    body: EventBody,
}

struct Watch {
    rings: Vec<Ring>,
    scope: Scope,
    out: Out,
    tasks: Tasks,
    told: Told,
    moved: Vec<TaskNamespaces>,
    waiting: Vec<Waiting>,
    gauges: [Arc<Gauge>; 2],
    _namespaces: Vec<File>,
}

impl Watch {
    fn new(rings: Vec<Ring>, scope: Scope, out: Out) -> Self {
        let held = namespaces::hold();
        let there = crate::proc::pids().unwrap_or_default();
        let there = there
            .into_iter()
            .map(|pid| (pid, namespaces::of_process(&pid.to_string())));
        let gauges = [
            Gauge::new("namespaces", Tasks::ENTRY_BYTES, Tasks::LIMIT_BYTES),
            Gauge::new("executable_memory", Told::ENTRY_BYTES, Told::LIMIT_BYTES),
        ];
        for gauge in &gauges {
            out.register(gauge.clone());
        }
        Self {
            rings,
            scope,
            out,
            tasks: Tasks::new(namespaces::of_process("self"), there),
            told: Told::default(),
            moved: Vec::new(),
            waiting: Vec::new(),
            gauges,
            _namespaces: held,
        }
    }

    fn run(mut self, stopped: &PipeReader) {
        let mut buffer = Vec::new();
        loop {
            let stop = self.sleep(stopped);
            let ready = std::mem::take(&mut self.waiting);
            for index in 0..self.rings.len() {
                self.rings[index].read(&mut buffer);
                self.take(&buffer);
            }
            self.compare();
            self.tell(ready);
            if stop {
                let rest = std::mem::take(&mut self.waiting);
                return self.tell(rest);
            }
        }
    }

    /// True when it is time to stop.
    fn sleep(&self, stopped: &PipeReader) -> bool {
        task::wait(
            self.rings.iter().map(task::readable),
            stopped,
            Some(INTERVAL),
        )
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match decode_sideband(bytes) {
                Ok((record, size)) => {
                    if let Some(record) = record {
                        self.note(record);
                    }
                    bytes = &bytes[size..];
                }
                Err(error) => {
                    tracing::error!(%error, "cannot read the side band");
                    return self.out.loss("perf/malformed", 1);
                }
            }
        }
    }

    fn note(&mut self, record: SideRecord<'_>) {
        match record {
            SideRecord::Memory {
                pid,
                mono_ns,
                writable,
                name,
            } => {
                let path = memory::path(name);
                let body = EventBody::ExecutableMemory { path, writable };
                self.wait(pid, mono_ns, body);
            }
            SideRecord::Bpf { pid, mono_ns, id } => {
                // At once: it may be gone later.
                let (name, program_type) = program::describe(id);
                let body = EventBody::Bpf {
                    id,
                    name,
                    program_type,
                };
                self.wait(pid, mono_ns, body);
            }
            SideRecord::Namespaces(task) => self.moved.push(task),
            SideRecord::Lost(count) => self.out.loss("perf/lost", count),
        }
    }

    /// In the order of time over all CPUs: a task may have been made on another than it left from.
    fn compare(&mut self) {
        let mut moved = std::mem::take(&mut self.moved);
        moved.sort_by_key(|task| task.mono_ns);
        for task in moved.drain(..) {
            let changed = self.tasks.change(&task, is_alive);
            if !changed.is_empty() {
                self.wait(task.pid, task.mono_ns, EventBody::Namespace { changed });
            }
        }
        self.moved = moved;
        self.gauges[0].set(self.tasks.len(), self.tasks.refused);
    }

    fn wait(&mut self, pid: u32, mono_ns: u64, body: EventBody) {
        // Outside the agent's PID namespace, or ended.
        if pid == 0 || pid == u32::MAX {
            return;
        }
        if self.waiting.len() >= WAITING {
            return self.out.loss("perf/waiting", 1);
        }
        self.waiting.push(Waiting { mono_ns, pid, body });
    }

    fn tell(&mut self, ready: Vec<Waiting>) {
        for Waiting { mono_ns, pid, body } in ready {
            let known = self.out.known(pid);
            if known.is_none() && self.scope != Scope::Host {
                continue;
            }
            if let EventBody::ExecutableMemory { path, writable } = &body {
                let unknown = ProcessKey { pid, start_ns: 0 };
                let process = known.map_or(unknown, |known| known.key);
                if !self.told.is_news(process, path, *writable) {
                    continue;
                }
            }
            self.out.event_of_pid_at(pid, mono_ns, body);
        }
        self.gauges[1].set(self.told.len(), self.told.evicted);
    }
}

fn is_alive(tid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{tid}")).exists()
}

#[cfg(test)]
mod tests {
    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(super::cpus("0-1\n"), [0, 1]);
        assert_eq!(super::cpus("0,2-3,7"), [0, 2, 3, 7]);
        assert_eq!(super::cpus(""), [0u32; 0]);
    }
}
