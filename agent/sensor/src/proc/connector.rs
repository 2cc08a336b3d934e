//! Following processes by the proc connector: the rest is read from `/proc`.

use std::io::{self, PipeReader};

use cordon_behavior::event::EventBody;
use nix::errno::Errno;

use super::{Known, event};
use crate::connector::{Connector, EXEC, EXIT, FORK, Notice, What};
use crate::out::Out;
use crate::task;

const RECEIVE_BYTES: usize = 4 * 1024 * 1024;

pub(super) fn open() -> io::Result<Connector> {
    Connector::open(FORK | EXEC | EXIT, RECEIVE_BYTES)
}

pub(super) fn watch(connector: &Connector, known: &mut Known, out: &Out, stopped: &PipeReader) {
    let mut buffer = [0; 4096];
    loop {
        if task::wait([task::readable(connector)], stopped, None) {
            return;
        }
        drain(connector, &mut buffer, known, out);
    }
}

fn drain(connector: &Connector, buffer: &mut [u8], known: &mut Known, out: &Out) {
    loop {
        match connector.receive(buffer) {
            Ok(Some(notice)) => tell(notice, known, out),
            Ok(None) => {}
            // The kernel says that it dropped some, not how many.
            Err(Errno::ENOBUFS) => out.loss("proc connector", 1),
            Err(_) => return,
        }
    }
}

fn tell(notice: Notice, known: &mut Known, out: &Out) {
    let told = match notice.what {
        What::Fork { parent, child } => known.key_now(child).and_then(|child| {
            let parent = known.key(parent).or_else(|| known.key_now(parent))?;
            Some((parent, EventBody::Fork { child }))
        }),
        What::Exec { pid } => known
            .image(pid, false)
            .map(|(process, exec)| (process, EventBody::Exec(Box::new(exec)))),
        What::Exit { pid, status } => known.forget(pid).map(|process| {
            let code = (status >> 8 & 0xff).cast_signed();
            let signal = (status & 0x7f).cast_signed();
            (process, EventBody::Exit { code, signal })
        }),
        // Not asked for here.
        What::Uid { .. } | What::Gid { .. } | What::Ptrace { .. } => return,
    };
    match told {
        Some((process, body)) => out.event(event(notice.mono_ns, process, body)),
        // It ended before /proc was read: its exec is lost, and its end means nothing to anybody.
        None if matches!(notice.what, What::Exec { .. }) => out.loss("proc/exec", 1),
        None => {}
    }
}
