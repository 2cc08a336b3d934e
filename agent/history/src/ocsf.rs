//! OCSF 1.x: process, network, DNS, file and authentication activity, one JSON object a line.
//!
//! Producers differ in what they fill in and in types; whatever is not needed may be missing or of another type.

mod schema;

use std::net::{IpAddr, SocketAddr};

use cordon_behavior::event::{
    Closed, Direction, Dns, EventBody, Exec, FileChange, FileOp, Login, LoginMethod, Protocol,
    Sensitivity,
};

use crate::Damage;
use crate::command::split;
use crate::lenient::Text;
use crate::seen::{NO_UID, PATH_BYTES, Seen, What, Who, cut, cut_arguments, hash};
use schema::{Activity, Endpoint, Process, User};

const FILE_SYSTEM: i64 = 1001;
const PROCESS: i64 = 1007;
const AUTHENTICATION: i64 = 3002;
const NETWORK: i64 = 4001;
const DNS: i64 = 4003;
/// Parents told of one process.
const PARENTS: usize = 4;
const TEXT_BYTES: usize = 256;
const ANSWERS: usize = 16;

/// Classes that are not told are passed over.
pub(crate) fn line(line: &[u8], out: &mut Vec<Seen>) -> Result<(), Damage> {
    let read = serde_json::from_slice::<Activity>(line);
    let activity = read.map_err(Damage::json("an OCSF event"))?;
    let class = activity
        .class_uid
        .0
        .ok_or(Damage::Missing { what: "class_uid" })?;
    let told = match class {
        PROCESS => process(&activity),
        NETWORK => network(&activity),
        DNS => dns(&activity),
        FILE_SYSTEM => file(&activity),
        AUTHENTICATION => authentication(&activity),
        _ => return Ok(()),
    };
    if let Some((who, what)) = told? {
        let wall_ns = activity.wall_ns().ok_or(Damage::Missing { what: "time" })?;
        out.push(Seen { wall_ns, who, what });
    }
    Ok(())
}

type Told = Result<Option<(Who, What)>, Damage>;

fn process(activity: &Activity) -> Told {
    let actor = activity.actor.process.as_deref();
    let subject = activity.process.as_deref();
    let subject = subject.ok_or(Damage::Missing { what: "process" })?;
    let mut who = who(subject, "process.pid")?;
    Ok(match activity.activity_id.0 {
        // Launch. The one who launched is its parent, unless the process names another.
        Some(1) => {
            if who.parent.is_none() {
                let parent = actor.map(|actor| self::who(actor, "actor.process.pid"));
                who.parent = parent.transpose()?.map(Box::new);
            }
            let exec = who.image.take().unwrap_or_default();
            Some((who, What::Exec(exec)))
        }
        // Terminate.
        Some(2) => {
            let code = activity.exit_code.small().unwrap_or(0);
            let body = EventBody::Exit { code, signal: 0 };
            Some((who, What::Other(body)))
        }
        // Inject: another one's memory, by ptrace on Linux.
        Some(4) => {
            let actor = actor.ok_or(Damage::Missing {
                what: "actor.process",
            })?;
            let actor = self::who(actor, "actor.process.pid")?;
            Some((actor, What::Ptrace(Box::new(who))))
        }
        _ => None,
    })
}

fn network(activity: &Activity) -> Told {
    let is_inbound = activity.connection_info.direction_id.0 == Some(1);
    let is_udp = activity.connection_info.is_udp();
    let local = [&activity.src_endpoint, &activity.dst_endpoint][usize::from(is_inbound)];
    let remote = [&activity.dst_endpoint, &activity.src_endpoint][usize::from(is_inbound)];
    let local_port = local.port.small().unwrap_or(0);
    let direction = if is_inbound {
        Direction::In
    } else {
        Direction::Out
    };
    let body = match activity.activity_id.0 {
        // Open, Traffic.
        Some(1 | 6) if is_udp && is_inbound => return Ok(None),
        Some(1 | 6) if is_udp => EventBody::Udp {
            remote: address(remote)?,
        },
        Some(1) if is_inbound => EventBody::Accept {
            remote: address(remote)?,
            local_port,
        },
        // Fail and Refuse were begun too.
        Some(1 | 4 | 5) if !is_inbound => EventBody::Connect {
            remote: address(remote)?,
        },
        // Close, Reset.
        Some(2 | 3) if !is_udp => {
            let (sent, received) = activity.traffic.of(is_inbound);
            EventBody::Close(Box::new(Closed {
                remote: address(remote)?,
                local_port,
                direction,
                sent,
                received,
                lasted_ns: activity.duration_ns(),
            }))
        }
        // Listen.
        Some(7) => EventBody::Listen {
            local: address(local)?,
            protocol: if is_udp { Protocol::Udp } else { Protocol::Tcp },
        },
        _ => return Ok(None),
    };
    Ok(Some((doer(activity)?, What::Other(body))))
}

fn address(endpoint: &Endpoint) -> Result<SocketAddr, Damage> {
    let text = &endpoint.ip.0;
    let ip: IpAddr = text
        .parse()
        .map_err(|_| Damage::field("endpoint.ip", "IP address", text.as_bytes()))?;
    let port = endpoint.port.small();
    let port = port.ok_or(Damage::Missing {
        what: "endpoint.port",
    })?;
    Ok(SocketAddr::new(ip.to_canonical(), port))
}

fn dns(activity: &Activity) -> Told {
    let name = activity.query.hostname.0.trim_end_matches('.');
    if name.is_empty() {
        return Err(Damage::Missing {
            what: "query.hostname",
        });
    }
    let answers = activity.answers.iter().flatten();
    let addresses = answers.filter_map(|answer| answer.rdata.0.parse().ok());
    let addresses: Vec<IpAddr> = addresses.take(ANSWERS).collect();
    let dns = Dns {
        name: cut(name.to_owned(), TEXT_BYTES),
        query_type: cut(activity.query.query_type.0.clone(), 16),
        server: address(&activity.dst_endpoint).ok(),
        // A query whose answer is told with it is both; the answer says more.
        is_answer: activity.activity_id.0 == Some(2) || !addresses.is_empty(),
        rcode: activity.rcode_id.small().unwrap_or(0),
        addresses,
    };
    Ok(Some((
        doer(activity)?,
        What::Other(EventBody::Dns(Box::new(dns))),
    )))
}

fn file(activity: &Activity) -> Told {
    let path = activity.file.full_path();
    let op = match activity.activity_id.0 {
        Some(1) => FileOp::Create,
        Some(2) => FileOp::Read,
        Some(3 | 10 | 11) => FileOp::Write,
        Some(4) => FileOp::Unlink,
        Some(5) => FileOp::Rename,
        _ => return Ok(None),
    };
    if path.is_empty() {
        return Err(Damage::Missing { what: "file.path" });
    }
    let to = activity
        .file_result
        .as_ref()
        .filter(|_| op == FileOp::Rename);
    let change = FileChange {
        op,
        path: cut(path, PATH_BYTES),
        to: to.map(|to| cut(to.full_path(), PATH_BYTES)),
        sensitivity: Sensitivity::Watched,
    };
    Ok(Some((
        doer(activity)?,
        What::Other(EventBody::File(Box::new(change))),
    )))
}

fn authentication(activity: &Activity) -> Told {
    if activity.activity_id.0 != Some(1) {
        return Ok(None);
    }
    let process = activity.actor.process.as_deref();
    let exe = process.map_or(String::new(), Process::exe);
    let by_service = |name: &str| match name.trim_start_matches("pam_") {
        "sshd" | "ssh" => LoginMethod::Ssh,
        other => crate::audit::login_method(other),
    };
    let method = match crate::audit::login_method(&exe) {
        LoginMethod::Other => by_service(&activity.service.name.0),
        known => known,
    };
    let source = &activity.src_endpoint;
    let from = [&source.ip, &source.hostname]
        .into_iter()
        .find_map(Text::some);
    let login = Login {
        method,
        user: cut(activity.user.name.0.clone(), TEXT_BYTES),
        uid: activity.user.uid.0.parse().ok(),
        from: cut(from.unwrap_or_default().to_owned(), TEXT_BYTES),
        tty: process.map_or(String::new(), |process| {
            cut(process.tty.0.clone(), TEXT_BYTES)
        }),
        success: activity.status_id.0 == Some(1)
            || (activity.status_id.0.is_none() && activity.status.0 == "Success"),
    };
    Ok(Some((
        doer(activity)?,
        What::Other(EventBody::Login(Box::new(login))),
    )))
}

/// The process that did it; nobody where the producer does not say.
fn doer(activity: &Activity) -> Result<Who, Damage> {
    let process = activity.actor.process.as_deref();
    process.map_or_else(
        || Ok(Who::default()),
        |process| who(process, "actor.process.pid"),
    )
}

fn who(process: &Process, field: &str) -> Result<Who, Damage> {
    who_of(process, field, PARENTS)
}

fn who_of(process: &Process, field: &str, parents: usize) -> Result<Who, Damage> {
    let pid = process.pid.small();
    let pid = pid.ok_or_else(|| Damage::field(field, "pid", b"nothing"))?;
    let parent = process.parent_process.as_deref().filter(|_| parents > 0);
    // What is wrong with a parent takes nothing from the process.
    let parent = parent.and_then(|parent| who_of(parent, field, parents - 1).ok());
    let exe = process.exe();
    Ok(Who {
        pid,
        start_ns: process.start_ns(),
        identity: process.uid.some().map(hash),
        parent: parent.map(Box::new),
        image: (!exe.is_empty() || process.cmd_line.some().is_some())
            .then(|| Box::new(image(process, exe))),
    })
}

fn image(process: &Process, exe: String) -> Exec {
    let mut argv = split(&process.cmd_line.0);
    let cut_off = cut_arguments(&mut argv);
    let uid = process.user.as_ref().map_or(NO_UID, user_id);
    let effective = process.euid.small().unwrap_or(uid);
    Exec {
        exe: cut(exe, PATH_BYTES),
        argv_truncated: cut_off || argv.is_empty(),
        argv,
        cwd: cut(process.working_directory.0.clone(), PATH_BYTES),
        uid,
        euid: effective,
        login_uid: process.auid.small(),
        tty: process.tty.some().is_some(),
        ..Exec::default()
    }
}

fn user_id(user: &User) -> u32 {
    let by_number = user.uid.0.parse().ok();
    let by_name = (user.name.0 == "root").then_some(0);
    by_number.or(by_name).unwrap_or(NO_UID)
}
