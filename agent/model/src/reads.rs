//! What of a story a model reads: no more than what it was trained on.
//!
//! A sensor learns to see before a model learns to read. What a model was never shown carries no
//! meaning for its weights, only noise, so it is kept from tokens and facts here, and nowhere else.
//! The artifact says what its model reads (`reads` in `tokenizer.json`); training writes there what
//! it trained on ([`crate::shape::Shape::standard`]).

use std::hash::{Hash as _, Hasher};

use cordon_behavior::story::{Connection, FileOperation, Process, Relative, Story};
use serde::{Deserialize, Serialize};

use crate::levels;

/// A part of a story that not every model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// TCP connections that the host began.
    ConnectionsOut,
    /// Accepted connections.
    ConnectionsIn,
    /// UDP peers.
    ConnectionsUdp,
    /// Names that were asked for.
    Dns,
    /// Operations on files.
    Files,
    /// What was counted and measured of the process and its descendants ([`crate::levels`]), the environment's
    /// names, and the script that it runs.
    Facts,
}

/// The sections that a model reads. The process, its kin and shell text are read by each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reads(Vec<Section>);

/// Before each entry of a list whose length is not known, and after the last: no two lists are one.
const ENTRY: u8 = 1;
const END: u8 = 0;

impl Reads {
    /// These sections.
    pub fn new(sections: Vec<Section>) -> Self {
        Self(sections)
    }

    /// All there is.
    pub fn everything() -> Self {
        Self::new(vec![
            Section::ConnectionsOut,
            Section::ConnectionsIn,
            Section::ConnectionsUdp,
            Section::Dns,
            Section::Files,
            Section::Facts,
        ])
    }

    /// Whether what was counted and measured is read.
    pub fn facts(&self) -> bool {
        self.has(Section::Facts)
    }

    /// The connections that are read.
    pub fn connections<'a>(&'a self, story: &'a Story) -> impl Iterator<Item = &'a Connection> {
        let is_read = |one: &&Connection| section(one).is_some_and(|section| self.has(section));
        story.connections.iter().filter(is_read)
    }

    /// What waits for others, where facts are read: how often is one of them, and nothing else of it is read.
    pub fn listeners<'a>(&self, story: &'a Story) -> impl Iterator<Item = &'a Connection> {
        let all: &[Connection] = if self.facts() {
            &story.connections
        } else {
            &[]
        };
        all.iter().filter(|one| one.direction == "listen")
    }

    /// The names that are read.
    pub fn dns<'a>(&self, story: &'a Story) -> &'a [String] {
        self.list(Section::Dns, &story.dns)
    }

    /// The operations on files that are read.
    pub fn files<'a>(&self, story: &'a Story) -> &'a [FileOperation] {
        self.list(Section::Files, &story.files)
    }

    /// Hashes what is read of a story, as it is written: two stories that differ only in what is
    /// not read hash the same. A field that is added to a story must be named in this file before
    /// it compiles again.
    pub fn hash(&self, story: &Story, hasher: &mut impl Hasher) {
        let Story {
            id: _,
            tree: _,
            process: own,
            ancestors,
            children,
            connections: _,
            dns: _,
            files: _,
            // As levels:
            facts: _,
            command,
            session,
        } = story;
        own.is_some().hash(hasher);
        if let Some(own) = own {
            process(own, hasher);
            if self.facts() {
                (&own.script, &own.env).hash(hasher);
            }
        }
        levels::of(story, self).hash(hasher);
        kin(ancestors, hasher);
        kin(children, hasher);
        for one in self.connections(story) {
            ENTRY.hash(hasher);
            connection(one, hasher);
        }
        END.hash(hasher);
        self.dns(story).hash(hasher);
        for one in self.files(story) {
            ENTRY.hash(hasher);
            file(one, hasher);
        }
        END.hash(hasher);
        (command, session).hash(hasher);
    }

    fn has(&self, section: Section) -> bool {
        self.0.contains(&section)
    }

    fn list<'a, T>(&self, section: Section, list: &'a [T]) -> &'a [T] {
        if self.has(section) { list } else { &[] }
    }
}

/// What listens is only counted ([`Reads::listeners`]).
fn section(connection: &Connection) -> Option<Section> {
    match (connection.direction.as_str(), connection.protocol.as_str()) {
        ("listen", _) => None,
        (_, "udp") => Some(Section::ConnectionsUdp),
        ("in", _) => Some(Section::ConnectionsIn),
        _ => Some(Section::ConnectionsOut),
    }
}

fn process(own: &Process, hasher: &mut impl Hasher) {
    let Process {
        exe,
        argv,
        cwd,
        uid,
        euid,
        tty,
        stdin,
        stdout,
        stderr,
        deleted_exe,
        memfd,
        // Above, or as levels, or not read:
        gid: _,
        egid: _,
        argv_truncated: _,
        script: _,
        env: _,
        package: _,
        first_seen: _,
        world_writable: _,
        by_descriptor: _,
        uid_raised: _,
        capabilities_gained: _,
        namespaces: _,
        login_uid: _,
        session: _,
        container: _,
    } = own;
    (exe, argv, cwd).hash(hasher);
    (uid, euid, tty).hash(hasher);
    (stdin, stdout, stderr).hash(hasher);
    (deleted_exe, memfd).hash(hasher);
}

fn kin(kin: &[Relative], hasher: &mut impl Hasher) {
    for Relative { exe, argv, uid } in kin {
        ENTRY.hash(hasher);
        (exe, argv, uid).hash(hasher);
    }
    END.hash(hasher);
}

fn connection(one: &Connection, hasher: &mut impl Hasher) {
    let Connection {
        direction,
        protocol,
        address,
        port,
        // As levels:
        times: _,
        sent: _,
        received: _,
        lasted_ms: _,
    } = one;
    (direction, protocol, address, port).hash(hasher);
}

fn file(one: &FileOperation, hasher: &mut impl Hasher) {
    let FileOperation {
        op,
        path,
        // Not read, and as levels:
        to: _,
        sensitivity: _,
    } = one;
    (op, path).hash(hasher);
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORY: &str = r#"{"id":"r","process":{"exe":"/bin/sh","argv":["sh"],"uid":33},
        "connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":443}]}"#;

    fn connections_out() -> Reads {
        Reads::new(vec![Section::ConnectionsOut])
    }

    fn story(json: &str) -> Story {
        Story::from_json(json.as_bytes()).unwrap()
    }

    fn digest(reads: &Reads, story: &Story) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        reads.hash(story, &mut hasher);
        hasher.finish()
    }

    #[test]
    fn what_is_not_read_changes_no_digest_and_what_is_read_does() {
        let (reads, plain) = (connections_out(), story(STORY));
        let mut more = plain.clone();
        more.connections.push(Connection {
            direction: "listen".to_owned(),
            ..plain.connections[0].clone()
        });
        more.dns.push("a.example".to_owned());
        more.facts.modules.push("x".to_owned());
        assert_eq!(digest(&reads, &plain), digest(&reads, &more));
        assert_ne!(
            digest(&Reads::everything(), &plain),
            digest(&Reads::everything(), &more)
        );
        more.connections.push(Connection {
            port: 444,
            ..plain.connections[0].clone()
        });
        assert_ne!(digest(&reads, &plain), digest(&reads, &more));
    }

    #[test]
    fn every_field_that_is_read_is_in_the_digest() {
        let digest = |json: &str| digest(&Reads::everything(), &story(json));
        let digests = [
            r#"{"id":"r","process":{"exe":"a"}}"#,
            r#"{"id":"r","process":{"argv":["a"]}}"#,
            r#"{"id":"r","process":{"cwd":"a"}}"#,
            r#"{"id":"r","process":{"uid":1}}"#,
            r#"{"id":"r","process":{"euid":1}}"#,
            r#"{"id":"r","process":{"tty":true}}"#,
            r#"{"id":"r","process":{"stdin":"socket"}}"#,
            r#"{"id":"r","process":{"stdout":"socket"}}"#,
            r#"{"id":"r","process":{"stderr":"socket"}}"#,
            r#"{"id":"r","process":{"deleted_exe":true}}"#,
            r#"{"id":"r","process":{"memfd":true}}"#,
            r#"{"id":"r","process":{"script":"a"}}"#,
            r#"{"id":"r","process":{"env":["a"]}}"#,
            r#"{"id":"r","process":{"first_seen":true}}"#,
            r#"{"id":"r","process":{},"facts":{"modules":["a"]}}"#,
            r#"{"id":"r","process":{},"ancestors":[{"exe":"a"}]}"#,
            r#"{"id":"r","process":{},"children":[{"exe":"a"}]}"#,
            r#"{"id":"r","process":{},"connections":[{"address":"a"}]}"#,
            r#"{"id":"r","process":{},"dns":["a"]}"#,
            r#"{"id":"r","process":{},"files":[{"op":"a"}]}"#,
            r#"{"id":"r","process":{},"command":"a"}"#,
            r#"{"id":"r","process":{},"session":["a"]}"#,
            r#"{"id":"r","process":{}}"#,
        ]
        .map(digest);
        let distinct: std::collections::BTreeSet<u64> = digests.into_iter().collect();
        assert_eq!(distinct.len(), digests.len());
    }

    #[test]
    fn a_section_that_this_agent_cannot_read_is_refused() {
        assert!(serde_json::from_str::<Reads>(r#"["connections_out","dreams"]"#).is_err());
        let known: Reads = serde_json::from_str(r#"["connections_out"]"#).unwrap();
        assert_eq!(known, connections_out());
    }
}
