//! A story as a bounded stream of tokens: a piece of normalised text and the field that it stands in.
//!
//! The stream is bounded ([`Limits`]) and the process itself comes first when room is short: every section may take
//! its share, what is left goes to sections that had more to say, in the order of [`PRIORITY`].

mod lines;
mod net;
mod words;

use cordon_behavior::story::{Process, Relative, StdioKind, Story};

use crate::reads::Reads;
use crate::{hash, place, text};
use lines::{LEAST_OF_LINE, LINES_APART, statements, telling};
use net::{connections, names};

pub use words::{stdio_name, user_class};

/// Where a piece stands. The numbers are part of the artifact's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Field {
    /// The process's image.
    Exe = 0,
    /// Its arguments.
    Argument = 1,
    /// Its working directory.
    Directory = 2,
    /// Its standard descriptors.
    Stdio = 3,
    /// Its user and other typed words.
    State = 4,
    /// An ancestor's image.
    AncestorExe = 5,
    /// An ancestor's arguments.
    AncestorArgument = 6,
    /// A child's image.
    ChildExe = 7,
    /// A child's arguments.
    ChildArgument = 8,
    /// A connection.
    Connection = 9,
    /// A name that was asked for.
    Dns = 10,
    /// A file operation.
    File = 11,
    /// Shell text.
    Command = 12,
    /// Between shell lines.
    Line = 13,
    /// The script that it runs.
    Script = 14,
}

/// How many fields there are room for in the embedding table.
pub const FIELDS: u32 = 16;

/// Bounds of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of a story.
    pub tokens: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tokens: 256 }
    }
}

/// The stream. Pieces share one text, so that a story costs few allocations.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    text: String,
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    field: Field,
    start: u32,
    end: u32,
}

impl Tokens {
    /// Reads what `reads` lets through of a story. Work is bounded by `limits` and by a fixed part of each long text,
    /// however large the story is.
    pub fn of(story: &Story, limits: Limits, reads: &Reads) -> Self {
        // Room for most stories, so that they cost few allocations.
        let mut text = String::with_capacity(1024);
        let sections = Sections::of(story, &mut text, limits.tokens, reads);
        Self {
            spans: sections.select(limits.tokens),
            text,
        }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// No token at all: nothing to judge.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Field and piece, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &str)> {
        self.spans.iter().map(|span| {
            (
                span.field,
                &self.text[span.start as usize..span.end as usize],
            )
        })
    }

    /// Hash of each piece, with its field.
    pub fn hashes(&self) -> impl Iterator<Item = (Field, u64)> + '_ {
        self.iter()
            .map(|(field, piece)| (field, hash::hash(0, piece.as_bytes())))
    }
}

/// Sections in the order in which they stand in the stream.
const SECTIONS: usize = 8;
const ANCESTORS: usize = 0;
const PROCESS: usize = 1;
const CHILDREN: usize = 2;
const CONNECTIONS: usize = 3;
const DNS: usize = 4;
const FILES: usize = 5;
const COMMAND: usize = 6;
const SESSION: usize = 7;
/// Who gets what is left over, first to last.
const PRIORITY: [usize; SECTIONS] = [
    PROCESS,
    COMMAND,
    SESSION,
    CONNECTIONS,
    FILES,
    CHILDREN,
    ANCESTORS,
    DNS,
];
/// Each section's sure share, in 256ths of the stream.
const SHARES: [usize; SECTIONS] = [40, 80, 40, 16, 8, 24, 96, 128];

#[derive(Default)]
struct Sections([Vec<Span>; SECTIONS]);

impl Sections {
    fn of(story: &Story, text: &mut String, most: usize, reads: &Reads) -> Self {
        let mut sections = Self::default();
        for section in [PROCESS, ANCESTORS] {
            sections.0[section].reserve(64);
        }
        let mut put = |section: usize, write: &mut dyn FnMut(&mut Sink)| {
            let mut sink = Sink {
                text,
                spans: &mut sections.0[section],
                most,
            };
            write(&mut sink);
        };
        if let Some(own) = &story.process {
            put(PROCESS, &mut |sink| process(own, reads, sink));
        }
        put(ANCESTORS, &mut |sink| ancestors(&story.ancestors, sink));
        put(CHILDREN, &mut |sink| children(&story.children, sink));
        put(CONNECTIONS, &mut |sink| {
            connections(reads.connections(story), sink);
        });
        put(DNS, &mut |sink| names(reads.dns(story), sink));
        put(FILES, &mut |sink| {
            for file in reads.files(story) {
                sink.put(Field::File, &file.op.to_ascii_lowercase());
                sink.pieces(Field::File, &file.path, 6);
                if sink.is_full() {
                    break;
                }
            }
        });
        if let Some(command) = &story.command {
            put(COMMAND, &mut |sink| {
                sink.script(Field::Command, command, sink.most);
            });
        }
        put(SESSION, &mut |sink| {
            let lines = telling(&story.session, most / LEAST_OF_LINE);
            let share = (most / lines.len().max(1)).min(most / 2).max(LEAST_OF_LINE) - 1;
            for line in lines {
                sink.put(Field::Line, ";");
                sink.script(Field::Command, line, share);
                if sink.is_full() {
                    break;
                }
            }
        });
        sections
    }

    fn select(mut self, most: usize) -> Vec<Span> {
        let mut room = most;
        let mut granted = [0; SECTIONS];
        for index in PRIORITY {
            granted[index] = self.0[index]
                .len()
                .min(SHARES[index] * most / 256)
                .min(room);
            room -= granted[index];
        }
        for index in PRIORITY {
            let more = (self.0[index].len() - granted[index]).min(room);
            granted[index] += more;
            room -= more;
        }
        let mut stream = Vec::with_capacity(most - room);
        for (section, granted) in self.0.iter_mut().zip(granted) {
            stream.extend(section.drain(..granted));
        }
        stream
    }
}

struct Sink<'a> {
    text: &'a mut String,
    spans: &'a mut Vec<Span>,
    most: usize,
}

impl Sink<'_> {
    fn is_full(&self) -> bool {
        self.spans.len() >= self.most
    }

    fn put(&mut self, field: Field, piece: &str) {
        if self.is_full() || piece.is_empty() {
            return;
        }
        let start = self.text.len() as u32;
        let end = if piece.len() <= 32 {
            piece.len()
        } else {
            let cut = piece.char_indices().nth(32);
            cut.map_or(piece.len(), |(at, _)| at)
        };
        self.text.push_str(&piece[..end]);
        self.spans.push(Span {
            field,
            start,
            end: self.text.len() as u32,
        });
    }

    /// At most `most` pieces of shell text: all of it, or where that is more, its beginning and then the beginnings of
    /// its telling lines. What an intruder does late in a long script is in sight too, unless it is longer than what is
    /// looked at.
    fn script(&mut self, field: Field, text: &str, most: usize) {
        let begin = self.spans.len();
        let most = most.min(self.most.saturating_sub(begin));
        self.pieces(field, text, most);
        let is_whole = self.spans.len() - begin < most;
        if is_whole || most < LINES_APART * LEAST_OF_LINE {
            return;
        }
        let lines = statements(text);
        let lines = telling(&lines, most / LEAST_OF_LINE);
        if lines.len() < 2 {
            return;
        }
        // The beginning keeps a quarter: nobody pushes it out of sight with long lines after it.
        self.spans.truncate(begin + most / 4);
        let end = begin + most;
        for (index, line) in lines.iter().enumerate() {
            let share = (end - self.spans.len()) / (lines.len() - index);
            self.pieces(field, line, share);
        }
    }

    /// At most `most` pieces of `text`.
    fn pieces(&mut self, field: Field, text: &str, most: usize) {
        if most == 0 || self.is_full() {
            return;
        }
        let mut left = most;
        text::pieces(text, &mut |piece| {
            self.put(field, piece);
            left -= 1;
            left > 0 && !self.is_full()
        });
    }

    fn image(&mut self, field: Field, exe: &str) {
        self.pieces(field, exe, 6);
    }

    fn arguments(&mut self, field: Field, argv: &[String], most: usize) {
        let until = self.spans.len().saturating_add(most);
        // The first argument repeats the image unless somebody renamed it; its last component is kept for that case.
        for (index, argument) in argv.iter().enumerate() {
            let left = until.saturating_sub(self.spans.len());
            if left == 0 || self.is_full() {
                break;
            }
            let shown = if index == 0 && !argument.contains(' ') {
                place::base(argument)
            } else {
                argument
            };
            // What a shell was handed is an argument as well: half of the stream, at most.
            self.script(field, shown, left.min(self.most / 2));
        }
    }
}

fn process(own: &Process, reads: &Reads, sink: &mut Sink) {
    sink.image(Field::Exe, &own.exe);
    stdio(own, sink);
    state(own, sink);
    if reads.facts() {
        sink.pieces(Field::Script, &own.script, 6);
        for name in own.env.iter().take(8) {
            sink.put(Field::State, &name.to_ascii_lowercase());
        }
    }
    sink.pieces(Field::Directory, &own.cwd, 4);
    sink.arguments(Field::Argument, &own.argv, usize::MAX);
}

fn stdio(own: &Process, sink: &mut Sink) {
    for (name, kind) in [("in", own.stdin), ("out", own.stdout), ("err", own.stderr)] {
        if kind != StdioKind::Unknown {
            sink.put(Field::Stdio, &format!("{name}={}", stdio_name(kind)));
        }
    }
}

fn state(own: &Process, sink: &mut Sink) {
    if let Some(uid) = own.uid {
        sink.put(Field::State, user_class(uid));
        if own.euid == Some(0) && uid != 0 {
            sink.put(Field::State, "raised");
        }
    }
    if let Some(tty) = own.tty {
        sink.put(Field::State, if tty { "terminal" } else { "headless" });
    }
    for (is, word) in [(own.deleted_exe, "deleted"), (own.memfd, "memfd")] {
        if is {
            sink.put(Field::State, word);
        }
    }
}

fn ancestors(ancestors: &[Relative], sink: &mut Sink) {
    // The nearest say most; of the farther ones the name is enough.
    for (index, ancestor) in ancestors.iter().take(8).enumerate() {
        sink.image(Field::AncestorExe, &ancestor.exe);
        let most = [24, 12, 6].get(index).copied().unwrap_or(3);
        sink.arguments(Field::AncestorArgument, &ancestor.argv, most);
    }
}

fn children(children: &[Relative], sink: &mut Sink) {
    for child in children {
        sink.image(Field::ChildExe, &child.exe);
        sink.arguments(Field::ChildArgument, &child.argv, 24);
        if sink.is_full() {
            break;
        }
    }
}

#[cfg(test)]
mod tests;
