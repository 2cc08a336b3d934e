//! Every reason of a decision is said in both languages.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::collections::BTreeMap;

use cordon_proto::policy::Policy;
use cordon_proto::verdict::{Stage, Verdict, VerdictKind};
use cordon_respond::{Asking, Place, Standing, Subject, Taken, decide};
use jiff::Timestamp;
use serde_json::{Value, json};

const EXE: &str = "/usr/bin/perl";
/// Names that a policy is written with, and a unit.
const NAMES: [&str; 5] = ["observe", "recommend", "approve", "autonomous", " s"];

/// Every policy that leads to words of its own; `None` is no policy at all.
fn policies() -> Vec<Option<Policy>> {
    let approves = [
        Value::Null,
        json!({"seconds": 60, "unanswered": "act", "offline": "nothing"}),
    ];
    let quiet = json!([{"days": ["tue"], "from": "08:00", "to": "18:00", "zone": "Europe/Zurich"}]);
    let mut all = vec![None];
    for mode in ["observe", "recommend", "approve", "autonomous"] {
        for stop in ["none", "freeze", "kill"] {
            for approve in &approves {
                for quiet in [&json!([]), &quiet] {
                    for milder in [false, true] {
                        for (expires_at, at_once) in [
                            ("2027-11-01T00:00:00Z", None),
                            ("2026-11-02T00:00:00Z", None),
                            ("2027-11-01T00:00:00Z", Some(3)),
                        ] {
                            let mut policy = json!({
                                "version": 7, "site": "hq", "group": "servers",
                                "issued_at": "2026-11-01T00:00:00Z", "expires_at": expires_at, "mode": mode, "stop": stop,
                                "isolation": {"lease_seconds": 3600, "without_proof": "stay_shut", "allow": []},
                                "caps": {"isolations_per_hour": 2, "quiet_hours": quiet},
                                "protected_processes": [], "order_keys": [], "cut_off": milder,
                            });
                            if !approve.is_null() {
                                policy["approve"] = approve.clone();
                            }
                            if milder {
                                policy["block_remote"] = json!({"seconds": 600});
                            }
                            if let Some(hosts) = at_once {
                                policy["caps"]["hosts_at_once"] = hosts.into();
                            }
                            let policy: Policy = serde_json::from_value(policy).unwrap();
                            let protects = Policy {
                                protected_processes: vec![EXE.into()],
                                ..policy.clone()
                            };
                            all.extend([Some(policy), Some(protects)]);
                        }
                    }
                }
            }
        }
    }
    all
}

fn standings() -> Vec<Standing> {
    let bool = [false, true];
    let mut all = Vec::new();
    for (isolated, isolations_last_hour) in bool.into_iter().flat_map(|one| [(one, 0), (one, 5)]) {
        for is_from_before_opening in bool {
            for asking in [Asking::Possible, Asking::Refused, Asking::Full] {
                for place in [
                    Place::NotAsked,
                    Place::Granted,
                    Place::Refused(Taken::new(3, &[])),
                    Place::Refused(Taken::new(3, &["十五".to_owned()])),
                    Place::Unknown,
                ] {
                    all.push(Standing {
                        isolated,
                        isolations_last_hour,
                        is_from_before_opening,
                        asking,
                        place,
                    });
                }
            }
        }
    }
    all
}

#[test]
fn no_reason_is_english_in_chinese_and_no_two_are_one() {
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let subject = Subject { exe: EXE.into() };
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for kind in [
        VerdictKind::NotEvaluable,
        VerdictKind::Benign,
        VerdictKind::Suspicious,
        VerdictKind::Malicious,
    ] {
        let verdict = Verdict {
            id: "a1".into(),
            score: 0.97,
            verdict: kind,
            techniques: Vec::new(),
            reasons: Vec::new(),
            stage: Stage::Model,
            model: "behavior-1@0123abcd".into(),
            micros: 10,
        };
        for policy in policies() {
            for standing in standings() {
                let decision = decide(&verdict, &subject, policy.as_ref(), &standing, now);
                let (en, zh) = (decision.reason, decision.reason_zh);
                check(&zh, policy.as_ref());
                let before = said.insert(en.clone(), zh.clone());
                assert!(before.is_none_or(|before| before == zh), "{en}");
            }
        }
    }
    // One for one, or something is said that the other language leaves out.
    let chinese: std::collections::BTreeSet<_> = said.values().collect();
    assert_eq!(chinese.len(), said.len());
    assert!(said.len() > 100, "{}", said.len());
}

/// Only what the policy's author wrote, and times, are in Latin letters.
fn check(zh: &str, policy: Option<&Policy>) {
    let mut rest = zh.to_owned();
    if let Some(policy) = policy {
        assert!(zh.contains("策略版本 7"), "{zh}");
        for window in &policy.caps.quiet_hours {
            rest = rest.replace(&window.to_string(), "");
        }
        rest = rest.replace(&policy.expires_at.to_string(), "");
    }
    for name in NAMES {
        rest = rest.replace(name, "");
    }
    assert!(!rest.contains(|c: char| c.is_ascii_alphabetic()), "{zh}");
    assert!(
        rest.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)),
        "{zh}"
    );
}
