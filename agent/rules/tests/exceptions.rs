//! Exceptions reach exactly as far as they say.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_behavior::story::{Process, Relative, Story};
use cordon_rules::{About, Exceptions, IndicatorsBuilder, Scope, Subject};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    time("2026-06-01T00:00:00Z")
}

fn good() -> Value {
    json!({"id": "e1", "scope": {"rule": "r1"}, "when": {"exe": "/usr/bin/backup", "uid": 0}, "reason": "nightly",
        "author": "op", "created": "2026-05-01T00:00:00Z", "expires": "2026-07-01T00:00:00Z"})
}

/// An exception from the model's verdict.
fn of_model(when: &Value) -> Value {
    let mut one = good();
    one["scope"] = json!("model");
    one["when"] = when.clone();
    one
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
            "nor one {\"glob\": PATTERN}",
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
    assert_eq!(read.uses().len(), 1);
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

/// What is wrong with the one exception of a file.
fn refused(json: &str) -> String {
    let mut read = Exceptions::default();
    let text = format!(r#"{{"version": 1, "exceptions": [{json}]}}"#);
    read.file("x.json", text.as_bytes());
    assert_eq!((read.uses().len(), read.problems().len()), (0, 1), "{json}");
    read.problems()[0].to_string()
}

#[test]
fn a_key_that_is_there_twice_is_refused_wherever_it_is() {
    let good = good().to_string();
    for (once, twice, wanted) in [
        (r#""uid":0"#, r#""uid":0,"uid":1"#, "duplicate field `uid`"),
        (
            r#""author":"op""#,
            r#""author":"op","author":"me""#,
            "duplicate field `author`",
        ),
        (
            r#"{"rule":"r1"}"#,
            r#"{"rule":"r1","rule":"r2"}"#,
            r#"scope: wanted one {"rule": ID}"#,
        ),
        (
            r#""/usr/bin/backup""#,
            r#"{"glob":"/usr/bin/x","glob":"/*/x"}"#,
            r#"exe or parent is neither a path nor one {"glob": PATTERN}"#,
        ),
    ] {
        assert!(good.contains(once), "{once}");
        let told = refused(&good.replace(once, twice));
        let wanted = format!("x.json, e1: broken: {wanted}");
        assert!(told.starts_with(&wanted), "{told}");
        assert!(!told.contains("at line"), "{told}");
    }
    // Neither of two ids is its name.
    let told = refused(&good.replace(r#""id":"e1""#, r#""id":"e1","id":"e2""#));
    assert_eq!(told, "x.json, exceptions[0]: broken: duplicate field `id`");
}

#[test]
fn an_indicator_is_excepted_however_it_is_spelt_and_none_that_no_list_has() {
    let subject = Subject {
        exe: "/usr/bin/backup",
        uid: Some(0),
        ..Subject::default()
    };
    let scoped = |indicator: &str| {
        let mut one = good();
        one["scope"] = json!({ "ioc": indicator });
        one
    };
    let digest = "AB".repeat(32);
    for (written, listed) in [
        ("203[.]0.113.9", "203.0.113.9"),
        ("203.0.113.77/24", "203.0.113.0/24"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:DB8:0::9", "2001:db8::9"),
        ("Evil[.]example.", "evil.example"),
        (".evil.example", "*.evil.example"),
        (&digest, &digest.to_lowercase()),
    ] {
        // As the list's own reader names it in a hit.
        let mut lists = IndicatorsBuilder::new();
        lists.list("l.txt", written.as_bytes());
        lists.list("m.txt", listed.as_bytes());
        let lists = lists.build();
        assert!(
            lists.problems()[0]
                .why
                .contains(&format!("{listed:?} is in l.txt"))
        );
        let exceptions = file(&[scoped(written)]);
        assert_eq!(exceptions.problems(), &[], "{written}");
        let scope = Scope::Ioc(listed.to_owned());
        assert!(
            exceptions.excepting(&scope, &subject, now()).is_some(),
            "{written}"
        );
    }
    for (written, why) in [
        ("0.0.0.0/0", "0.0.0.0/0 is too wide"),
        ("http://evil.example/", "a URL"),
        ("evil", "a name of one label"),
        ("", "neither an address"),
        (
            "d41d8cd98f00b204e9800998ecf8427e",
            "a hash, and not SHA-256",
        ),
    ] {
        let told = refused(&scoped(written).to_string());
        let wanted = format!("x.json, e1: broken: scope.ioc {written:?}: {why}");
        assert!(told.starts_with(&wanted), "{told}");
    }
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
    let exceptions = file(&[of_model(&json!({"exe": "/usr/bin/x", "argv": ["x"]}))]);
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

/// All that is known of somebody.
fn exactly(subject: &Subject<'_>) -> serde_json::Map<String, Value> {
    let word = |word: &str| (!word.is_empty()).then(|| json!(word));
    let parts = [
        ("exe", word(subject.exe)),
        ("argv", subject.argv.map(|argv| json!(argv))),
        ("sha256", subject.sha256.map(|sum| json!(hex::encode(sum)))),
        ("uid", subject.uid.map(|uid| json!(uid))),
        ("parent", word(subject.parent)),
        ("host", word(subject.host)),
    ];
    let known = parts
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    known.collect()
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
        let mut when = exactly(&subject_a);
        for (at, key) in ["argv", "uid", "parent", "host", "sha256"].iter().enumerate() {
            if left_out >> at & 1 > 0 { when.remove(*key); }
        }
        if left_out & 32 > 0 && when.contains_key("sha256") { when.remove("exe"); }
        let is_equal = (!when.contains_key("exe") || subject_a.exe == subject_b.exe)
            && (!when.contains_key("argv") || subject_a.argv == subject_b.argv)
            && (!when.contains_key("uid") || subject_a.uid == subject_b.uid)
            && (!when.contains_key("parent") || subject_a.parent == subject_b.parent)
            && (!when.contains_key("host") || subject_a.host == subject_b.host)
            && (!when.contains_key("sha256") || subject_a.sha256 == subject_b.sha256);
        let exceptions = file(&[of_model(&when.into())]);
        prop_assert_eq!(exceptions.problems(), &[]);
        prop_assert!(exceptions.excepting(&Scope::Model, &subject_a, now()).is_some());
        prop_assert_eq!(exceptions.excepting(&Scope::Model, &subject_b, now()).is_some(), is_equal);
    }

    #[test]
    fn a_glob_has_as_many_parts_as_the_path(path in "(/[ab]{0,2}){1,4}", glob in "(/[a*?]{1,3}){1,4}") {
        let exceptions = file(&[of_model(&json!({"exe": {"glob": glob}}))]);
        let subject = Subject { exe: &path, ..Subject::default() };
        if exceptions.excepting(&Scope::Model, &subject, now()).is_some() {
            prop_assert_eq!(path.matches('/').count(), glob.matches('/').count());
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
