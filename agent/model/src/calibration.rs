//! From logits to probabilities, and from probabilities to names: `calibration.json` of an artifact.

use serde::{Deserialize, Serialize};

/// Platt scaling: `p = sigmoid(slope * logit + offset)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platt {
    /// Always positive: calibration never turns the order around.
    pub slope: f32,
    /// Shift.
    pub offset: f32,
}

impl Platt {
    /// Leaves logits as they are.
    pub const IDENTITY: Self = Self {
        slope: 1.0,
        offset: 0.0,
    };

    /// The probability of a logit.
    pub fn probability(self, logit: f32) -> f32 {
        sigmoid(self.slope * logit + self.offset)
    }
}

/// The networks' logit and the gate's, as one: `p = sigmoid(network * n + gate * g + offset)`. The two err apart: the
/// networks read order and context, the gate remembers words, so both together know more than either.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    /// Weight of the networks' logit, above 0.
    pub network: f32,
    /// Weight of the gate's logit, 0 or more.
    pub gate: f32,
    /// Shift.
    pub offset: f32,
}

impl Blend {
    /// The networks alone, as they are.
    pub const NETWORK: Self = Self {
        network: 1.0,
        gate: 0.0,
        offset: 0.0,
    };

    /// The calibrated log-odds.
    pub fn log_odds(self, network: f32, gate: f32) -> f32 {
        self.network * network + self.gate * gate + self.offset
    }

    /// The probability of two logits.
    pub fn probability(self, network: f32, gate: f32) -> f32 {
        sigmoid(self.log_odds(network, gate))
    }
}

/// The logistic function.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Where probabilities get their names. Defaults of the model; a policy may say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// A gate probability below it is benign without asking the network.
    pub gate: f32,
    /// At or above: suspicious.
    pub suspicious: f32,
    /// At or above: malicious.
    pub malicious: f32,
}

/// What a story is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A process that a sensor saw.
    Seen,
    /// Shell text and nothing else.
    Text,
}

/// All that is measured on held-out data and used in judging.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Of both malice logits, for stories that a sensor saw.
    pub seen: Blend,
    /// The same for shell text alone: less is known of it, and its logits lie elsewhere.
    pub text: Blend,
    /// Of the gate's logit alone.
    pub gate: Platt,
    /// Names of probabilities.
    pub thresholds: Thresholds,
    /// A technique is named when its share is at least this.
    pub technique: f32,
}

impl Calibration {
    /// Of both malice logits, for one form of story.
    pub fn of(&self, form: Form) -> Blend {
        match form {
            Form::Seen => self.seen,
            Form::Text => self.text,
        }
    }

    /// Why this calibration is refused, if it is.
    pub fn check(&self) -> Result<(), String> {
        let t = self.thresholds;
        let ordered = 0.0 <= t.suspicious && t.suspicious <= t.malicious && t.malicious <= 1.0;
        if !ordered || !(0.0..=1.0).contains(&t.gate) || !(0.0..=1.0).contains(&self.technique) {
            return Err("thresholds must satisfy 0 <= suspicious <= malicious <= 1".to_owned());
        }
        let slope = |value: f32| value > 0.0 && value.is_finite();
        let weight = |value: f32| value >= 0.0 && value.is_finite();
        let blends = [self.seen, self.text];
        let are_sound = blends
            .iter()
            .all(|one| slope(one.network) && weight(one.gate) && one.offset.is_finite());
        if are_sound && slope(self.gate.slope) && self.gate.offset.is_finite() {
            Ok(())
        } else {
            Err("a slope must be positive and finite, an offset finite".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_calibrations_are_refused() {
        let good = Calibration {
            seen: Blend::NETWORK,
            text: Blend::NETWORK,
            gate: Platt::IDENTITY,
            thresholds: Thresholds {
                gate: 0.01,
                suspicious: 0.5,
                malicious: 0.9,
            },
            technique: 0.2,
        };
        good.check().unwrap();
        let mut bad = good;
        bad.thresholds.suspicious = 0.95;
        assert!(bad.check().is_err());
        bad = good;
        bad.seen.network = f32::NAN;
        assert!(bad.check().is_err());
        bad = good;
        bad.thresholds.malicious = f32::NAN;
        assert!(bad.check().is_err());
    }
}
