//! The sockets that were there before the sensor.

use std::io::Read;

use cordon_behavior::event::Event;
use libbpf_rs::{Iter, Link};

use super::ring::Ring;
use super::skel::SensorSkel;
use crate::{clock, record};

/// Every socket in scope that is connected, listens, is bound or raw, with whoever has it, as if that
/// had been done at `attached_ns`; what the stream tells of is not in here again. Each look at all files
/// of all tasks takes its time: what lies in the ring after it is added to `live`.
pub(super) fn list(
    skel: &SensorSkel<'_>,
    ring: &Ring<'_>,
    attached_ns: u64,
    live: &mut Vec<Event>,
) -> Vec<Event> {
    // Listening ones first: they tell whose side began a connection.
    let mut sockets = read(skel.links.on_listener.as_ref());
    live.extend(ring.read_up_to_now());
    sockets.extend(read(skel.links.on_open_socket.as_ref()));
    live.extend(ring.read_up_to_now());
    without_told(&mut sockets, live);
    for event in &mut sockets {
        let late_ns = event.mono_ns.saturating_sub(attached_ns);
        event.wall_ns = event.wall_ns.saturating_sub(late_ns);
        event.mono_ns = attached_ns;
    }
    sockets
}

/// UDP and raw sockets of meanwhile are in both.
fn without_told(sockets: &mut Vec<Event>, live: &[Event]) {
    let is_of_sockets = |event: &&Event| matches!(event.class(), "listen" | "udp" | "raw_socket");
    let live: Vec<&Event> = live.iter().filter(is_of_sockets).collect();
    sockets.retain(|socket| {
        let is_same = |event: &&Event| event.process == socket.process && event.body == socket.body;
        !live.iter().any(is_same)
    });
}

/// The packet sockets that were not told of yet.
pub(super) fn packet_sockets(skel: &SensorSkel<'_>) -> Vec<Event> {
    read(skel.links.on_packet_socket.as_ref())
}

/// The listening sockets whose owner is among those that ended, with who has them now.
pub(super) fn heirs(skel: &SensorSkel<'_>) -> Vec<Event> {
    read(skel.links.on_heir.as_ref())
}

/// What an iterator lists; where it fails the error is logged and the stream stands alone.
fn read(link: Option<&Link>) -> Vec<Event> {
    let bytes = read_bytes(link).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot list the sockets that are open already");
        Vec::new()
    });
    let offset_ns = clock::wall_offset_ns();
    let records = bytes.chunks_exact(record::FLOW_BYTES);
    let events = records.filter_map(|bytes| record::decode(bytes, offset_ns).ok().flatten());
    events.collect()
}

fn read_bytes(link: Option<&Link>) -> std::io::Result<Vec<u8>> {
    let link = link.ok_or_else(|| std::io::Error::other("the iterator is not attached"))?;
    let mut bytes = Vec::new();
    Iter::new(link)
        .map_err(std::io::Error::other)?
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
