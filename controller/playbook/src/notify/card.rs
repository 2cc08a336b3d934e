//! What is told.

use cordon_analyst::{Severity, WriteUp};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The language of a card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Simplified Chinese.
    Zh,
}

/// One message: what happened, how bad it is, what was done already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The same for every try of this message, so that a receiver can drop repeats.
    pub id: String,
    /// The incident's id.
    pub incident: String,
    /// The host's name.
    pub host: String,
    /// When the incident was opened or changed.
    pub at: Timestamp,
    /// Language of the texts.
    pub language: Language,
    /// How urgent it is.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// One paragraph.
    pub summary: String,
    /// What it may lead to.
    pub risk: String,
    /// What was done, each with its time.
    pub measures: Vec<String>,
    /// What to do next.
    pub advice: Vec<String>,
    /// The incident on the console; `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Card {
    /// The card for one write-up in one language.
    pub fn new(
        id: &str,
        incident: &str,
        host: &str,
        at: Timestamp,
        language: Language,
        write_up: &WriteUp,
    ) -> Self {
        let text = match language {
            Language::En => &write_up.en,
            Language::Zh => &write_up.zh,
        };
        Self {
            id: id.to_owned(),
            incident: incident.to_owned(),
            host: cordon_analyst::clean::plain(host, 64),
            at,
            language,
            severity: write_up.severity,
            title: text.title.clone(),
            summary: text.summary.clone(),
            risk: text.risk.clone(),
            measures: text.measures.clone(),
            advice: text.advice.clone(),
            link: None,
        }
    }

    /// With the incident's page on the console.
    #[must_use]
    pub fn with_link(mut self, link: &str) -> Self {
        self.link = Some(link.to_owned());
        self
    }
}
