//! What one process did beside making processes.

use super::flow::Flow;
use super::kept::{Kept, Seen};
use super::pace::Pace;
use super::rates::Rates;
use crate::Limits;
use crate::event::{FileChange, FileOp, Login, Namespaces, Sensitivity, SocketFamily};
use crate::story::Raised;

/// Most bytes kept of a path that was changed, traced, mounted or mapped.
const PATH_BYTES: usize = 512;
/// Most bytes kept of a name; DNS allows 253.
const NAME_BYTES: usize = 255;

/// All of it. Most processes never do any of this, and have none.
#[derive(Debug, Default)]
pub(crate) struct Doings {
    pub flows: Kept<Flow>,
    pub names: Kept<Name>,
    pub files: Kept<FileDone>,
    pub facts: Kept<Fact>,
    pub rates: Rates,
    pub pace: Pace,
    /// The first time that the effective uid became root's: when, and from which uid.
    pub raised: Option<(u64, Raised)>,
    /// Effective capabilities that were gained, a bit each.
    pub gained: u64,
    /// Namespaces that were changed.
    pub namespaces: Namespaces,
}

impl Doings {
    pub(crate) fn bytes(&self) -> usize {
        // The box's own bookkeeping included.
        size_of::<Self>()
            + 16
            + self.flows.bytes()
            + self.names.bytes()
            + self.files.bytes()
            + self.facts.bytes()
    }
}

/// A name that was asked for.
#[derive(Debug)]
pub(crate) struct Name(pub Box<str>);

impl Name {
    /// DNS does not tell case, and neither does this.
    pub(crate) fn new(name: &str) -> Self {
        Self(
            cut(name.trim_end_matches('.'), NAME_BYTES)
                .to_ascii_lowercase()
                .into(),
        )
    }
}

impl Seen for Name {
    fn is_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn text_bytes(&self) -> usize {
        self.0.len()
    }
}

/// An operation on a watched file.
#[derive(Debug, PartialEq)]
pub(crate) struct FileDone {
    pub op: FileOp,
    pub sensitivity: Sensitivity,
    pub path: Box<str>,
    pub to: Option<Box<str>>,
}

impl FileDone {
    pub(crate) fn new(change: &FileChange) -> Self {
        Self {
            op: change.op,
            sensitivity: change.sensitivity,
            path: cut(&change.path, PATH_BYTES).into(),
            to: change.to.as_deref().map(|to| cut(to, PATH_BYTES).into()),
        }
    }
}

impl Seen for FileDone {
    fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    fn text_bytes(&self) -> usize {
        self.path.len() + self.to.as_ref().map_or(0, |to| to.len())
    }

    fn telling(&self) -> u8 {
        self.sensitivity as u8
    }
}

/// Other things done, each told once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    ExecutableMemory(Box<str>),
    /// The traced program; empty when it is not known.
    Ptraced(Box<str>),
    Module(Box<str>),
    Bpf(Box<str>),
    Mount {
        path: Box<str>,
        attached: bool,
        fs_type: Box<str>,
    },
    RawSocket(SocketFamily),
    Login(LoginSeen),
}

impl Fact {
    pub(crate) fn executable_memory(path: &str) -> Self {
        Self::ExecutableMemory(cut(path, PATH_BYTES).into())
    }

    pub(crate) fn ptraced(exe: &str) -> Self {
        Self::Ptraced(cut(exe, PATH_BYTES).into())
    }

    pub(crate) fn module(name: &str) -> Self {
        Self::Module(cut(name, NAME_BYTES).into())
    }

    pub(crate) fn bpf(program_type: &str, name: &str) -> Self {
        Self::Bpf(cut(&format!("{program_type}:{name}"), NAME_BYTES).into())
    }

    pub(crate) fn mount(path: &str, attached: bool, fs_type: &str) -> Self {
        Self::Mount {
            path: cut(path, PATH_BYTES).into(),
            attached,
            fs_type: cut(fs_type, NAME_BYTES).into(),
        }
    }
}

impl Seen for Fact {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Login(known), Self::Login(again)) => known.is_same(again),
            _ => self == other,
        }
    }

    fn merge(&mut self, again: Self) {
        if let (Self::Login(known), Self::Login(again)) = (self, again) {
            known.merge(again);
        }
    }

    fn text_bytes(&self) -> usize {
        match self {
            Self::ExecutableMemory(text)
            | Self::Ptraced(text)
            | Self::Module(text)
            | Self::Bpf(text) => text.len(),
            Self::Mount { path, fs_type, .. } => path.len() + fs_type.len(),
            Self::RawSocket(_) => 0,
            Self::Login(login) => login.text_bytes(),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::ExecutableMemory(_) => 0,
            Self::Ptraced(_) => 1,
            Self::Module(_) => 2,
            Self::Bpf(_) => 3,
            Self::Mount { .. } => 4,
            Self::RawSocket(_) => 5,
            Self::Login(_) => 6,
        }
    }
}

/// A login, and how often it was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoginSeen {
    pub login: Login,
    pub times: u32,
}

impl LoginSeen {
    pub(crate) fn new(login: &Login) -> Self {
        let short = |text: &str| cut(text, NAME_BYTES).to_owned();
        Self {
            login: Login {
                user: short(&login.user),
                from: short(&login.from),
                tty: String::new(),
                ..login.clone()
            },
            times: 1,
        }
    }
}

impl Seen for LoginSeen {
    fn is_same(&self, other: &Self) -> bool {
        self.login == other.login
    }

    fn merge(&mut self, again: Self) {
        self.times = self.times.saturating_add(again.times);
    }

    fn text_bytes(&self) -> usize {
        self.login.user.capacity() + self.login.from.capacity()
    }
}

/// The limit of a flow's kind.
pub(crate) fn most_flows(flow: &Flow, limits: &Limits) -> usize {
    use crate::event::{Direction, Protocol};
    match (flow.direction, flow.protocol) {
        (None, _) => limits.listening,
        _ if flow.is_local() => limits.loopback,
        (Some(Direction::In), _) => limits.accepted,
        (Some(Direction::Out), Protocol::Tcp) => limits.connections,
        (Some(Direction::Out), Protocol::Udp) => limits.datagrams,
    }
}

/// At most `most` bytes of a text, cut at a character.
pub(super) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
