//! A story as the last layer reads it: what tuning leaves as it is, worked out once.

use sha2::{Digest as _, Sha256};

use crate::calibration::Form;
use crate::facts;
use crate::model::{Input, Model};

/// What stands before the last layer. About a kilobyte.
pub(super) struct Reading {
    /// The hidden layers of all networks.
    pub hidden: Vec<f32>,
    gate: f32,
    form: Form,
    /// The gate answers, and nobody asks the last layer.
    pub by_gate: bool,
}

/// Two stories with the same one are one to the last layer.
pub(super) type Print = [u8; 32];

impl Reading {
    pub fn of(model: &Model, input: &Input) -> Self {
        Self {
            hidden: model.networks.hidden(&input.tokens, &input.facts),
            gate: model.gate.logit(&input.tokens, &input.facts),
            form: facts::form(&input.facts),
            by_gate: model.is_decided_by_gate(input),
        }
    }

    pub fn print(&self) -> Print {
        let mut hash = Sha256::new();
        hash.update([self.form as u8]);
        hash.update(self.gate.to_bits().to_le_bytes());
        for value in &self.hidden {
            hash.update(value.to_bits().to_le_bytes());
        }
        hash.finalize().into()
    }

    /// Calibrated log-odds by the last layer of `model`.
    pub fn log_odds(&self, model: &Model) -> f32 {
        let logits = model.networks.heads.forward(&self.hidden);
        let blend = model.calibration.of(self.form);
        blend.log_odds(logits[0], self.gate)
    }

    /// What a judge compares with the thresholds: what the gate decides is below all of them.
    pub fn probability(&self, model: &Model) -> f32 {
        if self.by_gate {
            return 0.0;
        }
        Model::probability_of(self.log_odds(model))
    }

    /// What its log-odds are linear in: the hidden layer times `scale` and what the network weighs, then one for its
    /// form.
    pub fn features(&self, model: &Model, scale: f64) -> Vec<f64> {
        let weight = f64::from(model.calibration.of(self.form).network) * scale;
        let hidden = self.hidden.iter().map(|value| f64::from(*value) * weight);
        let is = |form: Form| f64::from(u8::from(self.form == form));
        hidden.chain([is(Form::Seen), is(Form::Text)]).collect()
    }
}
