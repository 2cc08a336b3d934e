//! Exceptions: what is known to be harmless.
//!
//! An exception says what it is an exception of, under which conditions, why, by whom and until when. All conditions
//! must hold; each is an equality, or a glob that is called one. What a story does not tell fulfils no
//! condition, so an exception can only miss, never reach further than it says.

mod form;

use std::collections::HashSet;

use cordon_behavior::story::Story;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use form::FormError;
pub use form::{Form, Scope};

use crate::problem::{Problem, ProblemKind, Problems, cut, json_why};
use crate::sigma::About;

const MOST_FILE_BYTES: usize = 4 << 20;
const MOST_EXCEPTIONS: usize = 4096;

/// A checked exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    form: Form,
    uses: u64,
}

/// What an exception is held against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// Path of the image; empty when unknown.
    pub exe: &'a str,
    /// All arguments; `None` when some are not known.
    pub argv: Option<&'a [String]>,
    /// SHA-256 of the image.
    pub sha256: Option<&'a [u8; 32]>,
    /// Real uid.
    pub uid: Option<u32>,
    /// Path of the parent's image; empty when unknown.
    pub parent: &'a str,
    /// Id of this host; empty when it has none.
    pub host: &'a str,
    /// This host's group.
    pub group: &'a str,
}

impl<'a> Subject<'a> {
    /// Whoever `about` is in `story`. Shell text is nobody: no program and no user of it is known.
    pub fn of(story: &'a Story, about: About) -> Self {
        let process = story.process.as_ref();
        match (about, process) {
            (About::Process, Some(process)) => Self {
                exe: &process.exe,
                argv: (!process.argv_truncated && !process.argv.is_empty())
                    .then_some(&process.argv),
                uid: process.uid,
                parent: story.ancestors.first().map_or("", |parent| &parent.exe),
                ..Self::default()
            },
            (About::Child(at), Some(process)) => {
                story
                    .children
                    .get(at)
                    .map_or_else(Self::default, |child| Self {
                        exe: &child.exe,
                        // A child may have had more of them than are told.
                        argv: None,
                        uid: child.uid,
                        parent: &process.exe,
                        ..Self::default()
                    })
            }
            _ => Self::default(),
        }
    }
}

/// The exceptions in force, with how often each was used.
#[derive(Clone, Debug, Default)]
pub struct Exceptions {
    list: Vec<Exception>,
    ids: HashSet<String>,
    problems: Problems,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    version: u32,
    /// Unread, so that a damaged one costs none of the others, and a key that is there twice is still there twice.
    #[serde(borrow)]
    exceptions: Vec<&'a RawValue>,
}

/// What names a damaged exception.
#[derive(Deserialize)]
struct Named {
    id: String,
}

impl Exceptions {
    /// Adds those of a file, `{"version":1,"exceptions":[...]}`; `name` is for messages. A damaged one costs
    /// none of the others.
    pub fn file(&mut self, name: &str, bytes: &[u8]) {
        if bytes.len() > MOST_FILE_BYTES {
            let why = format!("the file has more than {MOST_FILE_BYTES} bytes");
            return self.problems.unreadable(name, why);
        }
        let file: File = match serde_json::from_slice(bytes) {
            Ok(file) => file,
            Err(error) => {
                let why = format!("not a file of exceptions: {error}");
                let problems = &mut self.problems;
                return problems.add(ProblemKind::Broken, name, error.line(), "", why);
            }
        };
        if file.version != 1 {
            let why = format!("version is {}, wanted 1", file.version);
            return self.problems.unreadable(name, why);
        }
        for (at, json) in file.exceptions.into_iter().enumerate() {
            let read = serde_json::from_str(json.get()).map_err(|error| json_why(&error));
            let read = read.and_then(|form| self.add(form).map_err(|error| error.to_string()));
            if let Err(why) = read {
                let id = match serde_json::from_str::<Named>(json.get()) {
                    Ok(Named { id }) => cut(&id, 128).to_owned(),
                    Err(_) => format!("exceptions[{at}]"),
                };
                self.problems.add(ProblemKind::Broken, name, 0, &id, why);
            }
        }
    }

    /// Something that the caller could not even hand over: a file that cannot be read.
    pub fn unreadable(&mut self, name: &str, why: &str) {
        self.problems.unreadable(name, why);
    }

    fn add(&mut self, form: Form) -> Result<(), FormError> {
        let form = form.checked()?;
        if self.list.len() >= MOST_EXCEPTIONS {
            return Err(FormError::TooMany(MOST_EXCEPTIONS));
        }
        if !self.ids.insert(form.id.clone()) {
            return Err(FormError::Duplicate);
        }
        self.list.push(Exception { form, uses: 0 });
        Ok(())
    }

    /// Those that count, in the order in which they were read.
    pub fn list(&self) -> &[Exception] {
        &self.list
    }

    /// What of the files does not count, and why; at most 1,000 of them.
    pub fn problems(&self) -> &[Problem] {
        self.problems.listed()
    }

    /// How many problems there are beyond those.
    pub fn unlisted_problems(&self) -> usize {
        self.problems.unlisted()
    }

    /// Whether an image's SHA-256 is worth finding out.
    pub fn wants_hashes(&self) -> bool {
        self.list.iter().any(|one| one.form.when.sha256.is_some())
    }

    /// The first one in force at `now` that excepts `subject` from `scope`, and its place for [`Exceptions::used`].
    pub fn excepting(
        &self,
        scope: &Scope,
        subject: &Subject<'_>,
        now: Timestamp,
    ) -> Option<(usize, &Exception)> {
        let mut all = self.list.iter().enumerate();
        all.find(|(_, one)| one.covers(scope, subject, now))
    }

    /// Counts a use of the one in this place: what was excepted has been told.
    pub fn used(&mut self, place: usize) {
        if let Some(one) = self.list.get_mut(place) {
            one.uses += 1;
        }
    }
}

impl Exception {
    /// As it was written, but for the spelling of an indicator.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Whether its time has come and is not over.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.form.created <= now && now < self.form.expires
    }

    fn covers(&self, scope: &Scope, subject: &Subject<'_>, now: Timestamp) -> bool {
        self.is_in_force(now) && self.form.scope == *scope && self.form.when.holds(subject)
    }
}

/// Longest time from `created` to `expires`.
pub(crate) fn longest() -> Span {
    Span::new().hours(366 * 24)
}

/// What is told of an exception and its use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Its id.
    pub id: String,
    /// When it ends, or ended.
    pub expires: Timestamp,
    /// How often it was used.
    pub uses: u64,
}

impl Exceptions {
    /// How often each was used.
    pub fn uses(&self) -> Vec<Use> {
        let used = self.list.iter().map(|one| Use {
            id: one.form.id.clone(),
            expires: one.form.expires,
            uses: one.uses,
        });
        used.collect()
    }
}
