//! laurel's JSON lines: one audit event a line. Its records of logins are passed over.

use serde::Deserialize;

use crate::Damage;
use crate::audit::{self, Call, Group, Name, NameType, Stamp, Syscall, socket_address};
use crate::lenient::{Maybe, Number, Text};
use crate::seen::{NO_UID, PATH_BYTES, Seen, cut};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "UPPERCASE")]
struct Line {
    id: Text,
    syscall: Option<Call_>,
    execve: Option<Execve>,
    cwd: Option<Cwd>,
    path: Maybe<Vec<Path>>,
    proctitle: Option<Execve>,
    sockaddr: Maybe<Vec<Address>>,
    kern_module: Option<Module>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Call_ {
    arch: Number,
    syscall: Text,
    success: Text,
    exit: Number,
    pid: Number,
    ppid: Number,
    auid: Number,
    ses: Number,
    uid: Number,
    euid: Number,
    gid: Number,
    egid: Number,
    tty: Text,
    exe: Text,
    #[serde(rename = "SYSCALL")]
    name: Text,
    #[serde(rename = "ARGV")]
    argv: Maybe<Vec<Number>>,
    #[serde(rename = "PPID")]
    parent: Option<Parent>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parent {
    exe: Text,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "UPPERCASE")]
struct Execve {
    argv: Maybe<Vec<Text>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cwd {
    cwd: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Path {
    name: Text,
    nametype: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Address {
    saddr: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Module {
    name: Text,
}

pub(crate) fn line(line: &[u8], out: &mut Vec<Seen>) -> Result<(), Damage> {
    let line: Line = serde_json::from_slice(line).map_err(Damage::json("an event of laurel"))?;
    let stamp = Stamp::parse(&line.id.0)
        .ok_or_else(|| Damage::field("ID", "TIME:SERIAL", line.id.0.as_bytes()))?;
    let Some(call) = line.syscall else {
        return Ok(());
    };
    let mut group = Group {
        syscall: Some(Box::new(call.read()?)),
        cwd: path(&line.cwd.unwrap_or_default().cwd),
        remote: line
            .sockaddr
            .first()
            .and_then(|it| socket_address(&bytes(&it.saddr.0))),
        module: path(&line.kern_module.unwrap_or_default().name),
        ..Group::default()
    };
    for (index, argument) in line.execve.unwrap_or_default().argv.iter().enumerate() {
        group.argv.add(index, &bytes(&argument.0));
    }
    let title = line.proctitle.unwrap_or_default().argv.0;
    group.title = title.iter().map(path).collect();
    group.names = line.path.iter().take(16).map(Path::name).collect();
    out.extend(audit::tell(stamp.wall_ns(), &group));
    Ok(())
}

impl Call_ {
    fn read(self) -> Result<Syscall, Damage> {
        let small = |number: Number| number.small::<u32>();
        let by_name = Call::named(self.name.0.as_bytes());
        let arch = self.arch.0.map_or(0, i64::cast_unsigned);
        let by_number = self.syscall.0.parse().ok();
        let by_number = by_number.and_then(|number| Call::numbered(arch, number));
        let mut arguments = [0; 4];
        for (place, argument) in arguments.iter_mut().zip(&*self.argv) {
            *place = argument.0.map_or(0, i64::cast_unsigned);
        }
        Ok(Syscall {
            call: by_number
                .or(by_name)
                .or_else(|| Call::named(self.syscall.0.as_bytes())),
            success: self.success.some().map(|word| word == "yes"),
            exit: self.exit.0.unwrap_or(0),
            arguments,
            pid: small(self.pid).ok_or(Damage::Missing {
                what: "SYSCALL.pid",
            })?,
            ppid: small(self.ppid).unwrap_or(0),
            login_uid: small(self.auid).filter(|uid| *uid != u32::MAX),
            session: small(self.ses).filter(|session| *session != u32::MAX),
            uid: small(self.uid).unwrap_or(NO_UID),
            euid: small(self.euid).unwrap_or(NO_UID),
            gid: small(self.gid).unwrap_or(NO_UID),
            egid: small(self.egid).unwrap_or(NO_UID),
            tty: self.tty.some().is_some_and(|tty| tty != "(none)"),
            exe: path(&self.exe),
            parent_exe: path(&self.parent.unwrap_or_default().exe),
        })
    }
}

impl Path {
    fn name(&self) -> Name {
        Name {
            path: path(&self.name),
            kind: NameType::of(self.nametype.0.as_bytes()),
        }
    }
}

fn path(text: &Text) -> String {
    cut(
        String::from_utf8_lossy(&bytes(&text.0)).into_owned(),
        PATH_BYTES,
    )
}

/// laurel writes what is not printable, and `%` itself, as `%25`.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%');
        let code = code.and_then(|digits| str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_that_are_no_code_stay() {
        for (text, wanted) in [
            ("%25s%0a", &b"%s\n"[..]),
            ("100%", b"100%"),
            ("%zz%4", b"%zz%4"),
            ("%02%00%7f", &[2, 0, 127]),
        ] {
            assert_eq!(bytes(text), wanted, "{text}");
        }
    }
}
