//! Which formats there are, and how a line shows its own.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Cordon's stories, one JSON object a line; loss lines among them.
    Stories,
    /// Cordon's raw events, one JSON object a line.
    Events,
    /// The Linux audit daemon's log, raw or enriched.
    Audit,
    /// laurel's JSON lines of the same.
    Laurel,
    /// Sysmon for Linux: XML events as syslog writes them.
    Sysmon,
    /// OCSF 1.x, one JSON object a line.
    Ocsf,
}

/// A name that no format has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no format {0:?}: there are stories, events, audit, laurel, sysmon, ocsf")]
pub struct UnknownFormat(String);

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Stories,
        Self::Events,
        Self::Audit,
        Self::Laurel,
        Self::Sysmon,
        Self::Ocsf,
    ];

    /// What `--format` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stories => "stories",
            Self::Events => "events",
            Self::Audit => "audit",
            Self::Laurel => "laurel",
            Self::Sysmon => "sysmon",
            Self::Ocsf => "ocsf",
        }
    }

    /// The format that a line looks like.
    pub fn of_line(line: &[u8]) -> Option<Self> {
        let line = line.trim_ascii_start();
        if line.first() == Some(&b'{') {
            return Marks::of(line);
        }
        if memchr::memmem::find(line, b"<Event>").is_some() {
            return Some(Self::Sysmon);
        }
        let is_audit = memchr::memmem::find(line, b"type=").is_some()
            && memchr::memmem::find(line, b"audit(").is_some();
        is_audit.then_some(Self::Audit)
    }
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.name() == text);
        found.ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The keys by which JSON lines are told apart.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Marks {
    class_uid: Option<IgnoredAny>,
    mono_ns: Option<IgnoredAny>,
    kind: Option<IgnoredAny>,
    body: Option<IgnoredAny>,
    #[serde(rename = "ID")]
    laurel: Option<IgnoredAny>,
    id: Option<IgnoredAny>,
    loss: Option<IgnoredAny>,
}

impl Marks {
    fn of(line: &[u8]) -> Option<Format> {
        let marks: Self = serde_json::from_slice(line).ok()?;
        if marks.class_uid.is_some() {
            Some(Format::Ocsf)
        } else if marks.mono_ns.is_some() && (marks.body.is_some() || marks.kind.is_some()) {
            Some(Format::Events)
        } else if marks.laurel.is_some() {
            Some(Format::Laurel)
        } else if marks.id.is_some() || marks.loss.is_some() {
            Some(Format::Stories)
        } else {
            None
        }
    }
}
