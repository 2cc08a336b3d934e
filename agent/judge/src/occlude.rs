//! Leaving parts out of a story.

use std::ops::Range;

use cordon_behavior::story::{Facts, FileOperation, Process, Relative, StdioKind, Story};
use cordon_model::Reads;

use crate::part::{Part, Stdio, Text, is_like};

/// Most bytes of text in an [`excerpt`].
const MOST_TEXT: usize = 256 * 1024;
/// Most items of one list in an excerpt.
const MOST_ITEMS: usize = 256;

/// As much of `story` as the model reads, in bounded memory: it is copied for each part that is
/// left out, and a hostile story may have many megabytes.
pub(crate) fn excerpt(story: &Story, reads: &Reads) -> Story {
    let mut room = MOST_TEXT;
    let mut clip = |text: &str| clipped(text, &mut room);
    let command = story.command.as_deref().map(&mut clip);
    let process = story.process.as_ref().map(|process| Process {
        exe: clip(&process.exe),
        cwd: clip(&process.cwd),
        argv: clip_all(&process.argv, &mut clip),
        ..rest(process, reads, &mut clip)
    });
    Story {
        id: String::new(),
        tree: String::new(),
        session: clip_all(&story.session, &mut clip),
        dns: clip_all(reads.dns(story), &mut clip),
        ancestors: kin(&story.ancestors, &mut clip),
        children: kin(&story.children, &mut clip),
        connections: reads
            .connections(story)
            .take(MOST_ITEMS)
            .chain(reads.listeners(story).take(MOST_ITEMS))
            .cloned()
            .collect(),
        files: files(reads.files(story), &mut clip),
        facts: if reads.facts() {
            facts(&story.facts, &mut clip)
        } else {
            Facts::default()
        },
        command,
        process,
    }
}

/// Most items of one list of facts: what is beyond changes nothing that a model reads.
const MOST_FACTS: usize = 64;

fn few<T: Clone>(list: &[T]) -> Vec<T> {
    list.iter().take(MOST_FACTS).cloned().collect()
}

/// Of what is only counted, so many; of texts, what there is room for.
fn facts(facts: &Facts, clip: &mut dyn FnMut(&str) -> String) -> Facts {
    let mut texts = |list: &[String]| clip_all(&few(list), clip);
    Facts {
        executable_memory: texts(&facts.executable_memory),
        ptraced: texts(&facts.ptraced),
        modules: texts(&facts.modules),
        bpf: texts(&facts.bpf),
        raw_sockets: texts(&facts.raw_sockets),
        file_rates: facts.file_rates.clone(),
        beacons: few(&facts.beacons),
        mounts: few(&facts.mounts),
        logins: few(&facts.logins),
    }
}

fn clipped(text: &str, room: &mut usize) -> String {
    let kept = &text[..text.floor_char_boundary(*room)];
    *room -= kept.len();
    kept.to_owned()
}

fn clip_all(texts: &[String], clip: &mut dyn FnMut(&str) -> String) -> Vec<String> {
    texts
        .iter()
        .take(MOST_ITEMS)
        .map(|text| clip(text))
        .collect()
}

/// Of the rest what a model reads.
fn rest(process: &Process, reads: &Reads, clip: &mut dyn FnMut(&str) -> String) -> Process {
    let seen = Process {
        uid: process.uid,
        euid: process.euid,
        tty: process.tty,
        stdin: process.stdin,
        stdout: process.stdout,
        stderr: process.stderr,
        deleted_exe: process.deleted_exe,
        memfd: process.memfd,
        ..Process::default()
    };
    if !reads.facts() {
        return seen;
    }
    Process {
        argv_truncated: process.argv_truncated,
        script: clip(&process.script),
        env: clip_all(&few(&process.env), clip),
        package: process.package.as_deref().map(&mut *clip),
        first_seen: process.first_seen,
        world_writable: process.world_writable,
        by_descriptor: process.by_descriptor,
        uid_raised: process.uid_raised,
        capabilities_gained: clip_all(&few(&process.capabilities_gained), clip),
        namespaces: clip_all(&few(&process.namespaces), clip),
        login_uid: process.login_uid,
        container: process.container.clone(),
        ..seen
    }
}

fn kin(kin: &[Relative], clip: &mut dyn FnMut(&str) -> String) -> Vec<Relative> {
    let one = |one: &Relative| Relative {
        exe: clip(&one.exe),
        argv: clip_all(&one.argv, clip),
        uid: one.uid,
    };
    kin.iter().take(MOST_ITEMS).map(one).collect()
}

fn files(files: &[FileOperation], clip: &mut dyn FnMut(&str) -> String) -> Vec<FileOperation> {
    let one = |one: &FileOperation| FileOperation {
        op: clip(&one.op),
        path: clip(&one.path),
        sensitivity: clip(&one.sensitivity),
        to: None,
    };
    files.iter().take(MOST_ITEMS).map(one).collect()
}

/// `story` without `left_out`, which are parts of this story.
pub(crate) fn without(story: &Story, left_out: &[Part]) -> Story {
    let mut rest = story.clone();
    if let Some(process) = &mut rest.process {
        for part in left_out {
            clear(process, part);
        }
    }
    keep(&mut rest.ancestors, |index| {
        !covers(left_out, index, ancestors)
    });
    keep(&mut rest.children, |index| {
        !covers(left_out, index, children)
    });
    keep(&mut rest.dns, |index| !covers(left_out, index, names));
    keep(&mut rest.files, |index| {
        !covers(left_out, index, operations)
    });
    rest.connections.retain(|one| {
        !left_out.iter().any(|part| matches!(part, Part::Connections(first) if is_like(&story.connections[*first], one)))
    });
    for part in left_out {
        if let Part::Fact(fact) = part {
            fact.clear(&mut rest);
        }
    }
    texts(&mut rest, left_out);
    rest
}

fn clear(process: &mut Process, part: &Part) {
    match part {
        Part::Program => process.exe.clear(),
        Part::Directory => process.cwd.clear(),
        Part::Stdio(Stdio::All) => {
            (process.stdin, process.stdout, process.stderr) = Default::default();
        }
        Part::Stdio(Stdio::Input) => process.stdin = StdioKind::Unknown,
        Part::Stdio(Stdio::Output) => process.stdout = StdioKind::Unknown,
        Part::Stdio(Stdio::Error) => process.stderr = StdioKind::Unknown,
        Part::Terminal => process.tty = None,
        Part::User => (process.uid, process.euid) = (None, None),
        Part::DeletedExe => process.deleted_exe = false,
        Part::Memfd => process.memfd = false,
        _ => {}
    }
}

fn ancestors(part: &Part) -> Option<&Range<usize>> {
    if let Part::Ancestors(range) = part {
        Some(range)
    } else {
        None
    }
}

fn children(part: &Part) -> Option<&Range<usize>> {
    if let Part::Children(range) = part {
        Some(range)
    } else {
        None
    }
}

fn names(part: &Part) -> Option<&Range<usize>> {
    if let Part::Names(range) = part {
        Some(range)
    } else {
        None
    }
}

fn operations(part: &Part) -> Option<&Range<usize>> {
    if let Part::Files(range) = part {
        Some(range)
    } else {
        None
    }
}

fn covers(left_out: &[Part], index: usize, of: fn(&Part) -> Option<&Range<usize>>) -> bool {
    left_out
        .iter()
        .filter_map(of)
        .any(|range| range.contains(&index))
}

fn keep<T>(list: &mut Vec<T>, is_kept: impl Fn(usize) -> bool) {
    let mut index = 0..;
    list.retain(|_| index.next().is_none_or(&is_kept));
}

/// Texts last: an argument or line that nothing is left of goes, and the indices move.
fn texts(rest: &mut Story, left_out: &[Part]) {
    let from =
        |of: fn(&Part) -> Option<usize>| left_out.iter().filter_map(of).min().unwrap_or(usize::MAX);
    let arguments_end = from(|part| {
        if let Part::Arguments(from) = part {
            Some(*from)
        } else {
            None
        }
    });
    let lines_end = from(|part| {
        if let Part::Lines(from) = part {
            Some(*from)
        } else {
            None
        }
    });
    rest.session.truncate(lines_end);
    blank(&mut rest.session, left_out, Text::Line);
    if let Some(command) = &mut rest.command
        && !punch(command, left_out, Text::Command)
    {
        rest.command = None;
    }
    if let Some(process) = &mut rest.process {
        process.argv.truncate(arguments_end);
        blank(&mut process.argv, left_out, Text::Argument);
        if left_out.contains(&Part::Program) && !process.argv.is_empty() {
            process.argv.remove(0);
        }
    }
}

fn blank(texts: &mut Vec<String>, left_out: &[Part], place: fn(usize) -> Text) {
    let mut index = 0..;
    texts.retain_mut(|text| {
        index
            .next()
            .is_none_or(|index| punch(text, left_out, place(index)))
    });
}

/// Takes the pieces of `left_out` that lie in `place` out of `text`; false when nothing is left.
fn punch(text: &mut String, left_out: &[Part], place: Text) -> bool {
    let mut holes: Vec<&Range<usize>> = left_out
        .iter()
        .filter_map(|part| match part {
            Part::Text(of, range) if *of == place => Some(range),
            _ => None,
        })
        .collect();
    if holes.is_empty() {
        return true;
    }
    holes.sort_by_key(|hole| hole.start);
    for hole in holes.into_iter().rev() {
        text.replace_range(hole.clone(), " ");
    }
    text.chars().any(char::is_alphanumeric)
}
