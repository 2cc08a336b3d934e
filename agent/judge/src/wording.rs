//! Parts in plain words. What the endpoint wrote is quoted and cut short; whoever shows it escapes it.

use std::fmt::Write as _;
use std::ops::Range;

use cordon_behavior::story::{Connection, FileOperation, Process, Relative, StdioKind, Story};
use cordon_model::place;

use crate::part::{Part, Stdio, Text, is_like};

/// Most characters of one quotation.
const MOST_QUOTED: usize = 100;
/// Most parts that one reason names.
const MOST_NAMED: usize = 3;

/// Names `parts` of `story`, which belong to one group unless they are all of them.
pub(crate) fn of(story: &Story, all: &[Part], parts: Range<usize>) -> String {
    let named = &all[parts.clone()];
    if parts.len() == all.len()
        && all.len() > 1
        && named.first().map(Part::group) != named.last().map(Part::group)
    {
        return "the story as a whole; no part of it carries the score alone".to_owned();
    }
    if let Some(words) = one_text(story, named) {
        return words;
    }
    let mut words: Vec<String> = named
        .iter()
        .take(MOST_NAMED)
        .map(|part| one(story, part))
        .collect();
    if named.len() > MOST_NAMED {
        words.push(format!("{} more like these", named.len() - MOST_NAMED));
    }
    words.join(", ")
}

/// Pieces of one text with what is between them; lines of one session.
fn one_text(story: &Story, parts: &[Part]) -> Option<String> {
    match (parts.first()?, parts.last()?) {
        (Part::Text(place, first), Part::Text(other, last)) if place == other => {
            Some(text(story, *place, first.start..last.end))
        }
        (Part::Text(Text::Line(first), _), last) if parts.len() > 1 => {
            let last = match last {
                Part::Text(Text::Line(last), _) => last + 1,
                _ => story.session.len(),
            };
            let lines = story.session.get(*first..last)?.iter().take(MOST_QUOTED);
            let lines: Vec<&str> = lines.map(String::as_str).collect();
            Some(format!(
                "session lines {} to {last}: {}",
                first + 1,
                quoted(&lines.join("; "))
            ))
        }
        _ => None,
    }
}

fn one(story: &Story, part: &Part) -> String {
    let of_process =
        |words: &dyn Fn(&Process) -> String| story.process.as_ref().map(words).unwrap_or_default();
    match part {
        Part::Program => {
            of_process(&|process| format!("runs {}", quoted(program(&process.exe, &process.argv))))
        }
        Part::Directory => of_process(&|process| format!("works in {}", quoted(&process.cwd))),
        Part::Stdio(which) => of_process(&|process| stdio(process, *which)),
        Part::Terminal => of_process(&|process| {
            let has = if process.tty == Some(true) { "a" } else { "no" };
            format!("has {has} terminal")
        }),
        Part::User => of_process(&user),
        Part::DeletedExe => "its program file is deleted".to_owned(),
        Part::Memfd => "its program is in memory only (memfd)".to_owned(),
        Part::Text(place, range) => text(story, *place, range.clone()),
        Part::Arguments(from) => {
            of_process(&|process| format!("{} more arguments", process.argv.len() - from))
        }
        Part::Lines(from) => format!("{} more session lines", story.session.len() - from),
        Part::Ancestors(range) => ancestors(&story.ancestors, range),
        Part::Children(range) => children(&story.children[range.clone()]),
        Part::Connections(first) => connections(&story.connections, *first),
        Part::Names(range) => several("asks for the name ", &story.dns[range.clone()]),
        Part::Files(range) => files(&story.files[range.clone()]),
    }
}

fn program<'a>(exe: &'a str, argv: &'a [String]) -> &'a str {
    match argv.first() {
        Some(name) if exe.is_empty() => name,
        _ => exe,
    }
}

fn kind(kind: StdioKind) -> &'static str {
    match kind {
        StdioKind::Tty => "a terminal",
        StdioKind::Null => "/dev/null",
        StdioKind::Pipe => "a pipe",
        StdioKind::File => "a file",
        StdioKind::Socket => "a socket",
        StdioKind::UnixSocket => "a local socket",
        StdioKind::Closed => "closed",
        StdioKind::Other => "of another kind",
        StdioKind::Unknown => "unknown",
    }
}

fn stdio(process: &Process, which: Stdio) -> String {
    match which {
        Stdio::All => format!(
            "standard input, output and error are each {}",
            kind(process.stdin)
        ),
        Stdio::Input => format!("standard input is {}", kind(process.stdin)),
        Stdio::Output => format!("standard output is {}", kind(process.stdout)),
        Stdio::Error => format!("standard error is {}", kind(process.stderr)),
    }
}

fn user(process: &Process) -> String {
    match (process.uid, process.euid) {
        (Some(uid), Some(euid)) if uid != euid => {
            format!("runs as user {uid} with the rights of user {euid}")
        }
        (Some(uid), _) | (None, Some(uid)) => format!("runs as user {uid}"),
        (None, None) => String::new(),
    }
}

fn text(story: &Story, place: Text, range: Range<usize>) -> String {
    let piece = |text: Option<&String>| {
        quoted(
            text.and_then(|text| text.get(range.clone()))
                .unwrap_or_default(),
        )
    };
    match place {
        Text::Argument(index) => {
            format!(
                "argument {}",
                piece(
                    story
                        .process
                        .as_ref()
                        .and_then(|process| process.argv.get(index))
                )
            )
        }
        Text::Command => format!("shell text {}", piece(story.command.as_ref())),
        Text::Line(index) => format!(
            "session line {}: {}",
            index + 1,
            piece(story.session.get(index))
        ),
    }
}

fn ancestors(ancestors: &[Relative], range: &Range<usize>) -> String {
    let nearest = &ancestors[range.start];
    let named = if range.start == 0 {
        "parent process"
    } else {
        "ancestor"
    };
    let mut words = format!("{named} {}", relative(nearest));
    more(&mut words, range.len());
    words
}

fn children(children: &[Relative]) -> String {
    let mut words = format!(
        "starts {}",
        children.first().map(relative).unwrap_or_default()
    );
    more(&mut words, children.len());
    words
}

/// The command line where it says more than the program's name.
fn relative(kin: &Relative) -> String {
    let name = place::base(program(&kin.exe, &kin.argv));
    match kin.argv.get(1..) {
        Some(arguments) if !arguments.is_empty() => {
            let line: Vec<&str> = arguments.iter().take(16).map(String::as_str).collect();
            format!("{} {}", quoted(name), quoted(&line.join(" ")))
        }
        _ => quoted(name),
    }
}

fn connections(connections: &[Connection], first: usize) -> String {
    let one = &connections[first];
    let protocol = if one.protocol == "udp" { "udp" } else { "tcp" };
    let address = if one.address.contains(':') {
        format!("[{}]", one.address)
    } else {
        one.address.clone()
    };
    let mut words = if one.direction == "in" {
        format!(
            "accepts {} on port {} ({protocol})",
            quoted(&one.address),
            one.port
        )
    } else {
        format!(
            "connects to {} ({protocol})",
            quoted(&format!("{address}:{}", one.port))
        )
    };
    more(
        &mut words,
        connections
            .iter()
            .take(256)
            .filter(|other| is_like(one, other))
            .count(),
    );
    words
}

fn files(files: &[FileOperation]) -> String {
    let Some(first) = files.first() else {
        return String::new();
    };
    let verb = match first.op.as_str() {
        "write" => "writes",
        "create" => "creates",
        "rename" => "renames",
        "unlink" => "deletes",
        "link" => "links",
        "chmod" => "changes the mode of",
        "read" => "reads",
        _ => "touches",
    };
    let mut words = format!("{verb} {}", quoted(&first.path));
    more(&mut words, files.len());
    words
}

fn several(words: &str, items: &[String]) -> String {
    let mut words = format!(
        "{words}{}",
        quoted(items.first().map_or("", String::as_str))
    );
    more(&mut words, items.len());
    words
}

fn more(words: &mut String, count: usize) {
    if count > 1 {
        write!(words, " and {} more", count - 1).expect("a string takes text");
    }
}

fn quoted(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MOST_QUOTED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
