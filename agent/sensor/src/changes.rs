//! Changes of user and group, and tracing, as the proc connector tells them.
//!
//! Where it is out of reach, what an image shows is all there is: `crate::rights`.

use std::collections::HashSet;
use std::io::PipeReader;
use std::time::Duration;

use cordon_behavior::event::{Credentials, EventBody, ProcessKey};
use nix::errno::Errno;

use crate::connector::{Connector, GID, Notice, PTRACE, UID, What};
use crate::out::Out;
use crate::sensor::Source;
use crate::task;
use crate::{Coverage, Scope, SensorConfig};

const RECEIVE_BYTES: usize = 1024 * 1024;
/// So that the main source has told who the process is.
const LATER: Duration = Duration::from_millis(100);
/// Most notices of one reading; more are counted as lost.
const BATCH: usize = 8192;
const SOURCE: &str = "proc connector";
const GIVE_FIRST: &str = "run the agent in the machine's first PID, network and user namespaces";

/// Starts watching, as far as this host allows.
pub(crate) fn start(config: &SensorConfig, out: &Out) -> Source {
    let mut source = match Connector::open(UID | GID | PTRACE, RECEIVE_BYTES) {
        Ok(connector) => spawn(connector, config.scope.clone(), out),
        Err(error) => Source::refused(refused(&error.to_string())),
    };
    source.coverage.extend(modules());
    source
}

/// What would be seen.
pub(crate) fn probe() -> Vec<Coverage> {
    let mut rows = match Connector::open(UID | GID | PTRACE, RECEIVE_BYTES) {
        Ok(_) => covered(),
        Err(error) => refused(&error.to_string()),
    };
    rows.extend(modules());
    rows
}

fn spawn(connector: Connector, scope: Scope, out: &Out) -> Source {
    let told = out.clone();
    let work = move |stopped: &PipeReader| watch(&connector, &scope, &told, stopped);
    let source = Source::spawn("cordon-changes", covered(), work);
    // Without the thread what an exec shows is all there is.
    if source.task.is_some() {
        out.ids_are_told();
    }
    source
}

fn covered() -> Vec<Coverage> {
    vec![
        Coverage::part(
            "credential",
            SOURCE,
            "capabilities that change without a user or group id are told with the next exec",
            None,
        ),
        Coverage::part(
            "ptrace",
            SOURCE,
            "of a child that asks to be traced only eBPF tells, at its first stop",
            None,
        ),
    ]
}

fn refused(why: &str) -> Vec<Coverage> {
    let credential = Coverage::part(
        "credential",
        "exec",
        format!("a change without an exec is told with the next exec, or not at all: {why}"),
        Some(GIVE_FIRST),
    );
    let ptrace = Coverage::missing("ptrace", SOURCE, why, Some(GIVE_FIRST));
    vec![credential, ptrace]
}

/// A kernel that cannot load modules has nothing to tell of them.
fn modules() -> Option<Coverage> {
    let can_load = std::path::Path::new("/proc/modules").exists();
    let why = "this kernel is built without loadable modules";
    (!can_load).then(|| Coverage::missing("module", "tp_btf/module_load", why, None))
}

fn watch(connector: &Connector, scope: &Scope, out: &Out, stopped: &PipeReader) {
    loop {
        let mut stop = task::wait([task::readable(connector)], stopped, None);
        let notices = read(connector, out);
        stop = stop || task::nap(stopped, LATER);
        for notice in notices {
            tell(notice, scope, out);
        }
        if stop {
            return;
        }
    }
}

/// What is there, the same thing once.
fn read(connector: &Connector, out: &Out) -> Vec<Notice> {
    let mut buffer = [0; 512];
    let mut notices = Vec::new();
    let mut known = HashSet::new();
    loop {
        match connector.receive(&mut buffer) {
            Ok(Some(notice)) if known.insert(notice.what) => notices.push(notice),
            Ok(_) => {}
            // The kernel says that it dropped some, not how many.
            Err(Errno::ENOBUFS) => out.loss("proc connector", 1),
            Err(_) => return notices,
        }
        if notices.len() >= BATCH {
            return notices;
        }
    }
}

fn tell(notice: Notice, scope: &Scope, out: &Out) {
    let (pid, body) = match notice.what {
        What::Uid {
            pid,
            real,
            effective,
        } => (pid, Some(user(notice.mono_ns, pid, (real, effective), out))),
        What::Gid {
            pid,
            real,
            effective,
        } => (pid, group(notice.mono_ns, pid, (real, effective), out)),
        What::Ptrace { target, tracer } => (tracer, Some(traces(target, out))),
        // Not asked for here.
        What::Fork { .. } | What::Exec { .. } | What::Exit { .. } => return,
    };
    if let Some(body) = body
        && (*scope == Scope::Host || out.known(pid).is_some())
    {
        out.event_of_pid_at(pid, notice.mono_ns, body);
    }
}

fn user(mono_ns: u64, pid: u32, (uid, euid): (u32, u32), out: &Out) -> EventBody {
    let known = out.known(pid);
    EventBody::Credential(Box::new(Credentials {
        old_euid: known.and_then(|known| known.rights.euid_at(mono_ns)),
        uid,
        euid,
        ..Credentials::default()
    }))
}

/// `None` for the group of a process whose user nobody told and that is gone.
fn group(mono_ns: u64, pid: u32, (gid, egid): (u32, u32), out: &Out) -> Option<EventBody> {
    let rights = out.known(pid).map(|known| known.rights);
    let ids = rights.and_then(|rights| rights.ids());
    let ids = ids.or_else(|| crate::proc::user_ids(pid))?;
    Some(EventBody::Credential(Box::new(Credentials {
        old_euid: rights.and_then(|rights| rights.euid_at(mono_ns)),
        uid: ids.0,
        euid: ids.1,
        gid: Some(gid),
        egid: Some(egid),
        ..Credentials::default()
    })))
}

fn traces(target: u32, out: &Out) -> EventBody {
    let unknown = ProcessKey {
        pid: target,
        start_ns: 0,
    };
    let target = out.known(target).map_or(unknown, |known| known.key);
    EventBody::Ptrace { target }
}
