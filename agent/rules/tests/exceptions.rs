//! Exceptions reach exactly as far as they say.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_behavior::story::{Process, Relative, Story};
use cordon_rules::{About, Exceptions, Form, Glob, Matcher, Scope, Subject, When};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    time("2026-06-01T00:00:00Z")
}

fn form(id: &str, scope: Scope, when: When) -> Form {
    Form {
        id: id.to_owned(),
        scope,
        when,
        reason: "known".to_owned(),
        author: "op@example.net".to_owned(),
        created: time("2026-05-01T00:00:00Z"),
        expires: time("2026-07-01T00:00:00Z"),
    }
}

fn exe(path: &str) -> When {
    When {
        exe: Some(Matcher::Exact(path.to_owned())),
        ..When::default()
    }
}

fn good() -> Value {
    json!({"id": "e1", "scope": {"rule": "r1"}, "when": {"exe": "/usr/bin/backup", "uid": 0}, "reason": "nightly",
        "author": "op", "created": "2026-05-01T00:00:00Z", "expires": "2026-07-01T00:00:00Z"})
}

fn file(exceptions: &[Value]) -> Exceptions {
    let mut read = Exceptions::default();
    let text = json!({"version": 1, "exceptions": exceptions}).to_string();
    read.file("x.json", text.as_bytes());
    read
}

#[test]
fn time_scope_and_uses() {
    let mut exceptions = file(&[good()]);
    assert_eq!(exceptions.problems(), &[]);
    let subject = Subject {
        exe: "/usr/bin/backup",
        uid: Some(0),
        ..Subject::default()
    };
    let rule = |id: &str| Scope::Rule(id.to_owned());
    let excepts = |scope: &Scope, subject: &Subject<'_>, at: &str| {
        exceptions.excepting(scope, subject, time(at)).is_some()
    };
    assert!(excepts(&rule("r1"), &subject, "2026-06-01T00:00:00Z"));
    assert!(excepts(&rule("r1"), &subject, "2026-05-01T00:00:00Z"));
    for at in [
        "2026-04-30T23:59:59Z",
        "2026-07-01T00:00:00Z",
        "2030-01-01T00:00:00Z",
    ] {
        assert!(!excepts(&rule("r1"), &subject, at), "{at}");
    }
    for scope in [
        rule("r"),
        rule("r11"),
        Scope::Model,
        Scope::Ioc("r1".to_owned()),
    ] {
        assert!(!excepts(&scope, &subject, "2026-06-01T00:00:00Z"));
    }
    for other in [
        Subject {
            exe: "/usr/bin/backup2",
            ..subject
        },
        Subject {
            exe: "/usr/bin/backu",
            ..subject
        },
        Subject {
            exe: "/USR/bin/backup",
            ..subject
        },
        Subject {
            uid: Some(1),
            ..subject
        },
        Subject {
            uid: None,
            ..subject
        },
        Subject::default(),
    ] {
        assert!(
            !excepts(&rule("r1"), &other, "2026-06-01T00:00:00Z"),
            "{other:?}"
        );
    }
    // To look for one is not to use it.
    assert_eq!(exceptions.uses()[0].uses, 0);
    exceptions.used(0);
    exceptions.used(7);
    let used = exceptions.uses();
    assert_eq!((used[0].id.as_str(), used[0].uses), ("e1", 1));
}

#[test]
fn what_would_reach_too_far_is_refused_and_the_rest_counts() {
    let with = |key: &str, value: Value| {
        let mut one = good();
        one[key] = value;
        one["id"] = json!(format!("bad-{key}-{}", one.to_string().len()));
        one
    };
    let cases = [
        (with("when", json!({})), "neither exe nor sha256"),
        (
            with("when", json!({"uid": 0, "host": "h"})),
            "neither exe nor sha256",
        ),
        (
            with("when", json!({"exe": "/usr/bin/x", "comand": "y"})),
            "unknown field",
        ),
        (
            with("when", json!({"exe": {"glob": "/*/*"}})),
            "names something",
        ),
        (
            with("when", json!({"exe": {"glob": "usr/x"}})),
            "begins with /",
        ),
        (
            with("when", json!({"exe": {"regex": ".*"}})),
            "did not match",
        ),
        (with("when", json!({"exe": "/"})), "names something"),
        (with("when", json!({"exe": "/usr/../x"})), "names something"),
        (with("when", json!({"exe": "/x", "argv": []})), "argv"),
        (with("when", json!({"sha256": "abc"})), "64"),
        (with("expires", json!("2028-01-01T00:00:00Z")), "366 days"),
        (
            with("expires", json!("2026-05-01T00:00:00Z")),
            "after created",
        ),
        (with("expires", Value::Null), "null"),
        (with("reason", json!(" ")), "reason"),
        (with("author", json!("")), "author"),
        (with("scope", json!("everything")), "unknown variant"),
        (with("forever", json!(true)), "unknown field"),
        (good(), "this id already"),
    ];
    let mut all = vec![good()];
    all.extend(cases.iter().map(|(case, _)| case.clone()));
    let read = file(&all);
    assert_eq!(read.all().len(), 1);
    assert_eq!(read.problems().len(), cases.len());
    for (problem, (case, wanted)) in read.problems().iter().zip(&cases) {
        assert!(problem.why.contains(wanted), "{case}: {problem}");
        assert_eq!(problem.name, case["id"].as_str().unwrap());
    }
    let mut missing = good();
    missing.as_object_mut().unwrap().remove("expires");
    assert!(file(&[missing]).problems()[0].why.contains("expires"));
    for text in [
        "",
        "{",
        "[]",
        "{\"version\":2,\"exceptions\":[]}",
        "{\"exceptions\":[]}",
    ] {
        let mut read = Exceptions::default();
        read.file("x.json", text.as_bytes());
        assert_eq!(read.problems().len(), 1, "{text}");
    }
}

#[test]
fn the_form_is_written_as_it_is_read() {
    let read: Form = serde_json::from_value(good()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), good());
    let glob = json!({"exe": {"glob": "/opt/*/run"}});
    let when: When = serde_json::from_value(glob.clone()).unwrap();
    let wanted = Matcher::Glob(Glob {
        glob: "/opt/*/run".to_owned(),
    });
    assert_eq!(when.exe, Some(wanted));
    assert_eq!(serde_json::to_value(&when).unwrap(), glob);
}

#[test]
fn arguments_that_are_not_all_known_fulfil_nothing() {
    let story = |truncated: bool| Story {
        process: Some(Process {
            exe: "/usr/bin/x".to_owned(),
            argv: vec!["x".to_owned()],
            argv_truncated: truncated,
            ..Process::default()
        }),
        ..Story::default()
    };
    let when = When {
        argv: Some(vec!["x".to_owned()]),
        ..exe("/usr/bin/x")
    };
    let mut exceptions = Exceptions::default();
    exceptions.add(form("e", Scope::Model, when)).unwrap();
    let excepts = |story: &Story| {
        exceptions
            .excepting(&Scope::Model, &Subject::of(story, About::Process), now())
            .is_some()
    };
    assert!(excepts(&story(false)));
    assert!(!excepts(&story(true)));
    let text = Story {
        command: Some("x".to_owned()),
        ..Story::default()
    };
    assert!(!excepts(&text));
}

/// Small words, so that two stories are alike often enough.
fn stories() -> impl Strategy<Value = Story> {
    let word = "[ab]{1,2}";
    let argv = proptest::collection::vec(word, 0..3);
    let relative = (word, proptest::option::of(0_u32..3));
    (
        word,
        argv,
        proptest::option::of(0_u32..3),
        proptest::option::of(relative),
    )
        .prop_map(|(exe, argv, uid, parent)| Story {
            process: Some(Process {
                exe: format!("/{exe}"),
                argv,
                uid,
                ..Process::default()
            }),
            ancestors: parent
                .into_iter()
                .map(|(exe, uid)| Relative {
                    exe: format!("/{exe}"),
                    uid,
                    ..Relative::default()
                })
                .collect(),
            ..Story::default()
        })
}

proptest! {
    /// Made from one story, it holds of another only if each named part is the same in both.
    #[test]
    fn an_exception_from_one_story_holds_of_another_only_if_all_named_parts_are_equal(
        (a, b) in (stories(), stories()),
        (host_a, host_b) in ("[ab]{0,1}", "[ab]{0,1}"),
        (sum_a, sum_b) in (proptest::option::of(0_u8..2), proptest::option::of(0_u8..2)),
        left_out in 0_u8..64,
    ) {
        let (digest_a, digest_b) = (sum_a.map(|n| [n; 32]), sum_b.map(|n| [n; 32]));
        let subject_a = Subject { host: &host_a, sha256: digest_a.as_ref(), ..Subject::of(&a, About::Process) };
        let subject_b = Subject { host: &host_b, sha256: digest_b.as_ref(), ..Subject::of(&b, About::Process) };
        let mut when = When::exactly(&subject_a).unwrap();
        if left_out & 1 > 0 { when.argv = None; }
        if left_out & 2 > 0 { when.uid = None; }
        if left_out & 4 > 0 { when.parent = None; }
        if left_out & 8 > 0 { when.host = None; }
        if left_out & 16 > 0 { when.sha256 = None; }
        if left_out & 32 > 0 && when.sha256.is_some() { when.exe = None; }
        let is_equal = (when.exe.is_none() || subject_a.exe == subject_b.exe)
            && (when.argv.is_none() || subject_a.argv == subject_b.argv)
            && (when.uid.is_none() || subject_a.uid == subject_b.uid)
            && (when.parent.is_none() || subject_a.parent == subject_b.parent)
            && (when.host.is_none() || subject_a.host == subject_b.host)
            && (when.sha256.is_none() || subject_a.sha256 == subject_b.sha256);
        let mut exceptions = Exceptions::default();
        exceptions.add(form("e", Scope::Model, when)).unwrap();
        prop_assert!(exceptions.excepting(&Scope::Model, &subject_a, now()).is_some());
        prop_assert_eq!(exceptions.excepting(&Scope::Model, &subject_b, now()).is_some(), is_equal);
    }

    #[test]
    fn a_glob_has_as_many_parts_as_the_path(path in "(/[ab]{0,2}){1,4}", glob in "(/[a*?]{1,3}){1,4}") {
        let when = When { exe: Some(Matcher::Glob(Glob { glob: glob.clone() })), ..When::default() };
        let mut exceptions = Exceptions::default();
        if exceptions.add(form("e", Scope::Model, when)).is_ok() {
            let subject = Subject { exe: &path, ..Subject::default() };
            if exceptions.excepting(&Scope::Model, &subject, now()).is_some() {
                prop_assert_eq!(path.matches('/').count(), glob.matches('/').count());
            }
        }
    }
}

#[test]
fn every_problem_is_counted_also_those_that_are_not_listed() {
    let read = file(&vec![json!({}); 1_500]);
    assert_eq!(
        (read.problems().len(), read.unlisted_problems()),
        (1000, 500)
    );
}
