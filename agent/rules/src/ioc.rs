//! Indicators: what is known to be used by attackers, by name.
//!
//! A hash table for each kind; networks lie in one table for each length of prefix, so that an address is looked up
//! at most 33 or 129 times, however many there are. Everything is bounded in bytes: what has no room is told.

mod net;
mod plain;
mod stix;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use cordon_behavior::story::Story;
use hex::FromHex as _;
use jiff::Timestamp;

pub(crate) use net::Net;

use crate::problem::{Problem, ProblemKind, Problems, quoted};

/// Most bytes of one list.
const MOST_FILE_BYTES: usize = 16 << 20;
/// Most bytes of all indicators, as they are counted here: some 250,000 of them.
const MOST_BYTES: usize = 24 << 20;
/// What an entry costs beside its text: its place in a table that is at most half empty.
const ENTRY_BYTES: usize = 96;
/// Most hits of one story.
const MOST_HITS: usize = 64;
/// Labels of a name that is looked up.
const MOST_LABELS: usize = 128;

/// One indicator, as lists name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Sha256([u8; 32]),
    Net(Net),
    /// Lower case, without a dot at its end; and with `true` all names below it.
    Domain(String, bool),
}

/// Where an indicator is from, and from when until when it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    list: u16,
    line: u32,
    /// Its id in a bundle.
    id: Option<Box<str>>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// An indicator that a story has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// As listed: an address, a network, a name (`*.` before it: also names below), or a SHA-256.
    pub indicator: String,
    /// What of the story it is: an address, a name, or a SHA-256. Hostile text.
    pub found: String,
    /// The list, and the line or the id in it.
    pub source: String,
    /// It counts from then on.
    pub from: Option<Timestamp>,
    /// And until then.
    pub until: Option<Timestamp>,
}

impl Hit {
    /// Whether the indicator counts at `now`.
    pub fn counts(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }
}

/// All indicators.
#[derive(Debug, Default)]
pub struct Indicators {
    lists: Vec<Arc<str>>,
    hashes: HashMap<[u8; 32], Entry>,
    nets: HashMap<Net, Entry>,
    /// Lengths of prefixes that there are.
    lengths4: BTreeSet<u8>,
    lengths6: BTreeSet<u8>,
    domains: HashMap<String, Entry>,
    /// Names that stand for themselves and all names below them.
    above: HashMap<String, Entry>,
    bytes: usize,
    problems: Problems,
}

/// Gathers indicators.
#[derive(Debug, Default)]
pub struct IndicatorsBuilder {
    made: Indicators,
}

impl IndicatorsBuilder {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a list, at most 16 MiB: a STIX 2.1 bundle where it begins with `{`, plain text else. `name` is for
    /// messages.
    pub fn list(&mut self, name: &str, bytes: &[u8]) {
        let list = self.made.lists.len() as u16;
        if bytes.len() > MOST_FILE_BYTES || list == u16::MAX {
            let why =
                format!("the list has more than {MOST_FILE_BYTES} bytes, or is one list too many");
            return self.unreadable(name, &why);
        }
        self.made.lists.push(name.into());
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        let mut reader = List {
            builder: self,
            name,
            number: list,
        };
        if first == Some(&b'{') {
            stix::read(bytes, &mut reader);
        } else {
            plain::read(bytes, &mut reader);
        }
    }

    /// Something that the caller could not even hand over: a file that cannot be read.
    pub fn unreadable(&mut self, name: &str, why: &str) {
        self.made.problems.unreadable(name, why);
    }

    /// Done.
    pub fn build(self) -> Indicators {
        self.made
    }
}

/// The list that is read.
struct List<'a> {
    builder: &'a mut IndicatorsBuilder,
    name: &'a str,
    number: u16,
}

impl List<'_> {
    fn problem(&mut self, kind: ProblemKind, line: usize, id: &str, why: &str) {
        let problems = &mut self.builder.made.problems;
        problems.add(kind, self.name, line, id, why);
    }

    fn add(
        &mut self,
        value: Value,
        line: usize,
        id: &str,
        validity: (Option<Timestamp>, Option<Timestamp>),
    ) {
        let entry = Entry {
            list: self.number,
            line: u32::try_from(line).unwrap_or(u32::MAX),
            id: (!id.is_empty()).then(|| id.into()),
            from: validity.0,
            until: validity.1,
        };
        let shown = value.to_string();
        match self.builder.made.add(value, entry) {
            Added::New => {}
            Added::Known(source) => {
                let why = format!("{} is in {source} already", quoted(&shown));
                self.problem(ProblemKind::Duplicate, line, id, &why);
            }
            Added::Full => {
                let why =
                    format!("no room: all indicators together have more than {MOST_BYTES} bytes");
                self.problem(ProblemKind::Broken, line, id, &why);
            }
        }
    }
}

enum Added {
    New,
    Known(String),
    Full,
}

impl Indicators {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.hashes.len() + self.nets.len() + self.domains.len() + self.above.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a file's SHA-256 is worth finding out.
    pub fn has_hashes(&self) -> bool {
        !self.hashes.is_empty()
    }

    /// What of the lists does not count, and why; at most 1,000 of them.
    pub fn problems(&self) -> &[Problem] {
        self.problems.listed()
    }

    /// How many problems there are beyond those.
    pub fn unlisted_problems(&self) -> usize {
        self.problems.unlisted()
    }

    /// The indicators that `story` has, whenever they count. `sha256` is of the process's image, where it is known.
    ///
    /// Connections in both directions and names that were asked for are looked up, at most 1,024 of each.
    pub fn hits(&self, story: &Story, sha256: Option<&[u8; 32]>) -> Vec<Hit> {
        let mut hits = Vec::new();
        if self.is_empty() {
            return hits;
        }
        if let Some((digest, entry)) = sha256.and_then(|digest| self.hashes.get_key_value(digest)) {
            let shown = hex::encode(digest);
            self.push(&mut hits, (&shown, &shown), entry);
        }
        let far = story
            .connections
            .iter()
            .filter(|one| one.direction != "listen");
        for one in far.take(1024) {
            if let Ok(address) = one.address.parse::<IpAddr>() {
                let nets = self.nets_of(address.to_canonical());
                for (net, entry) in nets {
                    self.push(&mut hits, (&net.to_string(), &one.address), entry);
                }
            }
        }
        for name in story.dns.iter().take(1024) {
            for (listed, entry) in self.domains_of(name) {
                self.push(&mut hits, (&listed, name), entry);
            }
        }
        hits
    }

    fn push(&self, hits: &mut Vec<Hit>, named: (&str, &str), entry: &Entry) {
        let is_told = hits.iter().any(|hit| hit.indicator == named.0);
        if !is_told && hits.len() < MOST_HITS {
            hits.push(Hit {
                from: entry.from,
                until: entry.until,
                indicator: named.0.to_owned(),
                found: crate::problem::cut(named.1, 255).to_owned(),
                source: self.source(entry),
            });
        }
    }

    fn nets_of(&self, address: IpAddr) -> impl Iterator<Item = (Net, &Entry)> {
        let lengths = if address.is_ipv4() {
            &self.lengths4
        } else {
            &self.lengths6
        };
        lengths.iter().rev().filter_map(move |length| {
            let net = Net::of(address, *length);
            self.nets.get(&net).map(|entry| (net, entry))
        })
    }

    fn domains_of<'a>(&'a self, name: &str) -> Vec<(String, &'a Entry)> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let mut rest = name.as_str();
        let mut found = Vec::new();
        found.extend(self.domains.get(rest).map(|entry| (rest.to_owned(), entry)));
        for _ in 0..MOST_LABELS {
            let entry = self.above.get(rest);
            found.extend(entry.map(|entry| (format!("*.{rest}"), entry)));
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => break,
            }
        }
        found
    }

    fn source(&self, entry: &Entry) -> String {
        let list = self
            .lists
            .get(entry.list as usize)
            .map_or("?", |name| &**name);
        match &entry.id {
            Some(id) => format!("{list}, {id}"),
            None => format!("{list}, line {}", entry.line),
        }
    }

    /// Of two that say the same the first one counts, for the longer of the two times.
    fn add(&mut self, value: Value, entry: Entry) -> Added {
        let text = match &value {
            Value::Domain(name, _) => name.len(),
            _ => 0,
        };
        let cost = ENTRY_BYTES + text + entry.id.as_ref().map_or(0, |id| id.len());
        if self.bytes + cost > MOST_BYTES {
            return Added::Full;
        }
        let known = match value {
            Value::Sha256(digest) => widen(self.hashes.entry(digest), entry),
            Value::Net(net) => {
                let lengths = if net.is_v4() {
                    &mut self.lengths4
                } else {
                    &mut self.lengths6
                };
                lengths.insert(net.length());
                widen(self.nets.entry(net), entry)
            }
            Value::Domain(name, false) => widen(self.domains.entry(name), entry),
            Value::Domain(name, true) => widen(self.above.entry(name), entry),
        };
        match known {
            None => {
                self.bytes += cost;
                Added::New
            }
            Some(known) => Added::Known(self.source(&known)),
        }
    }
}

fn widen<K>(slot: std::collections::hash_map::Entry<'_, K, Entry>, entry: Entry) -> Option<Entry> {
    use std::collections::hash_map::Entry as Slot;
    match slot {
        Slot::Vacant(free) => {
            free.insert(entry);
            None
        }
        Slot::Occupied(mut taken) => {
            prolong(taken.get_mut(), &entry);
            Some(taken.get().clone())
        }
    }
}

fn prolong(known: &mut Entry, other: &Entry) {
    known.from = known.from.zip(other.from).map(|(a, b)| a.min(b));
    known.until = known.until.zip(other.until).map(|(a, b)| a.max(b));
}

/// The digest that `text` is, in hexadecimal.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    <[u8; 32]>::from_hex(text).ok()
}

/// The name in a [`Hit`] of the indicator that a line of a plain list would be; why it would be none.
pub(crate) fn named(line: &str) -> Result<String, String> {
    let value = plain::value(line.trim()).map_err(|(_, why)| why)?;
    Ok(value.to_string())
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sha256(digest) => f.write_str(&hex::encode(digest)),
            Self::Net(net) => net.fmt(f),
            Self::Domain(name, false) => f.write_str(name),
            Self::Domain(name, true) => write!(f, "*.{name}"),
        }
    }
}
