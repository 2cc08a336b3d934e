//! Why a line gives nothing.

use cordon_behavior::story::StoryError;

/// Why a line gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// No format that is known looks like this.
    #[error("not a line of any known format: give --format")]
    Unrecognised,
    /// Not JSON, or a field of the wrong type.
    #[error("not {what}: {why}")]
    Json {
        /// What it should be.
        what: &'static str,
        /// The parser's complaint.
        why: String,
    },
    /// Not a story.
    #[error(transparent)]
    Story(StoryError),
    /// Not XML.
    #[error("not a Sysmon event: {0}")]
    Xml(String),
    /// Something is not where it must be.
    #[error("{what} is missing")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// A field says what it cannot say.
    #[error("{field} is no {wanted}: {found:?}")]
    Field {
        /// Which.
        field: String,
        /// What it should be.
        wanted: &'static str,
        /// What it is, cut after 64 bytes.
        found: String,
    },
}

impl Damage {
    pub(crate) fn field(field: impl Into<String>, wanted: &'static str, found: &[u8]) -> Self {
        let found = &found[..found.len().min(64)];
        Self::Field {
            field: field.into(),
            wanted,
            found: String::from_utf8_lossy(found).into_owned(),
        }
    }

    pub(crate) fn json(what: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |error| Self::Json {
            what,
            why: error.to_string(),
        }
    }
}
