//! Counting what never reached the ring.

use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use libbpf_rs::libbpf_sys;
use libbpf_rs::{Object, Program};

use super::shared::Shared;
use crate::out::Out;
use crate::record::KINDS;

/// Asking the kernel about each program takes a system call each.
const PROGRAMS_EVERY: Duration = Duration::from_secs(1);

/// What was reported so far.
pub(super) struct Losses {
    ring: [u64; KINDS.len()],
    throttle: [u64; KINDS.len()],
    programs: Vec<Skipped>,
    asked: Instant,
}

/// Runs that the kernel left out of one program.
struct Skipped {
    name: String,
    reported: u64,
}

impl Losses {
    pub(super) fn new(object: &Object) -> Self {
        let name = |program: Program<'_>| program.name().to_string_lossy().into_owned();
        let skipped = |name| Skipped { name, reported: 0 };
        Self {
            ring: [0; KINDS.len()],
            throttle: [0; KINDS.len()],
            programs: object.progs().map(name).map(skipped).collect(),
            asked: Instant::now(),
        }
    }

    /// Reports what was lost since the last time; of the programs too when it is time, or now.
    pub(super) fn report(&mut self, object: &Object, shared: Shared<'_>, out: &Out, now: bool) {
        for (kind, name) in KINDS.iter().enumerate().skip(1) {
            raise(&mut self.ring[kind], shared.lost(kind), "ring", name, out);
            let throttled = shared.throttled(kind);
            raise(&mut self.throttle[kind], throttled, "throttle", name, out);
        }
        if now || self.asked.elapsed() >= PROGRAMS_EVERY {
            self.asked = Instant::now();
            for (program, known) in object.progs().zip(&mut self.programs) {
                let skipped = skipped_runs(&program);
                raise(&mut known.reported, skipped, "program", &known.name, out);
            }
        }
    }
}

fn raise(reported: &mut u64, now: u64, source: &str, name: &str, out: &Out) {
    if now > *reported {
        out.loss(&format!("{source}/{name}"), now - *reported);
        *reported = now;
    }
}

/// Runs of a program that the kernel left out because it was running on that CPU already; 0 for a
/// program that was not loaded. `recursion_misses`, Linux 5.12.
fn skipped_runs(program: &Program<'_>) -> u64 {
    if !program.autoload() {
        return 0;
    }
    let mut facts = libbpf_sys::bpf_prog_info::default();
    let mut bytes = size_of_val(&facts) as u32;
    // SAFETY: both pointers are to live values of the sizes that are told; no field asks for more to
    // be written elsewhere.
    let answer = unsafe {
        let fd = program.as_fd().as_raw_fd();
        libbpf_sys::bpf_prog_get_info_by_fd(fd, &raw mut facts, &raw mut bytes)
    };
    if answer == 0 {
        facts.recursion_misses
    } else {
        0
    }
}
