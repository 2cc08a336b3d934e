//! Looking at `/proc` again and again: what lives shorter than the interval is never seen.

use std::collections::HashSet;
use std::io::PipeReader;
use std::time::Duration;

use cordon_behavior::event::EventBody;

use super::{Known, event, image};
use crate::clock;
use crate::out::Out;
use crate::task;

const INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn watch(known: &mut Known, out: &Out, stopped: &PipeReader) {
    loop {
        if task::nap(stopped, INTERVAL) {
            return;
        }
        match image::pids() {
            Ok(pids) => look(known, pids, out),
            Err(error) => tracing::error!(%error, "cannot list /proc"),
        }
    }
}

fn look(known: &mut Known, mut pids: Vec<u32>, out: &Out) {
    // Parents before children, as far as pids tell.
    pids.sort_unstable();
    let alive: HashSet<u32> = pids.iter().copied().collect();
    let gone: Vec<u32> = known
        .by_pid
        .keys()
        .filter(|pid| !alive.contains(pid))
        .copied()
        .collect();
    for pid in gone {
        end(known, pid, out);
    }
    for pid in pids {
        compare(known, pid, out);
    }
}

fn end(known: &mut Known, pid: u32, out: &Out) {
    if let Some(process) = known.forget(pid) {
        // How it ended nobody told.
        let body = EventBody::Exit { code: 0, signal: 0 };
        out.event(event(clock::mono_ns(), process, body));
    }
}

fn compare(known: &mut Known, pid: u32, out: &Out) {
    let Some(now) = image::see(pid) else {
        return;
    };
    let before = known.by_pid.get(&pid).copied();
    let is_same = before.is_some_and(|seen| seen.start_ns == now.start_ns);
    // What was told in the middle of an exec lacks its arguments, and is told again with them.
    let image = |seen: image::Seen| (seen.argv_at, seen.is_laid_out);
    if is_same && before.map(image) == Some(image(now)) {
        return;
    }
    if !is_same {
        end(known, pid, out);
    }
    let Some((process, exec)) = known.image(pid, false) else {
        return;
    };
    let mono_ns = clock::mono_ns();
    if let Some(parent) = exec.parent
        && !is_same
    {
        out.event(event(mono_ns, parent, EventBody::Fork { child: process }));
    }
    if !exec.exe.is_empty() {
        out.event(event(mono_ns, process, EventBody::Exec(Box::new(exec))));
    }
}
