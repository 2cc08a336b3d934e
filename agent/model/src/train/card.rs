//! The model card: every number in it is computed here, none is typed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::calibrate::{MALICIOUS_BUDGET, SUSPICIOUS_BUDGET};
use super::compare::Comparison;
use super::measure::{Kind, Ranking, Scored, Share};
use crate::calibration::Calibration;
use crate::shape::Shape;

/// What the card tells beside the scores.
pub struct Facts<'a> {
    /// The network.
    pub shape: &'a Shape,
    /// In use.
    pub calibration: &'a Calibration,
    /// Seed, epochs and the like.
    pub training: &'a BTreeMap<String, String>,
    /// Source, label and number of training stories of an epoch.
    pub fitted: &'a BTreeMap<(String, bool), usize>,
    /// Bytes of the weights.
    pub bytes: usize,
    /// Microseconds of the gate and of the network a story: median and 99th percentile.
    pub micros: [(u64, u64); 2],
    /// Architectures side by side, when they were compared, and whether that was on the data of this model.
    pub compared: Option<(&'a Comparison, bool)>,
}

/// The whole card.
pub fn write(facts: &Facts, calibrate: &[Scored], test: &[Scored]) -> String {
    let mut card = String::from(
        "# behavior-1\n\nWritten by `cordon-train`; do not edit. What the numbers mean: docs/model.md.\n\n",
    );
    network(facts, &mut card);
    sources(facts, calibrate, test, &mut card);
    left_out(facts.calibration, test, &mut card);
    budgets(facts.calibration, test, &mut card);
    if let Some((compared, is_of_this_data)) = facts.compared {
        comparison(compared, is_of_this_data, &mut card);
    }
    reliability(facts.calibration, test, &mut card);
    techniques(test, &mut card);
    card
}

macro_rules! line {
    ($card:expr, $($arg:tt)*) => {{ let _written = writeln!($card, $($arg)*); }};
}

fn network(facts: &Facts, card: &mut String) {
    let (shape, calibration) = (facts.shape, facts.calibration);
    line!(card, "## Network\n\n| what | value |\n|---|---|");
    line!(
        card,
        "| shape | {} networks of {} rows x {}, widths {:?}, {} channels each, hidden {}; {} techniques |",
        shape.networks,
        shape.rows,
        shape.dim,
        shape.widths,
        shape.channels,
        shape.hidden,
        shape.techniques.len()
    );
    line!(card, "| tokens of a story, at most | {} |", shape.tokens);
    line!(card, "| weights | Q8_0, {} bytes |", facts.bytes);
    for (name, (median, p99)) in ["gate", "gate and network"].iter().zip(facts.micros) {
        line!(
            card,
            "| {name}, tokens included, one core of the training machine: median and p99 | {median} us, {p99} us |"
        );
    }
    let t = calibration.thresholds;
    line!(
        card,
        "| thresholds: gate, suspicious, malicious | {:.4}, {:.4}, {:.4} |",
        t.gate,
        t.suspicious,
        t.malicious
    );
    line!(
        card,
        "| budgets of the thresholds on the calibration side | suspicious {SUSPICIOUS_BUDGET}, malicious {MALICIOUS_BUDGET} |"
    );
    for (name, value) in facts.training {
        line!(card, "| {name} | {value} |");
    }
}

fn sources(facts: &Facts, calibrate: &[Scored], test: &[Scored], card: &mut String) {
    line!(
        card,
        "\n## Sources\n\nWhat is fitted is on no other side, except `composed` (fresh draws of the same generator: optimistic, shown apart). `recorded:` families are left out as a whole, `runs:` are other runs of fitted scenarios. An attack's text that is left out is drawn three times, so its rows count each text three times: intervals are wider than they say.\n\n| source | label | side | stories |\n|---|---|---|---|"
    );
    for ((source, malicious), count) in facts.fitted {
        line!(
            card,
            "| {source} | {} | fitted, an epoch | {count} |",
            label(*malicious)
        );
    }
    for (side, scored) in [("calibration", calibrate), ("test", test)] {
        for (source, malicious) in kinds(scored) {
            let count = scored
                .iter()
                .filter(|one| one.source == source && one.malicious == malicious)
                .count();
            line!(
                card,
                "| {source} | {} | {side} | {count} |",
                label(malicious)
            );
        }
    }
}

fn label(malicious: bool) -> &'static str {
    if malicious { "attack" } else { "benign" }
}

fn kinds(scored: &[Scored]) -> BTreeSet<(String, bool)> {
    scored
        .iter()
        .map(|one| (one.source.clone(), one.malicious))
        .collect()
}

fn probability(one: &Scored, calibration: &Calibration) -> f32 {
    calibration.of(one.form).probability(one.network, one.gate)
}

/// What the cascade says: the gate may stop a story before the network.
fn called(one: &Scored, calibration: &Calibration, at: f32) -> bool {
    calibration.gate.probability(one.gate) >= calibration.thresholds.gate
        && probability(one, calibration) >= at
}

fn left_out(calibration: &Calibration, test: &[Scored], card: &mut String) {
    let t = calibration.thresholds;
    line!(
        card,
        "\n## Sources and families never trained on, at the default thresholds\n\nAttack rows are recall, benign rows are false positives.\n\n| source | label | malicious | suspicious or malicious |\n|---|---|---|---|"
    );
    for (source, malicious) in kinds(test) {
        let mine = || {
            test.iter()
                .filter(|one| one.source == source && one.malicious == malicious)
        };
        line!(
            card,
            "| {source} | {} | {} | {} |",
            label(malicious),
            Share::of(mine(), |one| called(one, calibration, t.malicious)),
            Share::of(mine(), |one| called(one, calibration, t.suspicious))
        );
    }
    let stopped = Share::of(test.iter(), |one| {
        calibration.gate.probability(one.gate) < t.gate
    });
    let lost = Share::of(
        test.iter()
            .filter(|one| one.malicious && probability(one, calibration) >= t.suspicious),
        |one| calibration.gate.probability(one.gate) < t.gate,
    );
    line!(
        card,
        "\nStopped at the gate: {stopped} of all, and {lost} of the attacks that the network would have found."
    );
}

/// Which model's logit.
type Logit = fn(&Scored, &Calibration) -> f32;

fn budgets(calibration: &Calibration, test: &[Scored], card: &mut String) {
    line!(
        card,
        "\n## Gate, network and both: recall at a fixed share of false positives, on the test side\n\nThe threshold is taken from the same benign stories, so this ranks models; it is not what a fleet would see.\n\n| stories | benign | model | area under the curve | recall at 1 % | recall at 0.1 % |\n|---|---|---|---|---|---|"
    );
    let models: [(&str, Logit); 3] = [
        ("gate (linear)", |one, _| one.gate),
        ("network", |one, _| one.network),
        ("both", |one, calibration| {
            calibration.of(one.form).log_odds(one.network, one.gate)
        }),
    ];
    for kind in Kind::ALL {
        let group: Vec<&Scored> = test
            .iter()
            .filter(|one| Kind::of(&one.source) == kind)
            .collect();
        for (model, logit) in models {
            let scores: Vec<(f32, bool)> = group
                .iter()
                .map(|one| (logit(one, calibration), one.malicious))
                .collect();
            budget_row(kind, model, &scores, card);
        }
    }
}

fn budget_row(kind: Kind, model: &str, scores: &[(f32, bool)], card: &mut String) {
    if let Some(ranking) = Ranking::of(scores) {
        line!(
            card,
            "| {} | {} | {model} | {} |",
            kind.name(),
            ranking.benign,
            recalls(&ranking)
        );
    }
}

fn recalls(ranking: &Ranking) -> String {
    let (one, tenth) = (ranking.recall_1, ranking.recall_01);
    format!("{:.4} | {one} | {tenth}", ranking.auc)
}

/// The architectures side by side.
fn comparison(compared: &Comparison, is_of_this_data: bool, card: &mut String) {
    let on = if is_of_this_data {
        "the data of this model"
    } else {
        "other data, or with another tokenizer, than this model: its rows are not to be set beside those above"
    };
    line!(
        card,
        "\n## Architectures side by side\n\nOne network of each, fitted on the same stories ({}) and measured on what was left out, in floating point where nothing else is said; by `cargo xtask train --compare`, on {on}.\n\n| stories | benign | architecture | bytes | area under the curve | recall at 1 % | recall at 0.1 % |\n|---|---|---|---|---|---|---|",
        compared.training
    );
    for row in &compared.rows {
        line!(
            card,
            "| {} | {} | {} | {} | {} |",
            row.stories,
            row.ranking.benign,
            row.architecture,
            row.bytes,
            recalls(&row.ranking)
        );
    }
}

fn reliability(calibration: &Calibration, test: &[Scored], card: &mut String) {
    line!(
        card,
        "\n## Reliability on the test side\n\nProbabilities are for even odds of attack and benign; the mix of this table is not even.\n\n| probability | stories | attacks among them |\n|---|---|---|"
    );
    for bin in 0..10 {
        let (low, high) = (bin as f32 / 10.0, (bin + 1) as f32 / 10.0);
        let mine = test.iter().filter(|one| {
            let p = probability(one, calibration);
            p >= low && (p < high || bin == 9)
        });
        let share = Share::of(mine, |one| one.malicious);
        line!(card, "| {low:.1} to {high:.1} | {} | {share} |", share.of);
    }
}

fn techniques(test: &[Scored], card: &mut String) {
    let known = || {
        test.iter()
            .filter(|one| one.malicious && one.technique.is_some())
    };
    let exact = Share::of(known(), |one| one.named == one.technique);
    let parent = |id: &Option<String>| {
        id.as_deref()
            .map(|id| id.split('.').next().unwrap_or(id).to_owned())
    };
    let near = Share::of(known(), |one| parent(&one.named) == parent(&one.technique));
    line!(
        card,
        "\n## Techniques\n\nLikeliest technique against the label, test stories that have one: {exact}; its parent technique: {near}."
    );
}
