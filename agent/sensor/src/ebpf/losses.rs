//! Counting what never reached the ring.

use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::{MapCore, MapFlags};

use super::skel::SensorSkel;
use crate::out::Out;
use crate::record::KINDS;

/// What was reported so far.
pub(super) struct Losses {
    ring: [u64; KINDS.len()],
    skipped: [u64; 4],
}

impl Losses {
    pub(super) fn new() -> Self {
        Self {
            ring: [0; KINDS.len()],
            skipped: [0; 4],
        }
    }

    /// Reports what was lost since the last time.
    pub(super) fn report(&mut self, skel: &SensorSkel<'_>, out: &Out) {
        for (kind, reported) in self.ring.iter_mut().enumerate().skip(1) {
            let lost = ring_losses(skel, kind as u32);
            raise(reported, lost, &format!("ring/{}", KINDS[kind]), out);
        }
        let programs = [
            (&skel.progs.on_exec, "exec"),
            (&skel.progs.on_fork, "fork"),
            (&skel.progs.on_exit, "exit"),
            (&skel.progs.on_socket_state, "connect"),
        ];
        for ((program, name), reported) in programs.iter().zip(&mut self.skipped) {
            let skipped = skipped_runs(program.as_fd().as_raw_fd());
            raise(reported, skipped, &format!("program/{name}"), out);
        }
    }
}

fn raise(reported: &mut u64, now: u64, source: &str, out: &Out) {
    if now > *reported {
        out.loss(source, now - *reported);
        *reported = now;
    }
}

/// Records that found the ring full, over all CPUs.
fn ring_losses(skel: &SensorSkel<'_>, kind: u32) -> u64 {
    let counts = skel
        .maps
        .losses
        .lookup_percpu(&kind.to_ne_bytes(), MapFlags::ANY);
    let per_cpu = match counts {
        Ok(per_cpu) => per_cpu.unwrap_or_default(),
        Err(error) => {
            tracing::error!(%error, "cannot read the loss counters");
            return 0;
        }
    };
    per_cpu
        .iter()
        .filter_map(|count| Some(u64::from_ne_bytes(count.get(..8)?.try_into().ok()?)))
        .sum()
}

/// Runs of a program that the kernel left out because it was running on that CPU already.
fn skipped_runs(program: i32) -> u64 {
    let Ok(facts) = std::fs::read_to_string(format!("/proc/self/fdinfo/{program}")) else {
        return 0;
    };
    facts
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}
