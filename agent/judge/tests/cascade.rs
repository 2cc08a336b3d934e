//! Cache, gate, network and names, with models made by hand.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::time::{Duration, Instant};

use cordon_behavior::story::{Connection, FileOperation, Process, Relative, StdioKind, Story};
use cordon_judge::{Counters, Options};
use cordon_proto::policy::Thresholds;
use cordon_proto::verdict::{Stage, Verdict, VerdictKind};
use proptest::prelude::*;
use support::{ByHand, SHELLS, shell, story};

/// Floats of a verdict differ in the last digit between processors; its form does not.
fn check(verdict: &Verdict) -> String {
    let mut verdict = verdict.clone();
    let round = |value: f32| (value * 100.0).round() / 100.0;
    verdict.score = round(verdict.score);
    for reason in &mut verdict.reasons {
        reason.weight = round(reason.weight);
    }
    assert!(
        verdict.model.starts_with("behavior-1@"),
        "{}",
        verdict.model
    );
    "behavior-1@<hash>".clone_into(&mut verdict.model);
    serde_json::to_string_pretty(&verdict).unwrap()
}

#[test]
fn golden_malicious() {
    let verdict = SHELLS
        .judge(Options::default())
        .judge(&shell("g1", "203.0.113.9", 4444), None);
    insta::assert_snapshot!(check(&verdict));
}

#[test]
fn golden_benign() {
    let ls = story(r#"{"id":"g2","process":{"exe":"/bin/ls","argv":["ls"]}}"#);
    insta::assert_snapshot!(check(&SHELLS.judge(Options::default()).judge(&ls, None)));
}

#[test]
fn golden_not_evaluable() {
    let nothing = story(r#"{"id":"g3","process":{"cwd":"/"},"ancestors":[{"exe":"/bin/sh"}]}"#);
    insta::assert_snapshot!(check(
        &SHELLS.judge(Options::default()).judge(&nothing, None)
    ));
}

#[test]
fn a_cached_verdict_is_the_fresh_one() {
    let mut judge = SHELLS.judge(Options::default());
    let one = shell("a", "203.0.113.9", 4444);
    let fresh = judge.judge(&one, None);
    assert_eq!(fresh.verdict, VerdictKind::Malicious);
    let asked = judge.counters().occlusions;
    assert!((1..=24).contains(&asked), "{asked} runs");
    assert_eq!(judge.judge(&one, None), fresh);
    let counters = judge.counters();
    assert_eq!(
        (
            counters.judged,
            counters.cached,
            counters.network,
            counters.occlusions
        ),
        (2, 1, 1, asked)
    );
}

#[test]
fn a_verdict_without_reasons_is_the_same_but_for_them() {
    let mut judge = SHELLS.judge(Options::default());
    let one = shell("a", "203.0.113.9", 4444);
    let bare = judge.judge_without_reasons(&one, None);
    assert_eq!((bare.reasons.len(), judge.counters().occlusions), (0, 0));
    let whole = judge.judge(&one, None);
    assert!(!whole.reasons.is_empty());
    assert_eq!(judge.counters().network, 1);
    assert_eq!(
        Verdict {
            reasons: Vec::new(),
            ..whole
        },
        bare
    );
    assert_eq!(judge.judge_without_reasons(&one, None).reasons, []);
}

#[test]
fn a_story_that_reads_the_same_is_cached_and_its_reasons_name_its_own_address() {
    let mut judge = SHELLS.judge(Options::default());
    judge.judge(&shell("a", "203.0.113.9", 4444), None);
    let other = judge.judge(&shell("b", "198.51.100.7", 9001), None);
    assert_eq!(judge.counters().cached, 1);
    assert_eq!(other.id, "b");
    let texts: Vec<&str> = other
        .reasons
        .iter()
        .map(|reason| reason.text.as_str())
        .collect();
    assert!(
        texts.contains(&"connects to 198.51.100.7:9001 (tcp)"),
        "{texts:?}"
    );
    let mut unheard = SHELLS.judge(Options::default());
    assert_eq!(
        unheard.judge(&shell("b", "198.51.100.7", 9001), None),
        other
    );
}

/// What the model does not read costs no run, gives no reason and is no reason to judge again.
#[test]
fn a_story_that_grew_in_what_is_not_read_is_the_same_story() {
    let mut judge = SHELLS.judge(Options::default());
    let one = shell("a", "203.0.113.9", 4444);
    let verdict = judge.judge(&one, None);
    let mut more = one.clone();
    more.dns = vec!["nc.example.net".to_owned()];
    more.files.push(FileOperation {
        op: "write".into(),
        path: "/etc/cron.d/nc".into(),
        ..FileOperation::default()
    });
    more.connections.insert(
        0,
        Connection {
            direction: "in".into(),
            ..one.connections[0].clone()
        },
    );
    assert_eq!(judge.fingerprint(&one), judge.fingerprint(&more));
    let runs = judge.counters().occlusions;
    assert_eq!(judge.judge(&more, None), verdict);
    assert_eq!(
        (judge.counters().cached, judge.counters().occlusions),
        (1, runs)
    );
    let mut unheard = SHELLS.judge(Options::default());
    assert_eq!(unheard.judge(&more, None), verdict);
    assert_ne!(
        judge.fingerprint(&one),
        judge.fingerprint(&shell("a", "198.51.100.7", 4444)),
        "another address of the same class is news to whoever isolates"
    );
}

#[test]
fn thresholds_name_a_cached_score_anew() {
    let mut judge = SHELLS.judge(Options::default());
    let curl = story(r#"{"id":"c","command":"curl -s example.org"}"#);
    let at = |suspicious, malicious| {
        Some(Thresholds {
            suspicious,
            malicious,
        })
    };
    let calm = judge.judge(&curl, at(0.9, 0.95));
    assert_eq!(
        (calm.verdict, calm.reasons.len(), calm.techniques.len()),
        (VerdictKind::Benign, 0, 0)
    );
    let alarmed = judge.judge(&curl, at(0.1, 0.2));
    assert_eq!(
        (alarmed.verdict, alarmed.score),
        (VerdictKind::Malicious, calm.score)
    );
    assert!(!alarmed.reasons.is_empty());
    assert_eq!(alarmed.techniques, ["T1059.004"]);
    assert_eq!(judge.judge(&curl, None).verdict, VerdictKind::Suspicious);
    assert_eq!(judge.judge(&curl, at(0.9, 0.95)), calm);
    assert_eq!(judge.counters().network, 1);
}

#[test]
fn senseless_thresholds_are_not_used() {
    let mut judge = SHELLS.judge(Options::default());
    let one = shell("t", "203.0.113.9", 4444);
    let wanted = judge.judge(&one, None);
    for (suspicious, malicious) in [
        (f32::NAN, f32::NAN),
        (0.9, 0.1),
        (0.5, f32::INFINITY),
        (-1.0, 0.5),
    ] {
        assert_eq!(
            judge.judge(
                &one,
                Some(Thresholds {
                    suspicious,
                    malicious
                })
            ),
            wanted
        );
    }
}

#[test]
fn what_the_gate_is_sure_of_does_not_reach_the_network() {
    let mut judge = SHELLS.judge(Options::default());
    let typed = story(r#"{"id":"t","process":{"exe":"/bin/bash","argv":["bash"],"stdin":"tty"}}"#);
    let verdict = judge.judge(&typed, None);
    assert_eq!(
        (verdict.verdict, verdict.stage),
        (VerdictKind::Benign, Stage::Gate)
    );
    assert!(verdict.score < 0.5);
    let counters = judge.counters();
    assert_eq!((counters.gate, counters.network), (1, 0));
}

#[test]
fn a_score_that_is_not_a_number_is_never_benign() {
    // Finite, as the loader demands, and beyond what a quantized activation can hold.
    let overflowing = ByHand {
        idle: 1e30,
        ..SHELLS
    };
    let mut judge = overflowing.judge(Options::default());
    let curl = story(r#"{"id":"n","command":"curl -s example.org"}"#);
    for _ in 0..2 {
        let verdict = judge.judge(&curl, None);
        assert_eq!(verdict.verdict, VerdictKind::NotEvaluable);
        assert_eq!(
            verdict.reasons[0].text,
            "the model has no finite score for it"
        );
        serde_json::from_str::<Verdict>(&serde_json::to_string(&verdict).unwrap()).unwrap();
    }
    assert_eq!(judge.counters().not_evaluable, 2);
}

#[test]
fn the_cache_keeps_its_bound() {
    let bound = 64 * 1024;
    let mut judge = SHELLS.judge(Options {
        cache_bytes: bound,
        ..Options::default()
    });
    for number in 0..2000 {
        judge.judge(
            &story(&format!(
                r#"{{"id":"x","command":"nc word{} word{}"}}"#,
                letters(number),
                letters(number * 7)
            )),
            None,
        );
        assert!(judge.counters().cache_bytes <= bound);
    }
    let Counters {
        network,
        forgotten,
        cache_bytes,
        ..
    } = judge.counters();
    assert!(
        network > 1000 && forgotten > 500 && cache_bytes > bound / 3,
        "{:?}",
        judge.counters()
    );
}

/// Digits would be read as one class.
fn letters(number: u32) -> String {
    number
        .to_string()
        .bytes()
        .map(|digit| char::from(digit - b'0' + b'g'))
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test has a clock, the crate does not"
)]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_hostile_story_costs_bounded_time_and_no_second_copy_of_it() {
    let long = "nc;".repeat(4_000_000);
    let kin = Relative {
        exe: "/bin/sh".into(),
        argv: vec!["-c".into(); 100],
        uid: None,
    };
    let one = Connection {
        direction: "out".into(),
        protocol: "tcp".into(),
        address: "203.0.113.9".into(),
        port: 4444,
        ..Connection::default()
    };
    let written = FileOperation {
        op: "write".into(),
        path: "/tmp/x".into(),
        ..FileOperation::default()
    };
    let hostile = Story {
        id: "h".into(),
        process: Some(Process {
            exe: long.clone(),
            argv: vec![long.clone(); 2],
            cwd: long.clone(),
            ..Process::default()
        }),
        ancestors: vec![kin.clone(); 10_000],
        children: vec![kin; 10_000],
        connections: vec![one; 100_000],
        files: vec![written; 100_000],
        dns: vec![String::new(); 100_000],
        command: Some(long),
        session: vec!["\u{0}".into(); 100_000],
        ..Story::default()
    };
    let mut judge = SHELLS.judge(Options::default());
    let begun = now();
    let verdict = judge.judge(&hostile, None);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(verdict.verdict, VerdictKind::Malicious);
    assert!(!verdict.reasons.is_empty() && judge.counters().occlusions <= 24);
    let text: usize = verdict.reasons.iter().map(|reason| reason.text.len()).sum();
    assert!(text < 4096, "{text} bytes of reasons");
}

fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => prop::sample::select(vec!["nc", "curl", "-i", "bash", ";", "|", "\u{202e}", "é", "", " ", "/tmp/x", "203.0.113.9", "'"]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "))
}

prop_compose! {
    fn any_story()(
        process in prop::option::of((words(), prop::collection::vec(words(), 0..5), words(), any::<bool>(), any::<bool>())),
        ancestors in prop::collection::vec((words(), prop::collection::vec(words(), 0..3)), 0..4),
        ports in prop::collection::vec(any::<u16>(), 0..5),
        dns in prop::collection::vec(words(), 0..3),
        command in prop::option::of(words()),
        session in prop::collection::vec(words(), 0..40),
    ) -> Story {
        let process = process.map(|(exe, argv, cwd, memfd, socket)| Process {
            exe, argv, cwd, memfd,
            stdin: if socket { StdioKind::Socket } else { StdioKind::Unknown },
            ..Process::default()
        });
        Story {
            id: "p".into(),
            process,
            ancestors: ancestors.into_iter().map(|(exe, argv)| Relative { exe, argv, uid: None }).collect(),
            connections: ports.into_iter().map(|port| Connection { direction: "out".into(), address: "192.0.2.1".into(), port, ..Connection::default() }).collect(),
            dns, command, session,
            ..Story::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_story_the_verdict_is_sound_and_the_same_again(story in any_story()) {
        let model = SHELLS.model();
        let options = Options::default();
        let mut judge = cordon_judge::Judge::new(model.clone(), options);
        let verdict = judge.judge(&story, None);
        prop_assert!((0.0..=1.0).contains(&verdict.score));
        prop_assert!(verdict.reasons.len() <= options.reasons);
        prop_assert!(judge.counters().occlusions <= options.occlusions as u64);
        for reason in &verdict.reasons {
            prop_assert!((-1.0..=1.0).contains(&reason.weight) && !reason.text.is_empty());
        }
        let is_suspect = verdict.verdict >= VerdictKind::Suspicious;
        prop_assert!(!is_suspect || !verdict.reasons.is_empty());
        prop_assert_eq!(&judge.judge(&story, None), &verdict);
        prop_assert_eq!(cordon_judge::Judge::new(model, options).judge(&story, None), verdict);
    }
}
