//! What counts as proof.

use cordon_proto::record::Probe;
use cordon_respond::proof::{Evidence, Proof, weigh};

const PROVED: &str = "";

fn probes(marked: bool, unmarked: bool) -> Vec<Probe> {
    let probe = |target: &str, reached, expected| Probe {
        target: target.into(),
        reached,
        expected,
    };
    vec![
        probe("controller marked", marked, true),
        probe("controller unmarked", unmarked, false),
    ]
}

fn check(rules_whole: bool, was_reachable: bool, probes: Vec<Probe>, expected: &str) {
    let evidence = Evidence {
        rules_whole,
        controller_was_reachable: was_reachable,
        probes,
    };
    let expected = match expected {
        PROVED => Proof::Proved,
        why => Proof::Failed(why.into()),
    };
    assert_eq!(weigh(&evidence), expected, "{evidence:?}");
}

#[test]
fn the_controller_answers_and_a_forbidden_probe_does_not() {
    check(true, true, probes(true, false), PROVED);
    let silent = "the controller no longer answers the agent";
    check(true, true, probes(false, false), silent);
    let leak = "forbidden probe got through: controller unmarked";
    check(true, true, probes(true, true), leak);
    check(true, false, probes(false, true), leak);
}

#[test]
fn a_controller_that_was_away_before_need_not_answer() {
    check(true, false, probes(false, false), PROVED);
}

#[test]
fn rules_that_differ_prove_nothing_whatever_the_probes_say() {
    let why = "the kernel does not list the rules that were applied";
    check(false, true, probes(true, false), why);
}

#[test]
fn no_forbidden_probe_is_no_proof() {
    let why = "no forbidden probe was made";
    check(true, true, probes(true, false)[..1].to_vec(), why);
    check(true, false, Vec::new(), why);
}
