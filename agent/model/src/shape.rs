//! The networks' shape and the tokenizer's numbers: `tokenizer.json` of an artifact, checked before use.

use serde::{Deserialize, Serialize};

use crate::facts::{FACTS, NAMES};
use crate::lexicon::{self, CLASSES};
use crate::reads::Reads;
use crate::tokens::FIELDS;

/// Format of the tokens, the facts and the tensors. A model of another format is refused.
pub const FORMAT: u32 = 4;
/// Rows of one token: its field, its hashed word, at most six character trigrams, and what the word is for.
pub const ROWS_PER_TOKEN: usize = 8 + lexicon::PER_WORD;
/// Weights a Q8_0 block holds.
pub const BLOCK: usize = 32;
/// The last layer: a row for malice, then one for each technique.
pub const HEADS_WEIGHT: &str = "heads.weight";
/// Its bias.
pub const HEADS_BIAS: &str = "heads.bias";

/// Shape of a model's networks and its gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// [`FORMAT`].
    pub format: u32,
    /// Most tokens of a story.
    pub tokens: usize,
    /// Rows of the embedding table: the first [`FIELDS`] for fields, [`CLASSES`] for what words are for, the rest
    /// for hashes.
    pub rows: u32,
    /// Width of an embedding.
    pub dim: usize,
    /// How many networks of this shape read a story, each fitted by itself: the mean of what they say counts.
    pub networks: usize,
    /// How many tokens each convolution spans.
    pub widths: Vec<usize>,
    /// Channels of each convolution.
    pub channels: usize,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Weights of the gate.
    pub gate_rows: u32,
    /// Names of the typed facts, in order.
    pub facts: Vec<String>,
    /// Technique ids, in the order of the outputs after the first.
    pub techniques: Vec<String>,
    /// What of a story was trained on, and is read.
    pub reads: Reads,
    /// SHA-256 of the lexicon that it was fitted with ([`lexicon`]).
    pub lexicon: String,
}

impl Shape {
    /// The shape that training makes.
    pub fn standard(techniques: Vec<String>) -> Self {
        Self {
            format: FORMAT,
            tokens: 512,
            rows: 16_384,
            dim: 64,
            networks: 3,
            widths: vec![1, 2, 3, 5],
            channels: 64,
            hidden: 128,
            gate_rows: 32_768,
            facts: NAMES.iter().map(|name| (*name).to_owned()).collect(),
            techniques,
            reads: Reads::everything(),
            lexicon: lexicon::hash(),
        }
    }

    /// Why this shape is refused, if it is. Bounds keep every later size small.
    pub fn check(&self) -> Result<(), String> {
        let within = |what: &str, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("{what} is {value}, wanted {low} to {high}"))
            }
        };
        within(
            "format",
            self.format as usize,
            FORMAT as usize,
            FORMAT as usize,
        )?;
        within("tokens", self.tokens, 16, 1024)?;
        let kept = (FIELDS + CLASSES) as usize;
        within("rows", self.rows as usize, kept * 2, 1 << 16)?;
        within("dim", self.dim, BLOCK, 256)?;
        within("networks", self.networks, 1, 4)?;
        within("widths", self.widths.len(), 1, 8)?;
        for width in &self.widths {
            within("width", *width, 1, 9)?;
        }
        within("channels", self.channels, BLOCK, 256)?;
        within("hidden", self.hidden, BLOCK, 1024)?;
        within("gate rows", self.gate_rows as usize, BLOCK, 1 << 20)?;
        within("techniques", self.techniques.len(), 0, 1024)?;
        for (what, value) in [
            ("dim", self.dim),
            ("channels", self.channels),
            ("hidden", self.hidden),
            ("gate rows", self.gate_rows as usize),
        ] {
            if value % BLOCK != 0 {
                return Err(format!("{what} is {value}, wanted a multiple of {BLOCK}"));
            }
        }
        if self.facts != NAMES {
            return Err("facts differ from this agent's facts".to_owned());
        }
        if self.lexicon != lexicon::hash() {
            return Err("lexicon differs from this agent's lexicon".to_owned());
        }
        Ok(())
    }

    /// The widest convolution: so many empty tokens end every stream.
    pub fn widest(&self) -> usize {
        self.widths.iter().copied().max().unwrap_or(1)
    }

    /// What enters the hidden layer: every pooled channel, the mean of the tokens, then the facts.
    pub fn pooled(&self) -> usize {
        self.widths.len() * self.channels + self.dim + FACTS
    }

    /// Malice, then the techniques.
    pub fn outputs(&self) -> usize {
        1 + self.techniques.len()
    }

    /// Every tensor of one network, with a last layer of its own: name, dimensions, and whether it is quantized.
    pub fn network_tensors(&self) -> Vec<(String, Vec<usize>, bool)> {
        let mut all = vec![(
            "embedding.weight".to_owned(),
            vec![self.rows as usize, self.dim],
            true,
        )];
        for width in &self.widths {
            all.push((
                format!("conv{width}.weight"),
                vec![self.channels, width * self.dim],
                true,
            ));
            all.push((format!("conv{width}.bias"), vec![self.channels], false));
        }
        all.push((
            "hidden.weight".to_owned(),
            vec![self.hidden, self.pooled()],
            true,
        ));
        all.push(("hidden.bias".to_owned(), vec![self.hidden], false));
        all.push((
            HEADS_WEIGHT.to_owned(),
            vec![self.outputs(), self.hidden],
            true,
        ));
        all.push((HEADS_BIAS.to_owned(), vec![self.outputs()], false));
        all
    }

    /// Every tensor of the artifact, likewise: those of each network under [`tensor_of`], and one last layer over the
    /// hidden layers of all.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>, bool)> {
        let mut all = Vec::new();
        for network in 0..self.networks {
            let own = self.network_tensors().into_iter();
            let own = own.filter(|(name, ..)| name != HEADS_WEIGHT && name != HEADS_BIAS);
            all.extend(
                own.map(|(name, dims, quantized)| (tensor_of(network, &name), dims, quantized)),
            );
        }
        all.push((
            HEADS_WEIGHT.to_owned(),
            vec![self.outputs(), self.networks * self.hidden],
            true,
        ));
        all.push((HEADS_BIAS.to_owned(), vec![self.outputs()], false));
        all.push((
            "gate.weight".to_owned(),
            vec![self.gate_rows as usize / BLOCK, BLOCK],
            true,
        ));
        all.push(("gate.facts".to_owned(), vec![FACTS], false));
        all.push(("gate.bias".to_owned(), vec![1], false));
        all
    }
}

/// The artifact's name of a tensor of one network.
pub fn tensor_of(network: usize, name: &str) -> String {
    format!("network{network}.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_shapes_are_refused() {
        let good = Shape::standard(vec!["T1059.004".into()]);
        good.check().unwrap();
        for spoil in [
            |shape: &mut Shape| shape.rows = u32::MAX,
            |shape: &mut Shape| shape.rows = FIELDS + CLASSES,
            |shape: &mut Shape| shape.lexicon.clear(),
            |shape: &mut Shape| shape.dim = 33,
            |shape: &mut Shape| shape.networks = 0,
            |shape: &mut Shape| shape.networks = usize::MAX,
            |shape: &mut Shape| shape.widths = vec![0],
            |shape: &mut Shape| shape.hidden = usize::MAX,
            |shape: &mut Shape| shape.facts.clear(),
            |shape: &mut Shape| shape.format = 9,
        ] {
            let mut bad = good.clone();
            spoil(&mut bad);
            assert!(bad.check().is_err());
        }
    }
}
