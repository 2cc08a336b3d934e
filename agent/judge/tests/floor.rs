//! Rules, indicators and exceptions beside a model: whose word counts, and what is told of the others.

#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::sync::Arc;

use cordon_behavior::story::Story;
use cordon_judge::{Around, Cascade, Floor, Options, TreeRisk};
use cordon_proto::verdict::{Stage, Verdict, VerdictKind};
use cordon_rules::{Exceptions, IndicatorsBuilder, RuleSetBuilder};
use support::{ByHand, SHELLS, shell, story};

const RULES: &str = r"
title: Bad line
id: r-critical
level: critical
tags: [attack.t1059.004]
logsource: {category: process_creation}
detection:
  s: {CommandLine|contains: badline}
  condition: s
---
title: Odd line
id: r-high
level: high
tags: [attack.t1105]
logsource: {category: process_creation}
detection:
  s: {CommandLine|contains: oddline}
  condition: s
---
title: Noted line
id: r-low
level: low
logsource: {category: process_creation}
detection:
  s: {CommandLine|contains: notedline}
  condition: s
---
title: Noted name
id: r-name
level: high
logsource: {category: dns_query}
detection:
  s: {QueryName: odd.example}
  condition: s
";

const EXCEPTIONS: &str = r#"{"version":1,"exceptions":[
  {"id":"e-rule","scope":{"rule":"r-critical"},"when":{"exe":"/opt/known"},"reason":"ours","author":"op",
   "created":"2026-05-01T00:00:00Z","expires":"2026-07-01T00:00:00Z"},
  {"id":"e-ioc","scope":{"ioc":"203.0.113.9"},"when":{"exe":"/opt/known"},"reason":"ours","author":"op",
   "created":"2026-05-01T00:00:00Z","expires":"2026-07-01T00:00:00Z"},
  {"id":"e-model","scope":"model","when":{"exe":"/opt/known"},"reason":"ours","author":"op",
   "created":"2026-05-01T00:00:00Z","expires":"2026-07-01T00:00:00Z"}]}"#;

fn floor() -> Floor {
    let mut rules = RuleSetBuilder::new();
    rules.file("r.yml", RULES.as_bytes());
    let mut indicators = IndicatorsBuilder::new();
    indicators.list(
        "i.txt",
        format!("203.0.113.9\n{}", "ab".repeat(32)).as_bytes(),
    );
    let mut exceptions = Exceptions::default();
    exceptions.file("e.json", EXCEPTIONS.as_bytes());
    let rules = rules.build();
    assert_eq!(
        (rules.problems(), exceptions.problems()),
        (&[][..], &[][..])
    );
    Floor::new(Arc::new(rules), Arc::new(indicators.build()), exceptions)
}

fn both(model: &ByHand) -> Cascade {
    Cascade::new(Some(model.judge(Options::default())), Some(floor()))
}

fn at(time: &str) -> Around {
    Around {
        now: time.parse().unwrap(),
        sha256: None,
        tree: TreeRisk::default(),
    }
}

fn now() -> Around {
    at("2026-06-01T00:00:00Z")
}

fn text(command: &str) -> Story {
    Story {
        id: "t".to_owned(),
        command: Some(command.to_owned()),
        ..Story::default()
    }
}

fn texts(verdict: &Verdict) -> String {
    let texts = verdict.reasons.iter().map(|reason| reason.text.as_str());
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_worse_of_rule_and_model_is_the_verdict_with_the_reasons_of_both() {
    use VerdictKind::{Benign, Malicious, Suspicious};
    for (command, kind, stage, reasons) in [
        // The model calls `curl` suspicious and `nc` malicious; its gate lets everything through.
        (
            "ls badline",
            Malicious,
            Stage::Rule,
            &["rule \"Bad line\" (critical, r-critical): ls badline"][..],
        ),
        ("ls oddline", Suspicious, Stage::Rule, &["Odd line"]),
        ("ls notedline", Benign, Stage::Model, &["Noted line"]),
        ("ls", Benign, Stage::Model, &[]),
        (
            "curl badline",
            Malicious,
            Stage::Rule,
            &["Bad line", "curl"],
        ),
        ("nc oddline", Malicious, Stage::Model, &["Odd line", "nc"]),
        ("nc badline", Malicious, Stage::Rule, &["Bad line", "nc"]),
    ] {
        let verdict = both(&SHELLS).judge(&text(command), None, &now());
        assert_eq!(
            (verdict.verdict, verdict.stage),
            (kind, stage),
            "{command}: {verdict:?}"
        );
        for reason in reasons {
            assert!(texts(&verdict).contains(reason), "{command}: {verdict:?}");
        }
        let weights: Vec<f32> = verdict.reasons.iter().map(|reason| reason.weight).collect();
        assert!(weights.is_sorted_by(|a, b| a >= b), "{weights:?}");
    }
    let verdict = both(&SHELLS).judge(&text("nc badline"), None, &now());
    assert_eq!(verdict.techniques[0], "T1059.004");
}

#[test]
fn what_is_certain_does_not_wait_for_the_model() {
    let mut cascade = both(&SHELLS);
    let story = text("nc badline");
    let print = cascade.fingerprint(&story, &now());
    let verdict = cascade.judge_printed(&story, print, None, &now()).verdict;
    assert_eq!(
        (verdict.verdict, verdict.stage),
        (VerdictKind::Malicious, Stage::Rule)
    );
    assert_eq!(cascade.counters().judged, 0);
    assert!(cascade.judge(&story, None, &now()).reasons.len() > 1);
    assert_eq!(cascade.counters().judged, 1);
}

#[test]
fn an_indicator_is_certain_and_comes_first() {
    let connected = r#"{"id":"1","process":{"exe":"/bin/x","argv":["x","badline"]},
        "connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":443}]}"#;
    let verdict = both(&SHELLS).judge(&story(connected), None, &now());
    assert_eq!(
        (verdict.verdict, verdict.stage),
        (VerdictKind::Malicious, Stage::Ioc)
    );
    assert!(texts(&verdict).contains("indicator 203.0.113.9 (i.txt, line 1): 203.0.113.9"));
    let below_a_script = shell("1", "203.0.113.9", 4444);
    let verdict = both(&SHELLS).judge(&below_a_script, None, &now());
    assert!(verdict.reasons.len() > 1, "{verdict:?}");
    let hashed = Around {
        sha256: Some([0xab; 32]),
        ..now()
    };
    let plain = story(r#"{"id":"1","process":{"exe":"/bin/x","argv":["x"]}}"#);
    let mut cascade = both(&SHELLS);
    assert!(cascade.wants_hashes());
    assert_eq!(
        cascade.judge(&plain, None, &now()).verdict,
        VerdictKind::Benign
    );
    assert_eq!(cascade.judge(&plain, None, &hashed).stage, Stage::Ioc);
}

#[test]
fn what_the_model_does_not_read_is_news_to_rules() {
    let mut cascade = both(&SHELLS);
    let before = story(r#"{"id":"1","process":{"exe":"/bin/x","argv":["x"]}}"#);
    let after =
        story(r#"{"id":"1","process":{"exe":"/bin/x","argv":["x"]},"dns":["odd.example"]}"#);
    assert_ne!(
        cascade.fingerprint(&before, &now()),
        cascade.fingerprint(&after, &now())
    );
    assert_eq!(
        cascade.judge(&before, None, &now()).verdict,
        VerdictKind::Benign
    );
    assert_eq!(
        cascade.judge(&after, None, &now()).verdict,
        VerdictKind::Suspicious
    );
    // What is quiet is remembered, and neither of the two is taken for the other.
    let quiet = cascade.quiet();
    assert_eq!(quiet.1, 1);
    assert_eq!(
        cascade.judge(&before, None, &now()).verdict,
        VerdictKind::Benign
    );
    assert_eq!(cascade.quiet(), quiet);
}

#[test]
fn what_is_excepted_does_not_count_and_is_told() {
    let known = r#"{"id":"1","process":{"exe":"/opt/known","argv":["known","badline","-i"],"stdin":"socket"},
        "connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.9","port":44444}]}"#;
    let other = known.replace("/opt/known", "/opt/known2");
    let mut cascade = both(&SHELLS);
    let story_of_it = story(known);
    let print = cascade.fingerprint(&story_of_it, &now());
    let told = cascade.judge_printed(&story_of_it, print, None, &now());
    assert_eq!(told.alone, None, "it says nothing of its tree");
    let verdict = told.verdict;
    assert_eq!(verdict.verdict, VerdictKind::Benign, "{verdict:?}");
    // Who asks for the reasons later counts nothing again.
    cascade.judge(&story_of_it, None, &now());
    let told = texts(&verdict);
    for wanted in [
        "excepted by e-rule until 2026-07-01T00:00:00Z (ours; op): rule \"Bad line\"",
        "excepted by e-ioc until 2026-07-01T00:00:00Z (ours; op): indicator 203.0.113.9",
        "excepted by e-model until 2026-07-01T00:00:00Z (ours; op): the model's verdict, score 0.",
    ] {
        assert!(told.contains(wanted), "{wanted} is not in\n{told}");
    }
    assert!(verdict.reasons.iter().all(|reason| reason.weight <= 0.0));
    assert!(verdict.score < 0.5, "{verdict:?}");
    let uses: Vec<u64> = cascade.uses().iter().map(|used| used.uses).collect();
    assert_eq!((uses, cascade.excepted()), (vec![1, 1, 1], 3));
    assert_eq!(
        cascade.judge(&story(&other), None, &now()).stage,
        Stage::Ioc
    );
    let late = cascade.judge(&story(known), None, &at("2026-07-01T00:00:00Z"));
    assert_eq!(late.verdict, VerdictKind::Malicious);
}

#[test]
fn rules_alone_need_no_model_and_do_not_call_benign_what_they_cannot_see() {
    let mut rules = Cascade::new(None, Some(floor()));
    assert_eq!(rules.model_id(), "none");
    let verdict = rules.judge(&text("ls badline"), None, &now());
    assert_eq!(
        (verdict.verdict, verdict.model.as_str()),
        (VerdictKind::Malicious, "none")
    );
    assert_eq!(
        rules.judge(&text("ls"), None, &now()).verdict,
        VerdictKind::Benign
    );
    assert_eq!(
        rules.judge(&text(" \t"), None, &now()).verdict,
        VerdictKind::NotEvaluable
    );
    let mut nothing = Cascade::new(
        None,
        Some(Floor::new(
            Arc::default(),
            Arc::default(),
            Exceptions::default(),
        )),
    );
    assert_eq!(
        nothing.judge(&text("ls"), None, &now()).verdict,
        VerdictKind::NotEvaluable
    );
    let mut model = Cascade::from(SHELLS.judge(Options::default()));
    assert_eq!(
        model.judge(&text("ls badline"), None, &now()).verdict,
        VerdictKind::Benign
    );
}

#[test]
fn what_somebody_has_to_be_told_is_left_and_counts_where_it_is_told() {
    let mut cascade = both(&SHELLS);
    let typed = |exe: &str, word: &str| {
        let json = format!(
            r#"{{"id":"1","process":{{"exe":"{exe}","argv":["ls","{word}"],"stdin":"tty"}}}}"#
        );
        story(&json)
    };
    for (exe, word, is_told, excepted) in [
        ("/bin/ls", "-l", true, 0),
        ("/bin/ls", "badline", false, 0),
        ("/opt/known", "badline", true, 1),
        ("/opt/known", "badline oddline", false, 1),
    ] {
        let one = typed(exe, word);
        let print = cascade.fingerprint(&one, &now());
        let verdict = cascade.judge_quickly(&one, print, None, &now());
        assert_eq!(verdict.is_ok(), is_told, "{exe} {word}: {verdict:?}");
        assert_eq!(cascade.excepted(), excepted, "{exe} {word}");
    }
    let left = typed("/opt/known", "badline oddline");
    let print = cascade.fingerprint(&left, &now());
    let verdict = cascade.judge_printed(&left, print, None, &now()).verdict;
    assert_eq!(verdict.verdict, VerdictKind::Suspicious);
    assert_eq!(cascade.excepted(), 2);
}
