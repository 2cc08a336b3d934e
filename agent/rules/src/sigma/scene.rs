//! A story as the events that rules are written for.

use std::borrow::Cow;

use cordon_behavior::story::{
    Connection, FileOperation, FileRates, Process, Relative, StdioKind, Story,
};

use super::About;
use super::expr::Fields;
use super::field::{Category, FIELDS, Field};
use super::shell::{self, Simple};

/// Most events of one story, and most bytes of their texts.
const MOST_EVENTS: usize = 4096;
const MOST_BYTES: usize = 4 << 20;

/// The fields of one event or subject, owned or borrowed.
pub(super) type Texts<'a> = Vec<(Field, Cow<'a, str>)>;

/// Somebody who did something: what its events have in common is read once.
pub(super) struct Subject<'a> {
    pub(super) about: About,
    pub(super) texts: Texts<'a>,
    /// What it did beside being created.
    pub(super) acts: Vec<(Category, Texts<'a>)>,
}

/// Takes a story apart. True: not all of it is there, because it was too much.
pub(super) fn subjects(story: &Story) -> (Vec<Subject<'_>>, bool) {
    let mut room = Room {
        events: MOST_EVENTS,
        bytes: MOST_BYTES,
        is_cut: false,
    };
    let mut subjects = Vec::new();
    if let Some(process) = &story.process {
        let own = room.take(own(story, process));
        subjects.extend(own);
        for (at, child) in story.children.iter().enumerate() {
            subjects.extend(room.take(related(at, child, process)));
        }
    }
    let lines = story.command.iter().chain(&story.session);
    for (at, line) in lines.enumerate() {
        if room.is_cut {
            break;
        }
        text(at, line, &mut room, &mut subjects);
    }
    (subjects, room.is_cut)
}

/// The texts by field.
pub(super) fn fields<'a>(texts: &'a Texts<'_>, more: &'a Texts<'_>) -> Fields<'a> {
    let mut fields = [None; FIELDS];
    for (field, text) in texts.iter().chain(more) {
        fields[*field as usize] = Some(text.as_ref());
    }
    fields
}

struct Room {
    events: usize,
    bytes: usize,
    is_cut: bool,
}

impl Room {
    fn take<'a>(&mut self, mut subject: Subject<'a>) -> Option<Subject<'a>> {
        let size = |texts: &Texts<'_>| texts.iter().map(|(_, text)| text.len()).sum::<usize>();
        let own = size(&subject.texts);
        if own > self.bytes || self.events == 0 {
            self.is_cut = true;
            return None;
        }
        self.bytes -= own;
        self.events -= 1;
        let fitting = subject.acts.iter().take_while(|(_, texts)| {
            let bytes = size(texts);
            let fits = bytes <= self.bytes && self.events > 0;
            if fits {
                self.bytes -= bytes;
                self.events -= 1;
            }
            fits
        });
        let fitting = fitting.count();
        self.is_cut |= fitting < subject.acts.len();
        subject.acts.truncate(fitting);
        Some(subject)
    }
}

fn own<'a>(story: &'a Story, process: &'a Process) -> Subject<'a> {
    let mut texts = image(&process.exe, &process.argv, process.uid);
    let mut put = |field, text: &'a str| {
        if !text.is_empty() {
            texts.push((field, Cow::Borrowed(text)));
        }
    };
    put(Field::CurrentDirectory, &process.cwd);
    put(Field::Script, &process.script);
    put(Field::Stdin, stdio(process.stdin));
    put(Field::Stdout, stdio(process.stdout));
    put(Field::Stderr, stdio(process.stderr));
    put(Field::Memfd, truth(process.memfd));
    put(Field::DeletedImage, truth(process.deleted_exe));
    for (field, known) in [
        (Field::Tty, process.tty),
        (Field::WorldWritableImage, process.world_writable),
        (Field::FirstSeen, process.first_seen),
    ] {
        put(field, known.map_or("", truth));
    }
    if let Some(container) = &process.container {
        put(Field::Container, &container.id);
    }
    if let Some(package) = &process.package {
        // Empty says that no package owns it, absent that this is not known.
        texts.push((Field::Package, Cow::Borrowed(package)));
    }
    if !process.env.is_empty() {
        texts.push((Field::Environment, Cow::Owned(process.env.join(" "))));
    }
    for (field, uid) in [
        (Field::EffectiveUser, process.euid),
        (Field::LoginUser, process.login_uid),
    ] {
        texts.extend(uid.map(|uid| (field, user(uid))));
    }
    if let Some(parent) = story.ancestors.first() {
        parents(&parent.exe, &parent.argv, parent.uid, &mut texts);
    }
    if let Some(grandparent) = story.ancestors.get(1).filter(|one| !one.exe.is_empty()) {
        texts.push((Field::GrandparentImage, Cow::Borrowed(&grandparent.exe)));
    }
    Subject {
        about: About::Process,
        texts,
        acts: acts(story),
    }
}

fn related<'a>(at: usize, child: &'a Relative, parent: &'a Process) -> Subject<'a> {
    let mut texts = image(&child.exe, &child.argv, child.uid);
    parents(&parent.exe, &parent.argv, parent.uid, &mut texts);
    Subject {
        about: About::Child(at),
        texts,
        acts: Vec::new(),
    }
}

fn image<'a>(exe: &'a str, argv: &'a [String], uid: Option<u32>) -> Texts<'a> {
    let mut texts = Vec::with_capacity(16);
    if !exe.is_empty() {
        texts.push((Field::Image, Cow::Borrowed(exe)));
    }
    texts.extend(line(argv).map(|line| (Field::CommandLine, line)));
    texts.extend(uid.map(|uid| (Field::User, user(uid))));
    texts
}

fn parents<'a>(exe: &'a str, argv: &'a [String], uid: Option<u32>, texts: &mut Texts<'a>) {
    if !exe.is_empty() {
        texts.push((Field::ParentImage, Cow::Borrowed(exe)));
    }
    texts.extend(line(argv).map(|line| (Field::ParentCommandLine, line)));
    texts.extend(uid.map(|uid| (Field::ParentUser, user(uid))));
}

fn line(argv: &[String]) -> Option<Cow<'_, str>> {
    match argv {
        [] => None,
        [one] => Some(Cow::Borrowed(one)),
        several => Some(Cow::Owned(several.join(" "))),
    }
}

/// Names of accounts are in files; a story has numbers. Root is root everywhere.
fn user(uid: u32) -> Cow<'static, str> {
    match uid {
        0 => Cow::Borrowed("root"),
        uid => Cow::Owned(uid.to_string()),
    }
}

fn truth(is_so: bool) -> &'static str {
    if is_so { "true" } else { "false" }
}

fn stdio(kind: StdioKind) -> &'static str {
    match kind {
        StdioKind::Tty => "tty",
        StdioKind::Null => "null",
        StdioKind::Pipe => "pipe",
        StdioKind::File => "file",
        StdioKind::Socket => "socket",
        StdioKind::UnixSocket => "unix_socket",
        StdioKind::Closed => "closed",
        StdioKind::Other => "other",
        StdioKind::Unknown => "",
    }
}

fn acts(story: &Story) -> Vec<(Category, Texts<'_>)> {
    let mut acts = Vec::new();
    let connections = story.connections.iter().map(connection);
    acts.extend(connections.map(|texts| (Category::NetworkConnection, texts)));
    for name in &story.dns {
        let name = Cow::Borrowed(name.trim_end_matches('.'));
        acts.push((Category::DnsQuery, vec![(Field::QueryName, name)]));
    }
    for operation in &story.files {
        file(operation, &mut acts);
    }
    let changed = story.facts.file_rates.as_ref().map(rates);
    acts.extend(changed.map(|texts| (Category::FileRates, texts)));
    acts
}

/// How many files were changed, whichever they were.
fn rates(changed: &FileRates) -> Texts<'static> {
    let counts = [
        (Field::FilesWritten, changed.written),
        (Field::FilesRenamed, changed.renamed),
        (Field::FilesRemoved, changed.unlinked),
        (Field::FilesEncrypted, changed.encrypted),
    ];
    let text = |(field, count): (Field, u64)| (field, Cow::Owned(count.to_string()));
    counts.map(text).into()
}

fn connection(one: &Connection) -> Texts<'_> {
    // The end that a story tells, and whether it was us who began.
    let (address, port, initiated) = match one.direction.as_str() {
        "out" => (Field::DestinationIp, Field::DestinationPort, "true"),
        "in" => (Field::SourceIp, Field::DestinationPort, "false"),
        _ => (Field::SourceIp, Field::SourcePort, ""),
    };
    let mut texts = vec![
        (Field::Protocol, Cow::Borrowed(one.protocol.as_str())),
        (Field::Direction, Cow::Borrowed(one.direction.as_str())),
        (address, canonical(&one.address)),
        (port, Cow::Owned(one.port.to_string())),
    ];
    if !initiated.is_empty() {
        texts.push((Field::Initiated, Cow::Borrowed(initiated)));
    }
    texts
}

/// One text for one address.
fn canonical(address: &str) -> Cow<'_, str> {
    match address.parse::<std::net::IpAddr>() {
        Ok(parsed) => Cow::Owned(parsed.to_canonical().to_string()),
        Err(_) => Cow::Borrowed(address),
    }
}

fn file<'a>(one: &'a FileOperation, acts: &mut Vec<(Category, Texts<'a>)>) {
    let texts = |target: &'a str| {
        vec![
            (Field::TargetFilename, Cow::Borrowed(target)),
            (Field::Operation, Cow::Borrowed(one.op.as_str())),
            (Field::Sensitivity, Cow::Borrowed(one.sensitivity.as_str())),
        ]
    };
    let to = one.to.as_deref().unwrap_or(&one.path);
    match one.op.as_str() {
        "write" | "create" => acts.push((Category::FileEvent, texts(&one.path))),
        "rename" | "link" => {
            let mut moved = texts(to);
            moved.push((Field::SourceFilename, Cow::Borrowed(&one.path)));
            if one.op == "rename" {
                acts.push((Category::FileRename, moved.clone()));
            }
            // A name that was not there before.
            acts.push((Category::FileEvent, moved));
        }
        "unlink" => acts.push((Category::FileDelete, texts(&one.path))),
        "chmod" => acts.push((Category::FileChange, texts(&one.path))),
        "read" => acts.push((Category::FileAccess, texts(&one.path))),
        _ => {}
    }
}

/// Each simple command of the line, and the line as a whole under the name of the first: what spans a pipe is
/// seen there only.
fn text<'a>(at: usize, line: &'a str, room: &mut Room, subjects: &mut Vec<Subject<'a>>) {
    let about = About::Line(at);
    let commands = shell::commands(line);
    if commands.len() != 1 {
        let mut texts = vec![(Field::CommandLine, Cow::Borrowed(line))];
        let first = commands.first();
        texts.extend(first.map(|simple| (Field::Image, program(simple))));
        subjects.extend(room.take(Subject {
            about,
            texts,
            acts: Vec::new(),
        }));
    }
    for simple in &commands {
        subjects.extend(room.take(command(about, simple)));
    }
}

fn program<'a>(simple: &Simple<'a>) -> Cow<'a, str> {
    if simple.program.contains('/') {
        Cow::Borrowed(simple.program)
    } else {
        Cow::Owned(format!("/usr/bin/{}", simple.program))
    }
}

fn command<'a>(about: About, simple: &Simple<'a>) -> Subject<'a> {
    let writes = simple.writes.iter().map(|path| {
        let texts = vec![
            (Field::TargetFilename, Cow::Borrowed(*path)),
            (Field::Operation, Cow::Borrowed("write")),
        ];
        (Category::FileEvent, texts)
    });
    Subject {
        about,
        texts: vec![
            (Field::Image, program(simple)),
            (Field::CommandLine, Cow::Borrowed(simple.text)),
        ],
        acts: writes.collect(),
    }
}
