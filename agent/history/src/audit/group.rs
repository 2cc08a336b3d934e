//! What the records of one event say together.

use std::net::SocketAddr;

use super::record::{Kind, Record};
use super::{Call, address};
use crate::Damage;
use crate::seen::{ARGV_BYTES, NO_UID, PATH_BYTES};

/// Paths kept of one event; a system call has at most a handful.
const NAMES: usize = 16;

/// One event.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub syscall: Option<Box<Syscall>>,
    pub argv: Arguments,
    pub cwd: String,
    pub names: Vec<Name>,
    pub remote: Option<SocketAddr>,
    /// The arguments at the time of the call, cut at 128 bytes by the kernel.
    pub title: Vec<String>,
    pub module: String,
    pub bpf_program: Option<u32>,
    pub target: u32,
}

/// The SYSCALL record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Syscall {
    pub call: Option<Call>,
    /// Absent for calls that do not return.
    pub success: Option<bool>,
    pub exit: i64,
    pub arguments: [u64; 4],
    pub pid: u32,
    pub ppid: u32,
    pub login_uid: Option<u32>,
    pub session: Option<u32>,
    pub uid: u32,
    pub euid: u32,
    pub gid: u32,
    pub egid: u32,
    pub tty: bool,
    pub exe: String,
    /// What the parent runs, when the log says so.
    pub parent_exe: String,
}

/// A PATH record.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub path: String,
    pub kind: NameType,
}

/// What a path was to the system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameType {
    Normal,
    Create,
    Delete,
    Parent,
}

impl NameType {
    pub(crate) fn of(word: &[u8]) -> Self {
        match word {
            b"CREATE" => Self::Create,
            b"DELETE" => Self::Delete,
            b"PARENT" => Self::Parent,
            _ => Self::Normal,
        }
    }
}

/// The arguments of an EXECVE, whose pieces come in order.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
    /// There were more.
    pub cut: bool,
}

impl Arguments {
    /// Adds a piece of argument `index`.
    pub(crate) fn add(&mut self, index: usize, piece: &[u8]) {
        let is_next = index == self.pieces.len();
        let cost = piece.len() + if is_next { size_of::<Vec<u8>>() } else { 0 };
        if self.cut || index > self.pieces.len() || self.bytes + cost > ARGV_BYTES {
            self.cut = true;
            return;
        }
        self.bytes += cost;
        if is_next {
            self.pieces.push(Vec::new());
        }
        self.pieces[index].extend_from_slice(piece);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        self.pieces.iter().map(text).collect()
    }
}

impl Group {
    /// An estimate of what it holds beside itself.
    pub(super) fn bytes(&self) -> usize {
        let names: usize = self
            .names
            .iter()
            .map(|name| name.path.len() + size_of::<Name>())
            .sum();
        let title: usize = self
            .title
            .iter()
            .map(|word| word.len() + size_of::<String>())
            .sum();
        let exe = self
            .syscall
            .as_ref()
            .map_or(0, |call| call.exe.len() + size_of::<Syscall>());
        names + title + exe + self.argv.bytes + self.cwd.len() + self.module.len()
    }

    pub(super) fn add(&mut self, record: &Record<'_>) -> Result<(), Damage> {
        let fields = record.fields();
        let encoded = |key: &str, what| {
            let value = fields.get(key).ok_or(Damage::Missing { what })?;
            value.encoded(key)
        };
        match record.kind {
            Kind::Syscall => self.syscall = Some(Box::new(Syscall::read(record)?)),
            Kind::Execve => self.execve(record)?,
            Kind::Cwd => self.cwd = path(&encoded("cwd", "cwd=")?),
            Kind::Path => self.name(record)?,
            Kind::ProcTitle => {
                let title = encoded("proctitle", "proctitle=")?;
                self.title = words(&title);
            }
            Kind::SockAddr => {
                self.remote = address::socket_address(&encoded("saddr", "saddr=")?);
            }
            Kind::Module => self.module = path(&encoded("name", "name=")?),
            Kind::Bpf => {
                let loaded = fields.get("op").is_some_and(|op| op.raw() == b"LOAD");
                if let Some(id) = fields.get("prog-id").filter(|_| loaded) {
                    self.bpf_program = Some(id.number("prog-id")?);
                }
            }
            Kind::ObjPid => {
                if let Some(pid) = fields.get("opid") {
                    self.target = pid.number("opid")?;
                }
            }
            Kind::End | Kind::Login(_) | Kind::Other => {}
        }
        Ok(())
    }

    /// `a0="ls" a1=2D6C a2_len=9000 a2[0]=... a2[1]=...`
    fn execve(&mut self, record: &Record<'_>) -> Result<(), Damage> {
        for (key, value) in record.fields() {
            if let Some(index) = argument(key) {
                let piece = value.encoded(&String::from_utf8_lossy(key))?;
                self.argv.add(index, &piece);
            }
        }
        Ok(())
    }

    fn name(&mut self, record: &Record<'_>) -> Result<(), Damage> {
        if self.names.len() >= NAMES {
            return Ok(());
        }
        let (mut found, mut kind) = (None, NameType::Normal);
        for (key, value) in record.fields() {
            match key {
                b"name" => found = Some(value.encoded("name")?),
                b"nametype" | b"objtype" => kind = NameType::of(value.raw()),
                _ => {}
            }
        }
        let found = found.ok_or(Damage::Missing { what: "name=" })?;
        self.names.push(Name {
            path: path(&found),
            kind,
        });
        Ok(())
    }
}

/// The number in `a12` and `a12[3]`; not `a12_len`.
fn argument(key: &[u8]) -> Option<usize> {
    let digits = str::from_utf8(key.strip_prefix(b"a")?).ok()?;
    let digits = digits.split_once('[').map_or(digits, |(number, _)| number);
    digits.parse().ok()
}

pub(crate) fn path(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(PATH_BYTES)]).into_owned()
}

/// The words of a process's title, which are separated by NUL.
fn words(title: &[u8]) -> Vec<String> {
    let title = title.strip_suffix(&[0]).unwrap_or(title);
    let title = &title[..title.len().min(PATH_BYTES)];
    let word = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    title.split(|byte| *byte == 0).map(word).collect()
}

impl Syscall {
    fn read(record: &Record<'_>) -> Result<Self, Damage> {
        let mut call = Self {
            uid: NO_UID,
            euid: NO_UID,
            ..Self::default()
        };
        let (mut arch, mut number, mut pid) = (0, None, None);
        for (key, value) in record.fields() {
            match key {
                b"arch" => arch = value.register("arch")?,
                b"syscall" => number = Some(value),
                b"success" => call.success = Some(value.raw() == b"yes"),
                b"exit" => call.exit = value.number("exit").unwrap_or(0),
                b"a0" => call.arguments[0] = value.register("a0")?,
                b"a1" => call.arguments[1] = value.register("a1")?,
                b"a2" => call.arguments[2] = value.register("a2")?,
                b"a3" => call.arguments[3] = value.register("a3")?,
                b"ppid" => call.ppid = value.number("ppid")?,
                b"pid" => pid = Some(value.number("pid")?),
                b"auid" => call.login_uid = id(value.number("auid")?),
                b"ses" => call.session = id(value.number("ses")?),
                b"uid" => call.uid = value.number("uid")?,
                b"euid" => call.euid = value.number("euid")?,
                b"gid" => call.gid = value.number("gid")?,
                b"egid" => call.egid = value.number("egid")?,
                b"tty" => call.tty = !matches!(value.raw(), b"(none)" | b"?" | b""),
                b"exe" => call.exe = path(&value.encoded("exe")?),
                _ => {}
            }
        }
        call.pid = pid.ok_or(Damage::Missing { what: "pid=" })?;
        let number = number.ok_or(Damage::Missing { what: "syscall=" })?;
        let by_number = number.number("syscall").ok();
        call.call = by_number
            .and_then(|number| Call::numbered(arch, number))
            // `ausearch -i` and enriched logs have names.
            .or_else(|| Call::named(number.raw()))
            .or_else(|| Call::named(record.enrichment().get("SYSCALL")?.raw()));
        Ok(call)
    }
}

/// A login uid or session: the greatest number means none.
pub(crate) fn id(number: u32) -> Option<u32> {
    (number != u32::MAX).then_some(number)
}
