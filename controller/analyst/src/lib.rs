//! Pure: an incident's facts in, severity and a write-up in English and Simplified Chinese out.
//!
//! - [`write_up`]: the one entry. Everything it says comes from the facts; it guesses nothing.
//! - [`clean`]: makes endpoint text harmless and bounded before it enters a sentence.
//! - [`attack`]: names of ATT&CK techniques and tactics in both languages.
//!
//! No I/O, no clock. The analyst words and ranks; it can never close, lower or act.
#![forbid(unsafe_code)]

pub mod attack;
mod chinese;
pub mod clean;
mod english;
mod evidence;
mod severity;

use cordon_proto::id::HostId;
use cordon_proto::record::{ApprovalReport, Detection, IsolationReport, StopReport};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use severity::Severity;

/// The host that an incident is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Its identity.
    pub id: HostId,
    /// Its name; endpoint text.
    pub name: String,
    /// Its group.
    pub group: String,
}

/// One detection and when it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectionFact {
    /// Host's wall clock.
    pub at: Timestamp,
    /// What was detected.
    pub detection: Detection,
}

/// One change of the host's isolation and when it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IsolationFact {
    /// Host's wall clock.
    pub at: Timestamp,
    /// The change.
    pub report: IsolationReport,
}

/// What was done to processes and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopFact {
    /// Host's wall clock.
    pub at: Timestamp,
    /// What was done.
    pub report: StopReport,
}

/// How a proposal ended and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApprovalFact {
    /// Host's wall clock.
    pub at: Timestamp,
    /// How.
    pub report: ApprovalReport,
}

/// All that is known of one incident. The order of the lists does not matter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentFacts {
    /// Where.
    pub host: HostFacts,
    /// What was seen.
    pub detections: Vec<DetectionFact>,
    /// What was done about it.
    pub isolations: Vec<IsolationFact>,
    /// What was done to its processes.
    #[serde(default)]
    pub stops: Vec<StopFact>,
    /// How what was proposed ended.
    #[serde(default)]
    pub approvals: Vec<ApprovalFact>,
    /// When the first of it happened.
    pub opened_at: Timestamp,
}

/// One thing that was done, in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// When.
    pub at: Timestamp,
    /// In English.
    pub en: String,
    /// In Simplified Chinese.
    pub zh: String,
}

/// A write-up in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// One line.
    pub title: String,
    /// One paragraph of what happened, from evidence.
    pub summary: String,
    /// What it may lead to.
    pub risk: String,
    /// What was done already, oldest first, each with its time.
    pub measures: Vec<String>,
    /// What a person should do next, most urgent first.
    pub advice: Vec<String>,
}

/// What the analyst makes of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteUp {
    /// How urgent it is.
    pub severity: Severity,
    /// In English.
    pub en: Text,
    /// In Simplified Chinese.
    pub zh: Text,
    /// What was done, oldest first; the same as the texts' `measures`.
    pub measures: Vec<Measure>,
}

/// Ranks and words an incident.
pub fn write_up(facts: &IncidentFacts) -> WriteUp {
    let evidence = evidence::Evidence::gather(facts);
    let measures: Vec<Measure> = evidence
        .steps
        .iter()
        .map(|step| Measure {
            at: step.at,
            en: english::measure(step),
            zh: chinese::measure(step),
        })
        .collect();
    WriteUp {
        severity: evidence.severity,
        en: english::text(&evidence, &measures),
        zh: chinese::text(&evidence, &measures),
        measures,
    }
}
