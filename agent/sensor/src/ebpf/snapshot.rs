//! The processes that were there before the sensor, joined with the live stream without a gap or a
//! double.
//!
//! The programs are attached first, then the iterator lists, then everything that was put into the
//! ring until its end is read. So each process is told by the list, by the stream, or by both:
//!
//! | when it was visited | told by | kept |
//! |---|---|---|
//! | before its fork was told (`TASK_NEW`: the kernel's iterator leaves it out) | stream | stream |
//! | after its fork was told | both | stream |
//! | before an exec | list: the old image; stream: the new one | both |
//! | after an exec | both | stream |
//! | while an exec is under way | list: either image; stream: the new one, unless the exec fails | stream, or the list when nothing comes |

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::time::{Duration, Instant};

use cordon_behavior::event::{Event, EventBody, ProcessKey};
use libbpf_rs::Iter;

use super::ring::Ring;
use super::skel::SensorSkel;
use crate::record::{Found, found};
use crate::{clock, proc};

/// How long an exec that was under way is waited for: from a new image's memory to its first
/// instruction are a few system calls' time, more when its file is read from a disk.
const UNDER_WAY: Duration = Duration::from_millis(200);

/// The processes in scope that only the list tells, oldest first, as if they had been executed at
/// `attached_ns`: before all that the live stream tells. And the live stream up to here. Where the
/// iterator fails the error is logged and the stream stands alone.
pub(super) fn take(
    skel: &SensorSkel<'_>,
    ring: &Ring<'_>,
    attached_ns: u64,
) -> (Vec<Event>, Vec<Event>) {
    let listed = read(skel)
        .and_then(|bytes| found(&bytes, clock::wall_offset_ns()).map_err(std::io::Error::other));
    let mut listed = listed.unwrap_or_else(|error| {
        tracing::error!(%error, "cannot list the processes that run already");
        Vec::new()
    });
    let mut live = Vec::new();
    let end = Instant::now() + UNDER_WAY;
    loop {
        live.extend(ring.read_up_to_now());
        let waits = leave_to_stream(&mut listed, &live);
        if !waits || Instant::now() >= end {
            break;
        }
        std::thread::yield_now();
    }
    listed.sort_by_key(|found| found.event.process.start_ns);
    let listed = listed.into_iter().map(|found| as_of(found, attached_ns));
    (listed.collect(), live)
}

/// Removes from the list what the stream tells; answers whether it may yet tell of one that stays.
fn leave_to_stream(listed: &mut Vec<Found>, live: &[Event]) -> bool {
    let mut forked: HashSet<ProcessKey> = HashSet::new();
    let mut ended: HashSet<ProcessKey> = HashSet::new();
    // The first new image of each.
    let mut executed: HashMap<ProcessKey, u64> = HashMap::new();
    for event in live {
        match &event.body {
            EventBody::Fork { child } => {
                forked.insert(*child);
            }
            EventBody::Exec(_) => {
                executed.entry(event.process).or_insert(event.mono_ns);
            }
            EventBody::Exit { .. } => {
                ended.insert(event.process);
            }
            _ => {}
        }
    }
    listed.retain(|found| {
        let key = found.event.process;
        let is_newer = |at: &u64| found.under_way || *at <= found.event.mono_ns;
        !forked.contains(&key) && !executed.get(&key).is_some_and(is_newer)
    });
    listed
        .iter()
        .any(|found| found.under_way && !ended.contains(&found.event.process))
}

fn read(skel: &SensorSkel<'_>) -> std::io::Result<Vec<u8>> {
    let link = skel.links.on_task.as_ref();
    let link = link.ok_or_else(|| std::io::Error::other("task iterator is not attached"))?;
    let mut bytes = Vec::new();
    Iter::new(link)
        .map_err(std::io::Error::other)?
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// With its arguments, unless it runs something else by now, and the time of the others.
fn as_of(found: Found, attached_ns: u64) -> Event {
    let mut event = found.event;
    let key = event.process;
    let late_ns = event.mono_ns.saturating_sub(attached_ns);
    event.wall_ns = event.wall_ns.saturating_sub(late_ns);
    event.mono_ns = attached_ns;
    if let EventBody::Exec(exec) = &mut event.body
        && let Some((argv, truncated)) = proc::arguments_of(key, found.argv_at)
    {
        exec.argv = argv;
        exec.argv_truncated = truncated;
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_behavior::event::Exec;

    fn key(pid: u32) -> ProcessKey {
        ProcessKey { pid, start_ns: 1 }
    }

    fn event(pid: u32, mono_ns: u64, body: EventBody) -> Event {
        Event {
            mono_ns,
            wall_ns: mono_ns,
            process: key(pid),
            cgroup_id: 1,
            container: None,
            body,
        }
    }

    fn exec(pid: u32, mono_ns: u64) -> Event {
        event(pid, mono_ns, EventBody::Exec(Box::default()))
    }

    /// Visited at 100.
    fn visited(pid: u32, under_way: bool) -> Found {
        let image = Exec {
            snapshot: true,
            ..Exec::default()
        };
        Found {
            event: event(pid, 100, EventBody::Exec(Box::new(image))),
            under_way,
            argv_at: 0,
        }
    }

    fn kept(listed: Found, live: &[Event]) -> (bool, bool) {
        let mut listed = vec![listed];
        let waits = leave_to_stream(&mut listed, live);
        (!listed.is_empty(), waits)
    }

    #[test]
    fn each_row_of_the_table() {
        let fork = event(1, 90, EventBody::Fork { child: key(2) });
        let exit = event(2, 120, EventBody::Exit { code: 0, signal: 0 });
        assert_eq!(kept(visited(2, false), &[exec(3, 90)]), (true, false));
        assert_eq!(kept(visited(2, false), &[fork]), (false, false));
        assert_eq!(kept(visited(2, false), &[exec(2, 110)]), (true, false));
        assert_eq!(kept(visited(2, false), &[exec(2, 90)]), (false, false));
        assert_eq!(kept(visited(2, true), &[exec(2, 110)]), (false, false));
        assert_eq!(kept(visited(2, true), &[]), (true, true));
        assert_eq!(kept(visited(2, true), &[exit]), (true, false));
    }
}
