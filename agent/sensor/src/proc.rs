//! Watching without eBPF: the proc connector where the kernel lets us, else a poll of `/proc`.

mod connector;
mod image;
mod poll;
pub(crate) mod sockets;

use std::collections::HashMap;
use std::io::PipeReader;

use cordon_behavior::event::{Event, EventBody, Exec, ProcessKey};

use crate::out::Out;
use crate::sensor::{Ready, Started, tell};
use crate::{Scope, SensorError, clock};
pub(crate) use image::{arguments_of, pids, user_ids};

/// Where the fallback's process events come from on this machine.
pub(crate) fn source() -> &'static str {
    if connector::open().is_ok() {
        "proc connector"
    } else {
        "/proc, polled"
    }
}

/// Watches until `stopped` closes. An error means that nothing is watched.
pub(crate) fn watch(
    scope: &Scope,
    out: &Out,
    stopped: &PipeReader,
    ready: &Ready,
    reason: Option<String>,
) -> Result<(), SensorError> {
    if matches!(scope, Scope::Cgroup(_)) {
        return Err(SensorError::CgroupNeedsEbpf);
    }
    let connector = connector::open();
    let mut known = Known::default();
    let before = known.list()?;
    tell(ready, Started::Proc { reason });
    out.events(before);
    match connector {
        Ok(connector) => connector::watch(&connector, &mut known, out, stopped),
        Err(error) => {
            tracing::info!(%error, "proc connector is out of reach, polling /proc");
            poll::watch(&mut known, out, stopped);
        }
    }
    Ok(())
}

/// The processes known to live, with what tells a new image from an old one.
#[derive(Default)]
pub(crate) struct Known {
    by_pid: HashMap<u32, image::Seen>,
}

impl Known {
    /// Every process there is, as snapshot events, oldest first.
    fn list(&mut self) -> Result<Vec<Event>, SensorError> {
        let mut events = Vec::new();
        for pid in image::pids().map_err(SensorError::Proc)? {
            if let Some(seen) = image::see(pid) {
                self.by_pid.insert(pid, seen);
            }
        }
        let mut pids: Vec<(u64, u32)> = self
            .by_pid
            .iter()
            .map(|(pid, seen)| (seen.start_ns, *pid))
            .collect();
        pids.sort_unstable();
        for (_, pid) in pids {
            // A kernel thread runs no image.
            events.extend(
                self.image(pid, true)
                    .filter(|(_, exec)| !exec.exe.is_empty())
                    .map(|(process, exec)| {
                        event(clock::mono_ns(), process, EventBody::Exec(Box::new(exec)))
                    }),
            );
        }
        Ok(events)
    }

    fn key(&self, pid: u32) -> Option<ProcessKey> {
        let start_ns = self.by_pid.get(&pid)?.start_ns;
        Some(ProcessKey { pid, start_ns })
    }

    /// The key of a process that may be new.
    fn key_now(&mut self, pid: u32) -> Option<ProcessKey> {
        let seen = image::see(pid)?;
        let start_ns = seen.start_ns;
        self.by_pid.insert(pid, seen);
        Some(ProcessKey { pid, start_ns })
    }

    fn image(&mut self, pid: u32, snapshot: bool) -> Option<(ProcessKey, Exec)> {
        let process = self.key_now(pid)?;
        let parent = self.by_pid.get(&pid)?.parent;
        let parent = self.key(parent).or_else(|| self.key_now(parent));
        let exec = image::read(pid, parent, snapshot)?;
        Some((process, exec))
    }

    fn forget(&mut self, pid: u32) -> Option<ProcessKey> {
        let start_ns = self.by_pid.remove(&pid)?.start_ns;
        Some(ProcessKey { pid, start_ns })
    }
}

fn event(mono_ns: u64, process: ProcessKey, body: EventBody) -> Event {
    Event {
        mono_ns,
        wall_ns: mono_ns.saturating_add_signed(clock::wall_offset_ns()),
        process,
        cgroup_id: 0,
        container: None,
        body,
    }
}
