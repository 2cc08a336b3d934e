//! Who listens when the process that began to has ended.
//!
//! A daemon may listen and then leave the socket to a child. What is accepted from then on is the
//! child's: when a process that listened ends, the files of all tasks are looked through for its
//! sockets. Connections that come between the end and that look are told of the one that ended.

use std::collections::HashSet;

use cordon_behavior::event::{Event, EventBody, ProcessKey, Protocol};
use libbpf_rs::{MapCore, MapFlags};

use super::skel::SensorSkel;
use super::sockets;
use crate::out::Out;

/// Most processes known to listen; those beyond leave nothing to anybody.
const LISTENING: usize = 8192;
/// Most ends looked into at once: the size of the programs' map.
const ENDED: usize = 64;

#[derive(Default)]
pub(super) struct Heirs {
    listening: HashSet<ProcessKey>,
    ended: Vec<ProcessKey>,
}

impl Heirs {
    /// Learns from an event that is being handed over.
    pub(super) fn note(&mut self, event: &Event) {
        let tcp = Protocol::Tcp;
        match event.body {
            EventBody::Listen { protocol, .. }
                if protocol == tcp && self.listening.len() < LISTENING =>
            {
                self.listening.insert(event.process);
            }
            EventBody::Exit { .. } if self.listening.remove(&event.process) => {
                self.ended.push(event.process);
            }
            _ => {}
        }
    }

    /// Gives the sockets of those that ended to whoever has them, and tells it.
    pub(super) fn check(&mut self, skel: &SensorSkel<'_>, out: &Out) {
        let ended = self.ended.len().min(ENDED);
        if ended == 0 {
            return;
        }
        let ended: Vec<[u8; 16]> = self.ended.drain(..ended).map(bytes).collect();
        let map = &skel.maps.ended_listeners;
        for key in &ended {
            if let Err(error) = map.update(key, &[1], MapFlags::ANY) {
                tracing::error!(%error, "cannot look for who listens now");
            }
        }
        let heirs = sockets::heirs(skel);
        for key in &ended {
            if let Err(error) = map.delete(key) {
                tracing::error!(%error, "cannot forget who listened");
            }
        }
        for event in &heirs {
            self.note(event);
        }
        out.events(heirs);
    }
}

/// `struct record_key`.
fn bytes(key: ProcessKey) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&key.pid.to_ne_bytes());
    bytes[8..].copy_from_slice(&key.start_ns.to_ne_bytes());
    bytes
}
