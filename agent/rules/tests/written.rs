//! Exceptions are written as they are read.

use cordon_rules::Exceptions;
use serde_json::{Value, json};

fn read(exceptions: &[Value]) -> Exceptions {
    let mut read = Exceptions::default();
    let file = json!({"version": 1, "exceptions": exceptions});
    read.file("x.json", file.to_string().as_bytes());
    assert_eq!(read.problems(), &[]);
    read
}

#[test]
fn what_was_read_is_written_as_it_was() {
    let one = |id: &str, scope: Value, when: Value| {
        json!({"id": id, "scope": scope, "when": when, "reason": "nightly\n\u{202e}", "author": "op",
            "created": "2026-05-01T00:00:00Z", "expires": "2026-07-01T00:00:00Z"})
    };
    let all = [
        one(
            "e1",
            json!({"rule": "r1"}),
            json!({"exe": "/usr/bin/backup", "uid": 0}),
        ),
        one(
            "e2",
            json!("model"),
            json!({"exe": {"glob": "/opt/*/run"}, "argv": ["run", "\u{1b}"], "sha256": "ab".repeat(32),
                "parent": "/usr/sbin/cron", "host": "h", "group": "g"}),
        ),
        one(
            "e3",
            json!({"ioc": "*.evil.example"}),
            json!({"sha256": "cd".repeat(32)}),
        ),
    ];
    let first = read(&all);
    let written: Vec<Value> = first.list().iter().map(|one| json!(one.form())).collect();
    assert_eq!(written, all);
    assert_eq!(read(&written).list(), first.list());
    let now = "2026-06-01T00:00:00Z".parse().unwrap();
    assert!(first.list().iter().all(|one| one.is_in_force(now)));
}
