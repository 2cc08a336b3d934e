//! From the records of an event to what happened.

use std::net::SocketAddr;

use cordon_behavior::event::{
    Credentials, EventBody, Exec, FileChange, FileOp, Namespaces, Sensitivity,
};

use super::Call;
use super::group::{Group, NameType, Syscall};
use crate::seen::{NO_UID, Seen, What, Who, cut_arguments};

const CLONE_THREAD: u64 = 0x1_0000;
const O_WRONLY: u64 = 1;
const O_RDWR: u64 = 2;
const O_CREAT: u64 = 0o100;
const SET_ID: u64 = 0o6000;
const PTRACE_ATTACH: u64 = 16;
const PTRACE_SEIZE: u64 = 0x4206;
const BPF_PROG_LOAD: u64 = 5;
const DNS: u16 = 53;
/// Failures of a connect that had begun: EINPROGRESS, ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ECONNRESET.
const BEGUN: [i64; 5] = [-115, -111, -110, -113, -104];
/// The kernel's title of a process is cut here.
const TITLE_BYTES: usize = 128;

/// What an event tells; `None` for one that failed, or that is none of the classes told.
pub(crate) fn tell(wall_ns: u64, group: &Group) -> Option<Seen> {
    let call = group.syscall.as_deref()?;
    // On other architectures an EXECVE record says what the number does not.
    let executed = (!group.argv.is_empty()).then_some(Call::Exec);
    let what = what(call.call.or(executed)?, call, group)?;
    let image = Exec {
        exe: call.exe.clone(),
        argv_truncated: true,
        ..facts(call)
    };
    let is_exec = matches!(what, What::Exec(_));
    let mut who = Who {
        parent: parent(call),
        ..Who::pid(call.pid)
    };
    who.image = (!is_exec && !call.exe.is_empty()).then(|| Box::new(image));
    Some(Seen { wall_ns, who, what })
}

fn parent(call: &Syscall) -> Option<Box<Who>> {
    if call.ppid == 0 {
        return None;
    }
    let mut parent = Who::pid(call.ppid);
    if !call.parent_exe.is_empty() {
        parent.image = Some(Box::new(Exec {
            exe: call.parent_exe.clone(),
            argv_truncated: true,
            uid: NO_UID,
            euid: NO_UID,
            ..Exec::default()
        }));
    }
    Some(Box::new(parent))
}

/// What each record of a process says of it.
fn facts(call: &Syscall) -> Exec {
    Exec {
        uid: call.uid,
        euid: call.euid,
        gid: call.gid,
        egid: call.egid,
        login_uid: call.login_uid,
        session: call.session,
        tty: call.tty,
        ..Exec::default()
    }
}

fn what(kind: Call, call: &Syscall, group: &Group) -> Option<What> {
    let succeeded = call.success.unwrap_or(false);
    let body = match kind {
        Call::Exit => EventBody::Exit {
            code: (call.arguments[0] & 0xff) as i32,
            signal: 0,
        },
        Call::Connect if succeeded || BEGUN.contains(&call.exit) => connect(group.remote?)?,
        _ if !succeeded => return None,
        Call::Exec => return Some(What::Exec(Box::new(exec(call, group)))),
        Call::Fork => return forked(call),
        Call::Clone if call.arguments[0] & CLONE_THREAD == 0 => return forked(call),
        Call::Ptrace => return traced(call, group),
        Call::Send => EventBody::Udp {
            remote: group.remote?,
        },
        Call::Accept => EventBody::Accept {
            remote: group.remote?,
            // Not in the log.
            local_port: 0,
        },
        Call::Credentials => EventBody::Credential(Box::new(Credentials {
            uid: call.uid,
            euid: call.euid,
            gid: Some(call.gid),
            egid: Some(call.egid),
            ..Credentials::default()
        })),
        Call::Module => EventBody::Module {
            name: group.module.clone(),
        },
        Call::Bpf if call.arguments[0] == BPF_PROG_LOAD => EventBody::Bpf {
            id: group.bpf_program.unwrap_or(0),
            name: String::new(),
            program_type: String::new(),
        },
        Call::Mount | Call::Unmount => EventBody::Mount {
            path: target_path(group)?,
            attached: kind == Call::Mount,
            fs_type: String::new(),
        },
        Call::Unshare => namespaces(call.arguments[0])?,
        Call::SetNs => namespaces(call.arguments[1])?,
        Call::Connect | Call::Clone | Call::Bpf => return None,
        _ => EventBody::File(Box::new(file(kind, call, group)?)),
    };
    Some(What::Other(body))
}

/// The log does not say which transport; a resolver's port is UDP nearly always, and port 0 asks only which of this
/// host's addresses would be used.
fn connect(remote: SocketAddr) -> Option<EventBody> {
    match remote.port() {
        0 => None,
        DNS => Some(EventBody::Udp { remote }),
        _ => Some(EventBody::Connect { remote }),
    }
}

fn forked(call: &Syscall) -> Option<What> {
    let child = u32::try_from(call.exit).ok().filter(|pid| *pid != 0)?;
    Some(What::Fork(Box::new(Who::pid(child))))
}

fn traced(call: &Syscall, group: &Group) -> Option<What> {
    if !matches!(call.arguments[0], PTRACE_ATTACH | PTRACE_SEIZE) {
        return None;
    }
    let named = u32::try_from(call.arguments[1]).ok();
    let target = named.filter(|_| group.target == 0).unwrap_or(group.target);
    (target != 0).then(|| What::Ptrace(Box::new(Who::pid(target))))
}

fn exec(call: &Syscall, group: &Group) -> Exec {
    let mut argv = group.argv.texts();
    let mut cut = group.argv.cut;
    if argv.is_empty() {
        argv.clone_from(&group.title);
        cut = argv.iter().map(|word| word.len() + 1).sum::<usize>() >= TITLE_BYTES;
    }
    cut |= cut_arguments(&mut argv);
    let (exe, is_deleted) = match call.exe.strip_suffix(" (deleted)") {
        Some(exe) => (exe.to_owned(), true),
        None => (call.exe.clone(), false),
    };
    let memfd = exe.starts_with("/memfd:");
    Exec {
        script: script(&exe, &argv, group),
        exe,
        argv,
        argv_truncated: cut,
        cwd: group.cwd.clone(),
        deleted_exe: is_deleted && !memfd,
        memfd,
        ..facts(call)
    }
}

/// What was executed by name and then handed to an interpreter as an argument.
fn script(exe: &str, argv: &[String], group: &Group) -> String {
    let Some(named) = group.names.first().map(|name| name.path.as_str()) else {
        return String::new();
    };
    let was_handed = argv
        .iter()
        .skip(1)
        .take(2)
        .any(|argument| argument == named);
    let is_script = was_handed && named != exe && argv[0] != named;
    if is_script {
        named.to_owned()
    } else {
        String::new()
    }
}

fn file(kind: Call, call: &Syscall, group: &Group) -> Option<FileChange> {
    let path = |wanted| {
        let found = group.names.iter().find(|name| name.kind == wanted)?;
        Some(absolute(&group.cwd, &found.path)).filter(|path| !path.is_empty())
    };
    let created = path(NameType::Create);
    let normal = || path(NameType::Normal);
    let (op, path, to) = match kind {
        Call::Open(at) => opened(call.arguments[at.min(3)], created, normal())?,
        Call::Create => (FileOp::Create, created?, None),
        Call::Truncate => (FileOp::Write, normal()?, None),
        Call::Rename => (FileOp::Rename, path(NameType::Delete)?, created),
        Call::Unlink => (FileOp::Unlink, path(NameType::Delete)?, None),
        Call::Link => (FileOp::Link, normal()?, created),
        Call::Chmod(at) if call.arguments[at.min(3)] & SET_ID != 0 => {
            (FileOp::Chmod, normal()?, None)
        }
        _ => return None,
    };
    Some(FileChange {
        op,
        path,
        to,
        sensitivity: Sensitivity::Watched,
    })
}

type Change = (FileOp, String, Option<String>);

/// What was opened for writing counts as written: the log does not tell whether it was.
fn opened(flags: u64, created: Option<String>, normal: Option<String>) -> Option<Change> {
    if let Some(path) = created.filter(|_| flags & O_CREAT != 0) {
        return Some((FileOp::Create, path, None));
    }
    let writes = flags & (O_WRONLY | O_RDWR) != 0;
    let op = if writes { FileOp::Write } else { FileOp::Read };
    Some((op, normal?, None))
}

fn target_path(group: &Group) -> Option<String> {
    let name = group
        .names
        .iter()
        .find(|name| name.kind != NameType::Parent)?;
    Some(absolute(&group.cwd, &name.path))
}

pub(crate) fn absolute(cwd: &str, path: &str) -> String {
    if path.is_empty() || path.starts_with('/') || cwd.is_empty() {
        return path.to_owned();
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    format!("{}/{path}", cwd.trim_end_matches('/'))
}

fn namespaces(flags: u64) -> Option<EventBody> {
    let has = |flag: u64| flags & flag != 0;
    let changed = Namespaces {
        mnt: has(0x2_0000),
        cgroup: has(0x200_0000),
        uts: has(0x400_0000),
        ipc: has(0x800_0000),
        user: has(0x1000_0000),
        pid: has(0x2000_0000),
        net: has(0x4000_0000),
        time: has(0x80),
    };
    (!changed.is_empty()).then_some(EventBody::Namespace { changed })
}
