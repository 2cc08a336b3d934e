//! Sysmon for Linux: XML events, one a line, as syslog writes them.

mod xml;

use std::net::{IpAddr, SocketAddr};

use cordon_behavior::event::{EventBody, Exec, FileChange, FileOp, Sensitivity};
use jiff::Timestamp;

use crate::Damage;
use crate::command::split;
use crate::seen::{NO_UID, PATH_BYTES, Seen, What, Who, cut, cut_arguments, hash};
use xml::Data;

const PROCESS_CREATE: u32 = 1;
const NETWORK_CONNECT: u32 = 3;
const PROCESS_TERMINATE: u32 = 5;
const PROCESS_ACCESS: u32 = 10;
const FILE_CREATE: u32 = 11;
const FILE_DELETE: u32 = 23;
const FILE_DELETE_DETECTED: u32 = 26;

/// Lines of other programs in the same file are passed over.
pub(crate) fn line(line: &[u8], out: &mut Vec<Seen>) -> Result<(), Damage> {
    let Some(at) = memchr::memmem::find(line, b"<Event>") else {
        return if memchr::memmem::find(line, b"</Event>").is_some() {
            Err(Damage::Missing { what: "<Event>" })
        } else {
            Ok(())
        };
    };
    let data = xml::read(&line[at..])?;
    let told = match data.event_id.ok_or(Damage::Missing { what: "EventID" })? {
        PROCESS_CREATE => Some(created(&data)?),
        NETWORK_CONNECT => connected(&data)?,
        PROCESS_TERMINATE => Some(ended(&data)?),
        PROCESS_ACCESS => Some(accessed(&data)?),
        FILE_CREATE => Some(file(&data, FileOp::Create)?),
        FILE_DELETE | FILE_DELETE_DETECTED => Some(file(&data, FileOp::Unlink)?),
        _ => None,
    };
    out.extend(told);
    Ok(())
}

fn created(data: &Data) -> Result<Seen, Damage> {
    let mut argv = split(data.get("CommandLine"));
    let cut_off = cut_arguments(&mut argv);
    let uid = uid(data.get("User"));
    let exec = Exec {
        exe: path(data.get("Image")),
        argv,
        argv_truncated: cut_off,
        cwd: path(data.get("CurrentDirectory")),
        uid,
        euid: uid,
        ..Exec::default()
    };
    let mut who = who(data, "")?;
    who.parent = parent(data);
    seen(data, who, What::Exec(Box::new(exec)))
}

fn parent(data: &Data) -> Option<Box<Who>> {
    let mut parent = who(data, "Parent").ok().filter(|parent| parent.pid != 0)?;
    let exe = path(data.get("ParentImage"));
    let mut argv = split(data.get("ParentCommandLine"));
    let cut_off = cut_arguments(&mut argv);
    let uid = uid(data.get("ParentUser"));
    parent.image = (!exe.is_empty()).then(|| {
        Box::new(Exec {
            exe,
            argv,
            argv_truncated: cut_off,
            uid,
            euid: uid,
            ..Exec::default()
        })
    });
    Some(Box::new(parent))
}

fn connected(data: &Data) -> Result<Option<Seen>, Damage> {
    let end = |which: &str| -> Result<SocketAddr, Damage> {
        let (ip, port) = (format!("{which}Ip"), format!("{which}Port"));
        let found = data.get(&ip);
        let address: IpAddr = found
            .parse()
            .map_err(|_| Damage::field(ip, "IP address", found.as_bytes()))?;
        Ok(SocketAddr::new(
            address.to_canonical(),
            number(data, &port)?,
        ))
    };
    let initiated = data.get("Initiated") == "true";
    let body = match (data.get("Protocol"), initiated) {
        ("tcp", true) => EventBody::Connect {
            remote: end("Destination")?,
        },
        ("tcp", false) => EventBody::Accept {
            remote: end("Source")?,
            local_port: end("Destination")?.port(),
        },
        ("udp", true) => EventBody::Udp {
            remote: end("Destination")?,
        },
        _ => return Ok(None),
    };
    Ok(Some(seen(data, with_image(data)?, What::Other(body))?))
}

fn ended(data: &Data) -> Result<Seen, Damage> {
    // How it ended is not told.
    let body = EventBody::Exit { code: 0, signal: 0 };
    seen(data, with_image(data)?, What::Other(body))
}

/// On Linux the access is a ptrace.
fn accessed(data: &Data) -> Result<Seen, Damage> {
    let mut source = who(data, "Source")?;
    source.image = image(data, "SourceImage");
    let mut target = who(data, "Target")?;
    target.image = image(data, "TargetImage");
    seen(data, source, What::Ptrace(Box::new(target)))
}

fn file(data: &Data, op: FileOp) -> Result<Seen, Damage> {
    let change = FileChange {
        op,
        path: path(data.get("TargetFilename")),
        to: None,
        sensitivity: Sensitivity::Watched,
    };
    let body = EventBody::File(Box::new(change));
    seen(data, with_image(data)?, What::Other(body))
}

fn seen(data: &Data, who: Who, what: What) -> Result<Seen, Damage> {
    Ok(Seen {
        wall_ns: time(data)?,
        who,
        what,
    })
}

fn with_image(data: &Data) -> Result<Who, Damage> {
    let mut who = who(data, "")?;
    who.image = image(data, "Image");
    Ok(who)
}

fn image(data: &Data, field: &str) -> Option<Box<Exec>> {
    let exe = path(data.get(field));
    let uid = uid(data.get("User"));
    (!exe.is_empty()).then(|| {
        Box::new(Exec {
            exe,
            argv_truncated: true,
            uid,
            euid: uid,
            ..Exec::default()
        })
    })
}

/// `ProcessId` and `ProcessGuid`, or those of its parent or of the other side.
fn who(data: &Data, which: &str) -> Result<Who, Damage> {
    let mut who = Who::pid(number(data, &format!("{which}ProcessId"))?);
    let guid = data.get(&format!("{which}ProcessGuid"));
    // One of nobody is all zeros.
    let is_real = guid
        .bytes()
        .any(|byte| matches!(byte, b'1'..=b'9' | b'a'..=b'f' | b'A'..=b'F'));
    who.identity = is_real.then(|| hash(guid));
    Ok(who)
}

fn number<T: std::str::FromStr>(data: &Data, field: &str) -> Result<T, Damage> {
    let found = data.get(field);
    let number = found.parse();
    number.map_err(|_| Damage::field(field, "number", found.as_bytes()))
}

/// `2026-01-02 03:04:05.678`, in UTC; else when it was logged.
fn time(data: &Data) -> Result<u64, Damage> {
    let utc = data.get("UtcTime");
    let text = if utc.is_empty() {
        data.logged.clone()
    } else {
        format!("{utc}Z")
    };
    let time: Timestamp = text
        .parse()
        .map_err(|_| Damage::field("UtcTime", "time", text.as_bytes()))?;
    u64::try_from(time.as_nanosecond())
        .map_err(|_| Damage::field("UtcTime", "time after 1970", text.as_bytes()))
}

/// Only the name is told.
fn uid(user: &str) -> u32 {
    if user == "root" { 0 } else { NO_UID }
}

fn path(text: &str) -> String {
    cut(text.to_owned(), PATH_BYTES)
}
