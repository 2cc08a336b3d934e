//! What the committed model was not trained on does not move its score.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;

use cordon_behavior::event::Container;
use cordon_behavior::story::{
    Beacon, Connection, Facts, FileOperation, FileRates, Login, Mount, Raised, Story,
};
use cordon_model::reads::Reads;
use cordon_model::shape::Shape;
use cordon_model::{Model, artifact};

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

#[test]
fn a_sensor_that_sees_more_moves_no_score_of_this_model() {
    let model = Model::load(&committed()).expect("the committed artifact loads");
    for line in STORIES {
        let story = Story::from_json(line.as_bytes()).expect("a story");
        let more = with_all_that_is_seen_now(&story);
        assert_ne!(story, more);
        assert_eq!(model.assess(&story), model.assess(&more), "{line}");
        assert_eq!(
            model.log_odds(&model.read(&story)).to_bits(),
            model.log_odds(&model.read(&more)).to_bits()
        );
        let digest = |story: &Story| {
            let mut hasher = DefaultHasher::new();
            model.reads().hash(story, &mut hasher);
            hasher.finish()
        };
        assert_eq!(digest(&story), digest(&more));
    }
}

/// The guard of the test above: these sections are ones that tokens and facts can tell.
#[test]
fn a_model_that_reads_more_would_see_it() {
    let model = Model::load(&committed()).expect("the committed artifact loads");
    let limits = cordon_model::tokens::Limits {
        tokens: model.shape().tokens,
    };
    let story = Story::from_json(STORIES[0].as_bytes()).expect("a story");
    let tokens = |story: &Story, reads: &Reads| {
        let tokens = cordon_model::tokens::Tokens::of(story, limits, reads);
        tokens
            .iter()
            .map(|(field, piece)| format!("{field:?}{piece}"))
            .collect::<Vec<_>>()
    };
    let more = with_all_that_is_seen_now(&story);
    assert_eq!(tokens(&story, model.reads()), tokens(&more, model.reads()));
    assert_ne!(
        tokens(&story, &Reads::everything()),
        tokens(&more, &Reads::everything())
    );
}

#[test]
fn the_artifact_says_what_its_model_reads_or_reads_what_the_first_did() {
    let text = fs::read(committed().join(artifact::TOKENIZER)).expect("it is committed");
    let mut shape: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    let known: Shape = serde_json::from_value(shape.clone()).expect("a shape");
    assert_eq!(known.reads, Reads::default());
    shape["reads"] = serde_json::json!([
        "connections_out",
        "connections_in",
        "connections_udp",
        "dns",
        "files"
    ]);
    let later: Shape = serde_json::from_value(shape.clone()).expect("a shape");
    assert_eq!(later.reads, Reads::everything());
    shape["reads"] = serde_json::json!(["connections_out", "dreams"]);
    assert!(serde_json::from_value::<Shape>(shape).is_err());
}
