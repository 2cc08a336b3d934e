//! What the judge says of a story: the same JSON on the command line, on the wire and in the console.

use serde::{Deserialize, Serialize};

/// The verdict's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// The story lacks what a judgement needs; never read as benign.
    NotEvaluable,
    /// Below every threshold.
    Benign,
    /// Worth a look.
    Suspicious,
    /// Policy may act on it.
    Malicious,
}

/// Which part of the cascade decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A rule matched.
    Rule,
    /// A listed indicator matched.
    Ioc,
    /// The linear gate was sure.
    Gate,
    /// The network.
    Model,
}

/// A part of the story that carries the score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// For people, in English; hostile text in it is escaped by whoever shows it.
    pub text: String,
    /// The same in Simplified Chinese; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zh: String,
    /// How much the score falls when the part is removed, in [-1, 1].
    pub weight: f32,
}

/// In place of a model: nobody judged, the policy lists the program among those that must not run.
pub const LISTED_BY_POLICY: &str = "policy";

/// The judge's answer for one story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The story's id.
    pub id: String,
    /// Calibrated probability of malice in [0, 1].
    pub score: f32,
    /// The score's name under the thresholds in force.
    pub verdict: VerdictKind,
    /// ATT&CK technique ids, likeliest first.
    pub techniques: Vec<String>,
    /// Heaviest first.
    pub reasons: Vec<Reason>,
    /// Which part of the cascade decided.
    pub stage: Stage,
    /// `name@sha256-prefix` of the model artifact, or [`LISTED_BY_POLICY`].
    pub model: String,
    /// Time the judgement took.
    pub micros: u64,
}
