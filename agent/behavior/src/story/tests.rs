//! The one JSON form.

use super::*;

/// The example of the design, word for word: it must be read in full and written back the same.
const GOLDEN: &str = r#"{"id":"a1",
 "process":{"exe":"/usr/bin/bash","argv":["bash","-c","..."],"cwd":"/tmp","uid":33,"euid":0,"tty":false,
        "stdin":"socket","stdout":"socket","stderr":"socket","deleted_exe":false,"memfd":false},
 "ancestors":[{"exe":"/usr/sbin/nginx","argv":["nginx: worker process"],"uid":33}],
 "children":[{"exe":"/usr/bin/id","argv":["id"],"uid":33}],
 "connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":4444}],
 "dns":["update.example.net"],
 "files":[{"op":"write","path":"/etc/cron.d/x"}],
 "command":"one shell line as typed, when only text is known",
 "session":["several shell lines, run in order by one shell"]}"#;

#[test]
fn golden_story_is_read_and_written_back_whole() {
    let story = Story::from_json(GOLDEN.as_bytes()).unwrap();
    let written = serde_json::to_value(&story).unwrap();
    assert_eq!(
        written,
        serde_json::from_str::<serde_json::Value>(GOLDEN).unwrap()
    );
}

#[test]
fn unknown_fields_and_unknown_stdio_kinds_are_read() {
    let line = br#"{"id":"x","later":1,"process":{"exe":"/bin/true","stdin":"hologram","new":[]}}"#;
    let story = Story::from_json(line).unwrap();
    assert_eq!(story.process.unwrap().stdin, StdioKind::Unknown);
}

#[test]
fn a_story_about_nothing_is_an_error() {
    assert_eq!(Story::from_json(br#"{"id":"x"}"#), Err(StoryError::Empty));
}

#[test]
fn wrong_types_are_an_error_that_says_where() {
    let error = Story::from_json(br#"{"id":"x","process":{"argv":7}}"#).unwrap_err();
    assert!(error.to_string().contains("expected a sequence"), "{error}");
}

/// Everything that a sensor may add to the design's example. The one above stays as it is: stories
/// written by older agents are read the same.
const GOLDEN_SENSOR: &str = r#"{"id":"4711@88",
 "process":{"exe":"/usr/bin/python3.11","argv":["python3","/tmp/x.py"],"cwd":"/tmp","uid":33,"euid":33,"tty":false,
        "stdin":"null","stdout":"pipe","stderr":"pipe","deleted_exe":false,"memfd":false,
        "gid":33,"egid":33,"argv_truncated":true,"script":"/tmp/x.py","env":["LD_PRELOAD"],"package":"python3.11-minimal",
        "first_seen":false,"world_writable":false,"by_descriptor":true,"uid_raised":{"from":33,"to":0},
        "capabilities_gained":["CAP_SYS_ADMIN"],"namespaces":["mnt","net"],"login_uid":1000,"session":7,
        "container":{"id":"0123456789ab","runtime":"docker","image":"nginx:1.25"}},
 "connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":443,"times":6,"sent":5120,"received":90,"lasted_ms":1500},
        {"direction":"listen","protocol":"udp","address":"::","port":5353}],
 "files":[{"op":"rename","path":"/srv/a","to":"/srv/a.locked","sensitivity":"decoy"}],
 "facts":{"file_rates":{"written":900,"created":3,"renamed":900,"unlinked":2,"per_second":120.0,"directories":4,"entropy":7.5},
        "beacons":[{"address":"203.0.113.9","port":443,"times":6,"every_ms":60000,"variation":0.0625}],
        "executable_memory":["//anon"],"ptraced":["/usr/sbin/sshd"],"modules":["evil"],"bpf":["tracing:hide"],
        "mounts":[{"path":"/proc/7","attached":true,"fs_type":"tmpfs"}],"raw_sockets":["packet"],
        "logins":[{"method":"ssh","user":"ann","uid":1000,"from":"198.51.100.4","success":true,"times":1}]}}"#;

#[test]
fn golden_story_of_a_sensor_is_read_and_written_back_whole() {
    let story = Story::from_json(GOLDEN_SENSOR.as_bytes()).unwrap();
    let written = serde_json::to_value(&story).unwrap();
    assert_eq!(
        written,
        serde_json::from_str::<serde_json::Value>(GOLDEN_SENSOR).unwrap()
    );
}

#[test]
fn no_package_is_told_apart_from_an_unknown_one() {
    let package = |json: &str| {
        let story = Story::from_json(json.as_bytes()).unwrap();
        let written = serde_json::to_value(&story).unwrap()["process"]["package"].clone();
        (story.process.unwrap().package, written)
    };
    let unknown = package(r#"{"id":"x","process":{"exe":"/bin/true"}}"#);
    assert_eq!(unknown, (None, serde_json::Value::Null));
    let none = package(r#"{"id":"x","process":{"exe":"/bin/true","package":""}}"#);
    assert_eq!(none, (Some(String::new()), "".into()));
}
