//! The gate: a linear model on hashed pieces, pairs of neighbours and facts. It costs microseconds and spares the
//! network the stories that are far below suspicion.

use crate::facts::FACTS;
use crate::hash;
use crate::tokens::Tokens;

/// The linear model.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// One weight for each hashed feature.
    pub weights: Vec<f32>,
    /// One for each fact.
    pub facts: Vec<f32>,
    /// Added to every story.
    pub bias: f32,
}

/// The features of a stream: rows of the weight table.
pub fn features(tokens: &Tokens, rows: u32) -> Vec<u32> {
    let mut found = Vec::with_capacity(tokens.len() * 2);
    let mut before = 0;
    for (field, piece) in tokens.hashes() {
        found.push(hash::row(hash::join(piece, field as u64 + 1), rows));
        found.push(hash::row(hash::join(before, piece), rows));
        before = piece;
    }
    found
}

/// What one feature of a stream weighs: long stories are not louder than short ones.
pub fn scale(features: usize) -> f32 {
    1.0 / (features.max(1) as f32).sqrt()
}

impl Gate {
    /// A gate that knows nothing.
    pub fn blank(rows: u32) -> Self {
        Self {
            weights: vec![0.0; rows as usize],
            facts: vec![0.0; FACTS],
            bias: 0.0,
        }
    }

    /// The logit of a story.
    pub fn logit(&self, tokens: &Tokens, facts: &[f32; FACTS]) -> f32 {
        let found = features(tokens, self.weights.len() as u32);
        self.logit_of(&found, facts)
    }

    /// The logit of features that are already known.
    pub fn logit_of(&self, features: &[u32], facts: &[f32; FACTS]) -> f32 {
        let words: f32 = features.iter().map(|row| self.weights[*row as usize]).sum();
        let known: f32 = facts
            .iter()
            .zip(&self.facts)
            .map(|(fact, weight)| fact * weight)
            .sum();
        self.bias + words * scale(features.len()) + known
    }
}
