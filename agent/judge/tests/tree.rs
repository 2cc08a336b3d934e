//! What the other steps of a process tree change in a verdict, and what they may not.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod support;

use std::sync::Arc;

use cordon_behavior::story::Story;
use cordon_judge::{Around, Cascade, Floor, Options, Risks, TreeRisk};
use cordon_proto::policy::Thresholds;
use cordon_proto::verdict::{Verdict, VerdictKind};
use cordon_rules::{Exceptions, IndicatorsBuilder, RuleSetBuilder};
use support::{SHELLS, shell, story};

const RULES: &str = r"
title: Bad line
id: r-critical
level: critical
logsource: {category: process_creation}
detection:
  s: {CommandLine|contains: badline}
  condition: s
---
title: Odd line
id: r-high
level: high
logsource: {category: process_creation}
detection:
  s: {CommandLine|contains: oddline}
  condition: s
";

const EXCEPTIONS: &str = r#"{"version":1,"exceptions":[
  {"id":"e-model","scope":"model","when":{"exe":"/opt/known"},"reason":"ours","author":"op",
   "created":"2026-05-01T00:00:00Z","expires":"2026-07-01T00:00:00Z"}]}"#;

fn cascade() -> Cascade {
    let mut rules = RuleSetBuilder::new();
    rules.file("r.yml", RULES.as_bytes());
    let mut exceptions = Exceptions::default();
    exceptions.file("e.json", EXCEPTIONS.as_bytes());
    let rules = rules.build();
    assert_eq!(
        (rules.problems(), exceptions.problems()),
        (&[][..], &[][..])
    );
    let floor = Floor::new(
        Arc::new(rules),
        Arc::new(IndicatorsBuilder::new().build()),
        exceptions,
    );
    Cascade::new(Some(SHELLS.judge(Options::default())), Some(floor))
}

fn around(tree: TreeRisk) -> Around {
    Around {
        now: "2026-06-01T00:00:00Z".parse().unwrap(),
        sha256: None,
        tree,
    }
}

fn text(command: &str) -> Story {
    Story {
        id: "t".to_owned(),
        command: Some(command.to_owned()),
        ..Story::default()
    }
}

/// Suspicious by itself, and excepted from the model.
fn known(word: &str) -> Story {
    let json = format!(
        r#"{{"id":"k","process":{{"exe":"/opt/known","argv":["known","{word}","-i"],"stdin":"socket"}}}}"#
    );
    story(&json)
}

/// What a tree says in which these were judged before.
fn after(commands: &[&str]) -> TreeRisk {
    let stories: Vec<Story> = commands.iter().map(|command| text(command)).collect();
    after_stories(&stories)
}

fn after_stories(stories: &[Story]) -> TreeRisk {
    let (mut cascade, mut risks) = (cascade(), Risks::new(8));
    for (at, story) in (0u64..).zip(stories) {
        let told = cascade.judge_step(story, None, &around(TreeRisk::default()));
        if let Some(alone) = told.alone {
            risks.add(0, at, at, alone, at);
        }
    }
    risks.of(&0, u64::MAX, u64::MAX, stories.len() as u64)
}

fn judged(command: &str, tree: TreeRisk) -> Verdict {
    cascade().judge(&text(command), None, &around(tree))
}

/// By the model a shell that speaks to the net: malicious; a fetch: suspicious; a look: harmless.
const ATTACK: [&str; 6] = ["nc a", "nc b", "nc c", "nc d", "nc e", "nc f"];
const HARMLESS: [&str; 6] = ["ls a", "ls b", "ls c", "ls d", "ls e", "ls f"];

#[test]
fn a_doubtful_step_is_what_its_company_is() {
    let alone = judged("curl x", TreeRisk::default());
    assert_eq!(alone.verdict, VerdictKind::Suspicious);
    let among_attack = judged("curl x", after(&ATTACK));
    assert_eq!(among_attack.verdict, VerdictKind::Malicious);
    assert!(among_attack.score > alone.score);
    assert_eq!(among_attack.techniques, alone.techniques);
    let why = among_attack
        .reasons
        .iter()
        .find(|reason| reason.text.contains("6 of the last 6 other steps"))
        .unwrap();
    assert!(why.zh.contains("6 个步骤"), "{why:?}");
    let raised = among_attack.score - alone.score;
    assert!((why.weight - raised).abs() < 1e-6, "{why:?}");
    let among_harmless = judged("curl x", after(&HARMLESS));
    assert_eq!(among_harmless.verdict, VerdictKind::Benign);
    assert!(among_harmless.reasons.is_empty() && among_harmless.techniques.is_empty());
}

#[test]
fn no_company_makes_a_harmless_step_suspicious_or_hides_a_sure_attack() {
    assert_eq!(judged("ls x", after(&ATTACK)).verdict, VerdictKind::Benign);
    let hidden = shell("s", "203.0.113.9", 4444);
    let hidden = cascade().judge(&hidden, None, &around(after(&HARMLESS)));
    assert_eq!(hidden.verdict, VerdictKind::Malicious);
}

#[test]
fn rules_and_exceptions_hold_whatever_the_tree_says() {
    let by_rule = judged("ls oddline", after(&HARMLESS));
    assert_eq!(by_rule.verdict, VerdictKind::Suspicious, "{by_rule:?}");
    let excepted = cascade().judge(&known("x"), None, &around(after(&ATTACK)));
    assert_eq!(excepted.verdict, VerdictKind::Benign, "{excepted:?}");
    assert!(
        excepted
            .reasons
            .iter()
            .any(|reason| reason.text.contains("excepted by e-model"))
    );
    // What is excepted says nothing of its tree.
    assert_eq!(
        after_stories(&[known("a"), known("b")]),
        TreeRisk::default()
    );
    assert!(after(&["ls oddline a", "ls oddline b"]).log_odds > after(&["ls a", "ls b"]).log_odds);
}

#[test]
fn score_and_name_agree_under_any_thresholds_in_any_company() {
    let trees = [
        TreeRisk::default(),
        after(&ATTACK),
        after(&HARMLESS),
        after(&["curl a", "ls b"]),
    ];
    for (suspicious, malicious) in [
        (0.5, 0.9),
        (0.0, 1.0),
        (1.0, 1.0),
        (0.3, 0.3),
        (0.999, 0.9999),
    ] {
        let thresholds = Thresholds {
            suspicious,
            malicious,
        };
        for tree in trees {
            for command in [
                "ls",
                "curl",
                "nc",
                "curl oddline",
                "ls oddline",
                "ls badline",
            ] {
                let verdict = cascade().judge(&text(command), Some(thresholds), &around(tree));
                let named = if verdict.score >= malicious {
                    VerdictKind::Malicious
                } else if verdict.score >= suspicious {
                    VerdictKind::Suspicious
                } else {
                    VerdictKind::Benign
                };
                // Where both thresholds are one there is nothing between benign and malicious.
                let is_lost = suspicious >= malicious && verdict.verdict == VerdictKind::Suspicious;
                assert!(
                    named == verdict.verdict || is_lost && named == VerdictKind::Benign,
                    "{command} {thresholds:?} {tree:?}: {verdict:?}"
                );
            }
        }
    }
}

#[test]
fn what_a_tree_makes_suspicious_is_not_answered_in_passing() {
    let mut cascade = cascade();
    // Known from before, and harmless enough to be answered at once.
    let story = text("curl -i x");
    let alone = around(TreeRisk::default());
    let strict = Some(Thresholds {
        suspicious: 0.97,
        malicious: 0.99,
    });
    let print = cascade.fingerprint(&story, &alone);
    cascade.judge_printed(&story, print, strict, &alone);
    assert!(cascade.judge_quickly(&story, print, strict, &alone).is_ok());
    let told = cascade.judge_quickly(&story, print, strict, &around(after(&ATTACK)));
    assert!(told.is_err_and(f32::is_infinite));
}
