//! A loaded model: what the judge calls.

use std::path::Path;

use cordon_behavior::story::Story;

use crate::artifact::{self, ModelError};
use crate::calibration::{Blend, Calibration, Thresholds, sigmoid};
use crate::facts::{self, FACTS};
use crate::gate::Gate;
use crate::network::Networks;
use crate::reads::Reads;
use crate::shape::Shape;
use crate::tokens::{Limits, Tokens};

/// Most techniques that an assessment names.
const TECHNIQUES: usize = 3;

/// A verified model.
pub struct Model {
    pub(crate) id: String,
    pub(crate) shape: Shape,
    pub(crate) calibration: Calibration,
    pub(crate) networks: Networks,
    pub(crate) gate: Gate,
}

/// A story as the model reads it.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its tokens.
    pub tokens: Tokens,
    /// Its facts.
    pub facts: [f32; FACTS],
}

/// Which part decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The gate was sure that nothing is there.
    Gate,
    /// The network.
    Network,
}

/// What the model says of a story.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// Calibrated probability of malice: of the part that decided.
    pub probability: f32,
    /// Calibrated probability of the gate alone.
    pub gate_probability: f32,
    /// ATT&CK technique ids with their share, likeliest first; empty when the gate decided.
    pub techniques: Vec<(String, f32)>,
    /// Who decided.
    pub part: Part,
}

impl Model {
    /// Reads and verifies the artifact in `dir`.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        artifact::load(dir)
    }

    /// `name@` and the beginning of the manifest's SHA-256: names exactly one artifact.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The thresholds that were measured with this model.
    pub fn thresholds(&self) -> Thresholds {
        self.calibration.thresholds
    }

    /// The shape of its networks.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What of a story it reads.
    pub fn reads(&self) -> &Reads {
        &self.shape.reads
    }

    /// Tokens and facts of a story.
    pub fn read(&self, story: &Story) -> Input {
        Input {
            tokens: Tokens::of(
                story,
                Limits {
                    tokens: self.shape.tokens,
                },
                self.reads(),
            ),
            facts: facts::of(story, self.reads()),
        }
    }

    /// The gate's calibrated probability.
    pub fn gate(&self, story: &Story) -> f32 {
        self.gate_of(&self.read(story))
    }

    /// The gate's calibrated probability of a story that was read before.
    pub fn gate_of(&self, input: &Input) -> f32 {
        self.calibration
            .gate
            .probability(self.gate.logit(&input.tokens, &input.facts))
    }

    /// Whether the network has nothing to say of it: the gate is sure.
    pub fn is_decided_by_gate(&self, input: &Input) -> bool {
        self.gate_of(input) < self.calibration.thresholds.gate
    }

    /// Gate, then the network when the gate is not sure.
    pub fn assess(&self, story: &Story) -> Assessment {
        self.assess_input(&self.read(story))
    }

    /// [`Model::assess`] of a story that was read before.
    pub fn assess_input(&self, input: &Input) -> Assessment {
        let gate = self.gate.logit(&input.tokens, &input.facts);
        let gate_probability = self.calibration.gate.probability(gate);
        if gate_probability < self.calibration.thresholds.gate {
            return Assessment {
                // Never above what the network would have to say to be heard.
                probability: gate_probability.min(self.calibration.thresholds.suspicious / 2.0),
                gate_probability,
                techniques: Vec::new(),
                part: Part::Gate,
            };
        }
        let logits = self.logits(input);
        Assessment {
            probability: self.blend(input).probability(logits[0], gate),
            gate_probability,
            techniques: self.techniques(&logits[1..]),
            part: Part::Network,
        }
    }

    /// The networks' raw logits, without the gate: malice first, then the techniques.
    pub fn logits(&self, input: &Input) -> Vec<f32> {
        self.networks.logits(&input.tokens, &input.facts)
    }

    /// Calibrated log-odds of network and gate together, whatever the gate alone would stop: what reasons are measured
    /// in.
    pub fn log_odds(&self, input: &Input) -> f32 {
        let gate = self.gate.logit(&input.tokens, &input.facts);
        self.blend(input).log_odds(self.logits(input)[0], gate)
    }

    /// The probability of [`Model::log_odds`].
    pub fn probability_of(log_odds: f32) -> f32 {
        sigmoid(log_odds)
    }

    fn blend(&self, input: &Input) -> Blend {
        self.calibration.of(facts::form(&input.facts))
    }

    fn techniques(&self, logits: &[f32]) -> Vec<(String, f32)> {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
        let shares = logits.iter().map(|logit| (logit - most).exp() / sum);
        let mut named: Vec<(String, f32)> = self
            .shape
            .techniques
            .iter()
            .cloned()
            .zip(shares)
            .filter(|(_, share)| *share >= self.calibration.technique)
            .collect();
        named.sort_by(|a, b| b.1.total_cmp(&a.1));
        named.truncate(TECHNIQUES);
        named
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
