//! Calibration: how logits become probabilities, and the default thresholds, from stories kept aside for it.

use super::measure::{Kind, Scored, early_recall};
use crate::calibration::{Blend, Calibration, Form, Platt, Thresholds, sigmoid};

/// False positives that the default thresholds may cost on the calibration side. At one in a hundred the lab's honest
/// bulk work (a thousand files added by git, a tree removed) was taken for an attack.
pub const MALICIOUS_BUDGET: f64 = 4.5e-3;
/// The same for suspicious.
pub const SUSPICIOUS_BUDGET: f64 = 1.8e-2;
/// Share of what the network would call suspicious that the gate must let through.
const GATE_RECALL: f64 = 0.995;
/// The gate never stops more than this, however sure it seems on what was measured: it is linear and has seen less.
const MOST_GATE: f32 = 0.1;

/// Calibration and default thresholds from the calibration side.
pub fn calibrate(scored: &[Scored]) -> Calibration {
    let seen_blend = blend(scored, Form::Seen);
    let mut text = blend(scored, Form::Text);
    // Text is moved to where one threshold costs both forms the same.
    let ends = |budget| {
        (
            reach(scored, Form::Seen, seen_blend, budget),
            reach(scored, Form::Text, text, budget),
        )
    };
    let (seen, told) = ends(MALICIOUS_BUDGET);
    let (_, told_suspicious) = ends(SUSPICIOUS_BUDGET);
    text.offset += seen - told;
    let suspicious =
        reach(scored, Form::Seen, seen_blend, SUSPICIOUS_BUDGET).max(told_suspicious + seen - told);
    let malicious = sigmoid(seen).clamp(0.5, 0.9995);
    let suspicious = sigmoid(suspicious).clamp(0.2, malicious);
    let gates: Vec<(f32, bool)> = scored.iter().map(|one| (one.gate, one.malicious)).collect();
    let gate = platt(&gates);
    let mut calibration = Calibration {
        seen: seen_blend,
        text,
        gate,
        thresholds: Thresholds {
            gate: 0.0,
            suspicious,
            malicious,
        },
        technique: 0.2,
    };
    calibration.thresholds.gate = gate_threshold(scored, &calibration);
    calibration
}

/// False positives up to which network and gate are weighed against each other.
const BLEND_BUDGET: f64 = 1e-2;

/// What network and gate weigh in stories of one form: the share of the gate with which most attacks are found where
/// at most one in a hundred benign stories is mistaken, then the scale that makes probabilities of it. To fit the shares
/// as well would make the middle right and the ends wrong, and thresholds are at the ends.
///
/// Of shares that find as many within one standard error the smallest is taken (Breiman et al., Classification and
/// Regression Trees, 1984): what the gate adds is little, and may be no more than the luck of these stories.
fn blend(scored: &[Scored], form: Form) -> Blend {
    let mine: Vec<&Scored> = scored.iter().filter(|one| one.form == form).collect();
    let mixed = |share: f32, one: &Scored| (1.0 - share) * one.network + share * one.gate;
    // The recalls of all kinds together, and their variance.
    let found = |share: f32| -> (f64, f64) {
        let kinds = Kind::ALL.iter().filter_map(|kind| {
            let of = mine.iter().filter(|one| Kind::of(&one.source) == *kind);
            let sums: Vec<(f32, bool)> = of.map(|one| (mixed(share, one), one.malicious)).collect();
            let attacks = sums.iter().filter(|(_, malicious)| *malicious).count();
            let is_enough = attacks.min(sums.len() - attacks) >= FEWEST;
            let recall = early_recall(&sums, BLEND_BUDGET).filter(|_| is_enough)?;
            Some((recall, recall * (1.0 - recall) / attacks as f64))
        });
        kinds.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    let tried: Vec<(f32, (f64, f64))> = (0..=12u8)
        .map(|step| f32::from(step) * 0.05)
        .map(|share| (share, found(share)))
        .collect();
    let most = tried
        .iter()
        .map(|(_, found)| *found)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .unwrap_or_default();
    let is_as_good = |found: f64| found >= most.0 - most.1.sqrt();
    let share = tried
        .iter()
        .find(|(_, (found, _))| is_as_good(*found))
        .map_or(0.0, |(share, _)| *share);
    let sums: Vec<(f32, bool)> = mine
        .iter()
        .map(|one| (mixed(share, one), one.malicious))
        .collect();
    let scale = platt(&sums);
    Blend {
        network: scale.slope * (1.0 - share),
        gate: scale.slope * share,
        offset: scale.offset,
    }
}

/// Kinds whose benign stories set the thresholds of a form. What a sensor sees is measured on what a sensor saw, not
/// on sessions: those are drawn from a few dozen lines, and one mistaken line would be in a tenth of them. For text
/// there is nothing better.
fn kinds(form: Form) -> &'static [Kind] {
    match form {
        Form::Seen => &[Kind::Public, Kind::Recorded, Kind::Runs, Kind::Composed],
        Form::Text => &[Kind::Public, Kind::Written],
    }
}

/// Fewer stories of a label than this tell nothing of one in a hundred.
const FEWEST: usize = 100;

/// The log-odds that at most `budget` of each kind of benign story of one form reach. Public one-liners outnumber
/// everything else: each kind has to keep the budget by itself.
fn reach(scored: &[Scored], form: Form, blend: Blend, budget: f64) -> f32 {
    kinds(form)
        .iter()
        .filter_map(|kind| {
            let benign = scored
                .iter()
                .filter(|one| !one.malicious && one.form == form);
            let mine = benign.filter(|one| Kind::of(&one.source) == *kind);
            let mut said: Vec<f32> = mine
                .map(|one| blend.log_odds(one.network, one.gate))
                .collect();
            if said.len() < FEWEST {
                return None;
            }
            said.sort_by(|a, b| b.total_cmp(a));
            // Between two stories: with few of them a single one would move the threshold far.
            let place = said.len() as f64 * budget;
            let (above, below) = (said[place as usize], *said.get(place as usize + 1)?);
            Some(above + (below - above) * place.fract() as f32 + 1e-3)
        })
        .fold(0.0, f32::max)
}

/// Well below the lowest story that must pass, so that the gate only stops what is far from suspicion.
fn gate_threshold(scored: &[Scored], calibration: &Calibration) -> f32 {
    let mut heard: Vec<f32> = scored
        .iter()
        .filter(|one| one.malicious)
        .filter(|one| {
            let said = calibration.of(one.form).probability(one.network, one.gate);
            said >= calibration.thresholds.suspicious
        })
        .map(|one| calibration.gate.probability(one.gate))
        .collect();
    heard.sort_by(f32::total_cmp);
    let lost = (heard.len() as f64 * (1.0 - GATE_RECALL)) as usize;
    heard
        .get(lost)
        .map_or(0.0, |lowest| (lowest * 0.5).min(MOST_GATE))
}

/// Platt scaling with both classes weighing the same: the probability under even odds, whatever mix was measured.
fn platt(scores: &[(f32, bool)]) -> Platt {
    let positives = scores.iter().filter(|(_, malicious)| *malicious).count();
    let negatives = scores.len() - positives;
    if positives == 0 || negatives == 0 {
        return Platt::IDENTITY;
    }
    let weight = |malicious: bool| 0.5 / if malicious { positives } else { negatives } as f64;
    let (mut slope, mut offset) = (1.0f64, 0.0f64);
    for _ in 0..200 {
        let (mut gs, mut go, mut hss, mut hso, mut hoo) =
            (1e-3 * (slope - 1.0), 0.0, 1e-3, 0.0, 1e-6);
        for (score, malicious) in scores {
            let x = f64::from(*score);
            let p = 1.0 / (1.0 + (-(slope * x + offset)).exp());
            let error = weight(*malicious) * (p - f64::from(u8::from(*malicious)));
            let curve = weight(*malicious) * p * (1.0 - p);
            gs += error * x;
            go += error;
            hss += curve * x * x;
            hso += curve * x;
            hoo += curve;
        }
        let det = hss * hoo - hso * hso;
        if det.abs() < 1e-12 {
            break;
        }
        let (ds, d_offset) = ((gs * hoo - go * hso) / det, (go * hss - gs * hso) / det);
        // Half steps keep Newton from leaving where the curve is flat.
        slope = (slope - 0.5 * ds).clamp(0.05, 4.0);
        offset = (offset - 0.5 * d_offset).clamp(-12.0, 12.0);
    }
    Platt {
        slope: slope as f32,
        offset: offset as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platt_brings_overconfident_logits_down() {
        let scores: Vec<(f32, bool)> = (0..1000)
            .map(|index| {
                (
                    if index % 2 == 0 { 8.0 } else { -8.0 },
                    (index % 2 == 0) != (index % 10 == 3 || index % 10 == 4),
                )
            })
            .collect();
        let platt = platt(&scores);
        let high = platt.probability(8.0);
        assert!((0.7..0.9).contains(&high), "{high}");
        assert!(platt.slope > 0.0);
    }

    fn scored(form: Form, malicious: bool, network: f32) -> Scored {
        let source = "dockerfiles".to_owned();
        Scored {
            source,
            malicious,
            technique: None,
            form,
            network,
            gate: network,
            named: None,
        }
    }

    fn said(source: &str, malicious: bool, network: f32, gate: f32) -> Scored {
        Scored {
            source: source.to_owned(),
            gate,
            ..scored(Form::Text, malicious, network)
        }
    }

    #[test]
    fn a_kind_with_few_attacks_decides_no_blend() {
        // The gate is right about public text and the network about ours; each is wrong about the other.
        let blended = |public_attacks: usize| {
            let mut all = Vec::new();
            for index in 0..400 {
                let at = index as f32 / 400.0;
                all.push(said("dockerfiles", false, at, -4.0));
                all.push(said("ours", false, -4.0, at * 1e-3));
                all.push(said("ours", true, 4.0, at * 1e-3 - 1.0));
            }
            all.extend((0..public_attacks).map(|_| said("slp", true, 0.0, 4.0)));
            blend(&all, Form::Text)
        };
        assert!(blended(FEWEST - 1).gate.abs() < 1e-6);
        assert!(blended(FEWEST).gate > 0.0);
    }

    #[test]
    fn the_gate_has_no_share_for_what_may_be_luck() {
        // The gate alone finds `by_gate` of a thousand attacks, the network all others but a tenth.
        let blended = |by_gate: usize| {
            let mut all = Vec::new();
            for index in 0..1000 {
                let (network, gate) = match index {
                    index if index < by_gate => (-1.0, 9.0),
                    index if index < 900 => (2.0, 0.0),
                    _ => (-2.0, 0.0),
                };
                all.push(said("ours", true, network, gate));
                all.push(said("ours", false, -(index as f32) / 1000.0, 0.0));
            }
            blend(&all, Form::Text)
        };
        assert!(blended(5).gate.abs() < 1e-6);
        assert!(blended(100).gate > 0.0);
    }

    #[test]
    fn one_threshold_keeps_the_budget_of_both_forms() {
        let mut all = Vec::new();
        for index in 0..2000 {
            let at = index as f32 / 500.0;
            all.push(scored(Form::Seen, false, at - 4.0));
            all.push(scored(Form::Text, false, at - 1.0));
            all.push(scored(Form::Seen, true, at));
            all.push(scored(Form::Text, true, at + 1.0));
        }
        let calibration = calibrate(&all);
        calibration.check().unwrap();
        for form in [Form::Seen, Form::Text] {
            let benign = all.iter().filter(|one| one.form == form && !one.malicious);
            let called = benign.filter(|one| {
                calibration.of(form).probability(one.network, one.gate)
                    >= calibration.thresholds.malicious
            });
            assert!(called.count() <= 20, "{form:?}");
        }
    }
}
