//! How an exception is written, and what makes one acceptable.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Subject, longest};
use crate::ioc::{self, unhex};
use crate::wildcard::fits;

const MOST_TEXT: usize = 4096;
const MOST_ARGUMENTS: usize = 1024;

/// An exception as JSON. An unknown key is an error: left out, the exception would reach further than its
/// author said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// Names it; each id once.
    pub id: String,
    /// What it is an exception of.
    #[serde(deserialize_with = "scope")]
    pub scope: Scope,
    /// When it holds.
    pub(super) when: When,
    /// Why that is harmless.
    pub reason: String,
    /// Who says so.
    pub author: String,
    /// It holds from then on.
    pub created: Timestamp,
    /// And until then, at most 366 days later.
    pub expires: Timestamp,
}

/// What something is an exception of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The rule with this id.
    Rule(String),
    /// This indicator; once checked, as a hit names it.
    Ioc(String),
    /// The model's verdict.
    Model,
}

/// Conditions; all that are there must hold, and there is `exe` or `sha256` among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct When {
    /// Path of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<Matcher>,
    /// All arguments, in order, the name first.
    #[serde(skip_serializing_if = "Option::is_none")]
    argv: Option<Vec<String>>,
    /// SHA-256 of the image, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    /// Real uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    /// Path of the parent's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Matcher>,
    /// Id of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// The host's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

/// How a path is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "exe or parent is neither a path nor one {\"glob\": PATTERN}"
)]
pub(super) enum Matcher {
    /// Byte for byte.
    Exact(String),
    /// `*` is any number of bytes but `/`, `?` one of them; nothing else is special.
    Glob(Glob),
}

/// A pattern of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Glob {
    glob: String,
}

/// Why an exception is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FormError {
    /// A text is missing or too long.
    Text(&'static str),
    /// Neither `exe` nor `sha256`: it would except everything that anybody runs.
    NoProgram,
    /// A path or pattern that is not absolute, or a pattern that names nothing.
    Path(String),
    /// No list has such an indicator; it and why.
    Indicator(String, String),
    /// Not 64 hexadecimal digits.
    Sha256,
    /// It ends before it begins, or lasts too long.
    Time,
    /// There is one of this id.
    Duplicate,
    /// There is no room for more than so many.
    TooMany(usize),
}

impl std::fmt::Display for FormError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(key) => write!(f, "{key} is empty or too long"),
            Self::NoProgram => f.write_str(
                "when has neither exe nor sha256: it would except everything that anybody runs",
            ),
            Self::Path(path) => write!(
                f,
                "{}: wanted a path or pattern that begins with / and names something",
                crate::problem::quoted(path)
            ),
            Self::Indicator(text, why) => {
                write!(f, "scope.ioc {}: {why}", crate::problem::quoted(text))
            }
            Self::Sha256 => f.write_str("sha256 is not 64 hexadecimal digits"),
            Self::Time => {
                f.write_str("expires must be after created, and at most 366 days after it")
            }
            Self::Duplicate => f.write_str("there is one of this id already"),
            Self::TooMany(most) => write!(f, "there are {most} already, and no room for more"),
        }
    }
}

impl std::error::Error for FormError {}

impl Form {
    /// Itself where it may count, its indicator spelt as a hit names it.
    pub(super) fn checked(mut self) -> Result<Self, FormError> {
        text("id", &self.id, 128)?;
        text("reason", &self.reason, MOST_TEXT)?;
        text("author", &self.author, 256)?;
        match &mut self.scope {
            Scope::Rule(id) => text("scope", id, 256)?,
            Scope::Ioc(listed) => {
                let named = ioc::named(listed);
                *listed = named.map_err(|why| FormError::Indicator(listed.clone(), why))?;
            }
            Scope::Model => {}
        }
        self.when.check()?;
        let last = self
            .created
            .checked_add(longest())
            .map_err(|_| FormError::Time)?;
        if self.expires <= self.created || self.expires > last {
            return Err(FormError::Time);
        }
        Ok(self)
    }
}

/// What is wrong with a scope is told with what would be right: the reader of enums alone says little of two scopes.
fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
    Scope::deserialize(deserializer).map_err(|error| {
        let right = r#"wanted one {"rule": ID} or {"ioc": INDICATOR}, or "model""#;
        serde::de::Error::custom(format!("scope: {right}: {error}"))
    })
}

fn text(key: &'static str, value: &str, most: usize) -> Result<(), FormError> {
    let fits = !value.trim().is_empty() && value.len() <= most;
    fits.then_some(()).ok_or(FormError::Text(key))
}

impl When {
    pub(super) fn holds(&self, subject: &Subject<'_>) -> bool {
        // A field that is added here must be compared before this compiles again.
        let Self {
            exe,
            argv,
            sha256,
            uid,
            parent,
            host,
            group,
        } = self;
        let is_path = |wanted: &Option<Matcher>, path: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.matches(path))
        };
        let is_word = |wanted: &Option<String>, word: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == word)
        };
        let is_digest = sha256.as_ref().is_none_or(|wanted| {
            unhex(wanted).as_ref() == subject.sha256 && subject.sha256.is_some()
        });
        is_path(exe, subject.exe)
            && is_path(parent, subject.parent)
            && is_word(host, subject.host)
            && is_word(group, subject.group)
            && argv
                .as_deref()
                .is_none_or(|argv| Some(argv) == subject.argv)
            && uid.is_none_or(|uid| Some(uid) == subject.uid)
            && is_digest
    }

    fn check(&self) -> Result<(), FormError> {
        if self.exe.is_none() && self.sha256.is_none() {
            return Err(FormError::NoProgram);
        }
        for path in self.exe.iter().chain(&self.parent) {
            path.check()?;
        }
        if self
            .sha256
            .as_deref()
            .is_some_and(|digest| unhex(digest).is_none())
        {
            return Err(FormError::Sha256);
        }
        for (key, word) in [("host", &self.host), ("group", &self.group)] {
            word.as_ref().map_or(Ok(()), |word| text(key, word, 256))?;
        }
        let arguments = self.argv.iter().flatten();
        let bytes: usize = arguments.map(String::len).sum();
        let count = self.argv.as_ref().map_or(1, Vec::len);
        if count == 0 || count > MOST_ARGUMENTS || bytes > 16 * MOST_TEXT {
            return Err(FormError::Text("argv"));
        }
        Ok(())
    }
}

impl Matcher {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Glob(Glob { glob }) => {
                // Part by part, so that a star cannot cross a slash.
                let (mut wanted, mut parts) = (glob.split('/'), path.split('/'));
                loop {
                    match (wanted.next(), parts.next()) {
                        (None, None) => return true,
                        (Some(wanted), Some(part)) if fits(wanted, part) => {}
                        _ => return false,
                    }
                }
            }
        }
    }

    fn check(&self) -> Result<(), FormError> {
        let (path, names_something) = match self {
            Self::Exact(path) => (path, path.len() > 1),
            Self::Glob(Glob { glob }) => {
                (glob, glob.contains(|c| !matches!(c, '/' | '*' | '?' | '.')))
            }
        };
        // `/a/../b` is written so by nobody but to look like something else.
        let is_plain = path.split('/').all(|part| part != "..");
        if path.starts_with('/') && names_something && is_plain && path.len() <= MOST_TEXT {
            return Ok(());
        }
        Err(FormError::Path(path.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_never_crosses_a_slash() {
        let glob = |glob: &str, path: &str| {
            Matcher::Glob(Glob {
                glob: glob.to_owned(),
            })
            .matches(path)
        };
        for (pattern, path, wanted) in [
            ("/opt/*/bin/run", "/opt/app/bin/run", true),
            ("/opt/*/bin/run", "/opt/a/b/bin/run", false),
            ("/opt/*", "/opt/a/b", false),
            ("/opt/*", "/opt/", true),
            ("/opt/a?c", "/opt/a/c", false),
            ("/opt/a*c*e", "/opt/abcde", true),
            ("/opt/a*c*e", "/opt/abcd", false),
            ("/opt/[a]", "/opt/a", false),
            ("/opt/a", "/opt/ab", false),
        ] {
            assert_eq!(glob(pattern, path), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn an_exact_path_has_no_wildcards() {
        let exact = Matcher::Exact("/opt/*".to_owned());
        assert!(exact.matches("/opt/*") && !exact.matches("/opt/a"));
    }
}
