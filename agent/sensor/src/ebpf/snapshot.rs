//! The processes that were there before the sensor.

use std::io::Read;

use cordon_behavior::event::{Event, EventBody};
use libbpf_rs::Iter;

use super::skel::SensorSkel;
use crate::{clock, proc, record};

/// Every process in scope, oldest first, as if it had been executed at `attached_ns`: before all that
/// the live stream tells. Where the iterator fails the error is logged and the stream stands alone.
pub(super) fn take(skel: &SensorSkel<'_>, attached_ns: u64) -> Vec<Event> {
    let listed = read(skel).and_then(|bytes| {
        record::decode_all(&bytes, clock::wall_offset_ns()).map_err(std::io::Error::other)
    });
    let mut events = match listed {
        Ok(events) => events,
        Err(error) => {
            tracing::error!(%error, "cannot list the processes that run already");
            return Vec::new();
        }
    };
    for event in &mut events {
        event.wall_ns = event
            .wall_ns
            .saturating_sub(event.mono_ns.saturating_sub(attached_ns));
        event.mono_ns = attached_ns;
        let start_ns = event.process.start_ns;
        if let EventBody::Exec(exec) = &mut event.body
            && let Some((argv, truncated)) = proc::arguments_of(event.process.pid, start_ns)
        {
            exec.argv = argv;
            exec.argv_truncated = truncated;
        }
    }
    events.sort_by_key(|event| event.process.start_ns);
    events
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
