//! What a model was not trained on is not shown to it.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;

use cordon_behavior::event::Container;
use cordon_behavior::story::{
    Beacon, Connection, Facts, FileOperation, FileRates, Login, Mount, Raised, Story,
};
use cordon_model::reads::{Reads, Section};
use cordon_model::shape::Shape;
use cordon_model::tokens::{Limits, Tokens};
use cordon_model::{artifact, facts};

fn committed() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("artifact")
}

/// An attack and a build, in what the sensor saw when the model was trained.
const STORIES: [&str; 2] = [
    r#"{"id":"back","process":{"exe":"/usr/bin/dash","argv":["/bin/sh","-i"],"cwd":"/srv/www","uid":33,"euid":33,"tty":false,
      "stdin":"socket","stdout":"socket","stderr":"socket"},
      "ancestors":[{"exe":"/usr/bin/perl","argv":["perl","-e","..."],"uid":33},{"exe":"/usr/sbin/nginx","argv":["nginx: worker process"],"uid":33}],
      "connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":4444}]}"#,
    r#"{"id":"cc","process":{"exe":"/usr/bin/make","argv":["make","-j8"],"cwd":"/home/ann/src","uid":1000,"euid":1000,"tty":true,
      "stdin":"tty","stdout":"tty","stderr":"tty"},
      "ancestors":[{"exe":"/usr/bin/bash","argv":["-bash"],"uid":1000}],
      "children":[{"exe":"/usr/bin/gcc","argv":["gcc","-c","a.c"],"uid":1000}]}"#,
];

/// The same with everything that a sensor may add.
fn with_all_that_is_seen_now(story: &Story) -> Story {
    let mut story = story.clone();
    let flow = |direction: &str, protocol: &str, port| Connection {
        direction: direction.to_owned(),
        protocol: protocol.to_owned(),
        address: "198.51.100.7".to_owned(),
        port,
        ..Connection::default()
    };
    for connection in &mut story.connections {
        (connection.times, connection.sent) = (Some(3), Some(1 << 30));
        (connection.received, connection.lasted_ms) = (Some(7), Some(60_000));
    }
    // Before and after those that are read: neither place nor number may tell.
    story.connections.insert(0, flow("in", "tcp", 22));
    story.connections.insert(0, flow("listen", "tcp", 4444));
    story
        .connections
        .extend((0..300).map(|port| flow("out", "udp", port)));
    story.dns.push("xmrpool.example.net".to_owned());
    story.files.push(FileOperation {
        op: "read".to_owned(),
        path: "/etc/shadow".to_owned(),
        to: Some("/tmp/x".to_owned()),
        sensitivity: "secret".to_owned(),
    });
    if let Some(own) = &mut story.process {
        (own.gid, own.egid) = (Some(0), Some(0));
        (own.script, own.env) = ("/tmp/x".to_owned(), vec!["LD_PRELOAD".to_owned()]);
        (own.package, own.first_seen, own.world_writable) =
            (Some(String::new()), Some(true), Some(true));
        (own.by_descriptor, own.argv_truncated) = (true, true);
        own.uid_raised = Some(Raised { from: 33, to: 0 });
        own.capabilities_gained = vec!["CAP_SYS_ADMIN".to_owned()];
        own.namespaces = vec!["mnt".to_owned()];
        (own.login_uid, own.session) = (Some(1000), Some(3));
        own.container = Some(Container::default());
    }
    story.facts = Facts {
        file_rates: Some(FileRates {
            written: 9000,
            per_second: 900.0,
            entropy: Some(7.99),
            ..FileRates::default()
        }),
        beacons: vec![Beacon::default()],
        executable_memory: vec!["//anon".to_owned()],
        ptraced: vec!["/usr/sbin/sshd".to_owned()],
        modules: vec!["evil".to_owned()],
        bpf: vec!["tracing:hide".to_owned()],
        mounts: vec![Mount::default()],
        raw_sockets: vec!["packet".to_owned()],
        logins: vec![Login::default()],
    };
    story
}

/// All that a model is shown of a story: pieces with their fields, facts, and the digest that the judge remembers it by.
fn shown(story: &Story, reads: &Reads) -> (Vec<String>, Vec<u32>, u64) {
    let tokens = Tokens::of(story, Limits { tokens: 512 }, reads);
    let pieces = tokens
        .iter()
        .map(|(field, piece)| format!("{field:?}{piece}"))
        .collect();
    let facts = facts::of(story, reads).map(f32::to_bits).to_vec();
    let mut hasher = DefaultHasher::new();
    reads.hash(story, &mut hasher);
    (pieces, facts, hasher.finish())
}

#[test]
fn a_sensor_that_sees_more_shows_a_model_no_more_than_it_reads() {
    for line in STORIES {
        let story = Story::from_json(line.as_bytes()).expect("a story");
        let more = with_all_that_is_seen_now(&story);
        let (little, all) = (
            Reads::new(vec![Section::ConnectionsOut]),
            Reads::everything(),
        );
        assert_eq!(shown(&story, &little), shown(&more, &little), "{line}");
        let (seen, then) = (shown(&story, &all), shown(&more, &all));
        assert!(seen.0 != then.0 && seen.1 != then.1 && seen.2 != then.2);
    }
}

#[test]
fn the_committed_model_reads_all_that_there_is() {
    let text = fs::read(committed().join(artifact::TOKENIZER)).expect("it is committed");
    let mut shape: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    let known: Shape = serde_json::from_value(shape.clone()).expect("a shape");
    assert_eq!(known.reads, Reads::everything());
    shape["reads"] = serde_json::json!(["connections_out", "dreams"]);
    assert!(serde_json::from_value::<Shape>(shape).is_err());
}
