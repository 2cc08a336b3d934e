//! What was wrong with a file, without ending anything else.

/// How it is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// It cannot be read: a mistake in the file.
    Broken,
    /// It can be read, and asks for something that Cordon does not do or see.
    Unsupported,
    /// It says again what was said before; the earlier one counts.
    Duplicate,
}

impl ProblemKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Unsupported => "unsupported",
            Self::Duplicate => "duplicate",
        }
    }
}

/// One rule, indicator or exception that does not count, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How it is wrong.
    pub kind: ProblemKind,
    /// The file, as the caller named it.
    pub file: String,
    /// Where in it, from 1; 0 where a format has no lines.
    pub line: usize,
    /// Id or title of the rule, the indicator or the exception; empty where it could not be read.
    pub name: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

/// Most problems that are kept; more are counted.
const MOST_LISTED: usize = 1000;

/// What is wrong with some files: the first 1,000 problems, and how many there are beyond them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems {
    listed: Vec<Problem>,
    unlisted: usize,
}

impl Problems {
    pub(crate) fn add(
        &mut self,
        kind: ProblemKind,
        file: &str,
        line: usize,
        name: &str,
        why: impl Into<String>,
    ) {
        if self.listed.len() >= MOST_LISTED {
            self.unlisted += 1;
            return;
        }
        self.listed.push(Problem {
            kind,
            file: file.to_owned(),
            line,
            name: name.to_owned(),
            why: why.into(),
        });
    }

    /// A file of which nothing could be read.
    pub(crate) fn unreadable(&mut self, file: &str, why: impl Into<String>) {
        self.add(ProblemKind::Broken, file, 0, "", why);
    }

    pub(crate) fn listed(&self) -> &[Problem] {
        &self.listed
    }

    pub(crate) fn unlisted(&self) -> usize {
        self.unlisted
    }
}

/// Most bytes of hostile text quoted in a reason.
const QUOTED: usize = 120;

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            kind,
            file,
            line,
            name,
            why,
        } = self;
        f.write_str(file)?;
        if *line > 0 {
            write!(f, ", line {line}")?;
        }
        if !name.is_empty() {
            write!(f, ", {name}")?;
        }
        write!(f, ": {}: {why}", kind.name())
    }
}

/// `text` as it may stand in a message: on one line, not too long.
pub(crate) fn quoted(text: &str) -> String {
    let short = cut(text, QUOTED);
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("{short:?}{dots}")
}

/// What is wrong with a piece of a JSON file; without the place, which counts from where the piece begins.
pub(crate) fn json_why(error: &serde_json::Error) -> String {
    let why = error.to_string();
    let end = why.rfind(" at line ").unwrap_or(why.len());
    why[..end].to_owned()
}

/// At most `most` bytes of `text`, cut between characters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
