//! The narrowest exception that fits one story. Pure: what it says is read back by the agents' own reader.

use cordon_behavior::story::Story;
use cordon_rules::{
    About, Exception, Exceptions, Indicators, IndicatorsBuilder, RuleSet, Scope, Subject,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::ctl::args::{Condition, Reach};
use crate::ctl::tried::digest;
use crate::http::dto::StoredDetection;

/// Bytes of the hash in an exception's id.
const ID_BYTES: usize = 6;

/// Why there is no exception.
#[derive(Debug, thiserror::Error)]
pub enum ProposalError {
    /// The rule is not among those that were read.
    #[error(
        "no rule {id:?} is among those that come with Cordon or were given with --rules; these match the story: {matching}"
    )]
    NoRule {
        /// The rule that was asked for.
        id: String,
        /// Those that match.
        matching: String,
    },
    /// What is to be excepted is not in the story.
    #[error("{what} is not in this story; these rules match it: {matching}")]
    NotThere {
        /// The rule or the indicator.
        what: String,
        /// The rules that match.
        matching: String,
    },
    /// Nothing that can be named did it.
    #[error("shell text has no program, and an exception names one: it cannot be excepted")]
    Text,
    /// No list could have such an indicator.
    #[error("{0}")]
    Indicator(String),
    /// The reader of agents refuses it.
    #[error("agents would refuse the exception: {0}")]
    Refused(String),
    /// It does not fit the story that it was made of.
    #[error(
        "the exception does not hold for its own story: an argument or a path of it was not kept as it was"
    )]
    Unfit,
}

/// What an exception is an exception of, found in stories.
pub(super) struct Finder {
    scope: Scope,
    rules: RuleSet,
    indicators: Indicators,
}

impl Finder {
    /// Of rules, those that come with Cordon and the site's own.
    pub fn new(scope: &Scope, rules: RuleSet) -> Result<Self, ProposalError> {
        let mut indicators = IndicatorsBuilder::new();
        if let Scope::Ioc(listed) = scope {
            indicators.list("--scope", listed.as_bytes());
        }
        let indicators = indicators.build();
        if let Some(problem) = indicators.problems().first() {
            return Err(ProposalError::Indicator(problem.to_string()));
        }
        Ok(Self {
            scope: scope.clone(),
            rules,
            indicators,
        })
    }

    /// Whose doing it is in this story, if it is there.
    pub fn about(&self, row: &StoredDetection) -> Option<About> {
        let story = &row.seen.detection.story;
        match &self.scope {
            Scope::Model => Some(About::Process),
            Scope::Ioc(_) => {
                let hits = self.indicators.hits(story, digest(row).as_ref());
                (!hits.is_empty()).then_some(About::Process)
            }
            Scope::Rule(id) => {
                let matches = self.rules.matches(story);
                let found = matches.found.iter().find(|found| found.rule.id == *id);
                found.map(|found| found.about)
            }
        }
    }

    fn missing(&self, story: &Story) -> ProposalError {
        let matches = self.rules.matches(story);
        let mut matching = matches.found.iter().map(|found| found.rule.id.as_str());
        let matching = match matching.next() {
            None => "none".to_owned(),
            Some(first) => matching.fold(first.to_owned(), |all, id| format!("{all}, {id}")),
        };
        match &self.scope {
            Scope::Rule(id) if !self.rules.rules().iter().any(|rule| rule.id == *id) => {
                ProposalError::NoRule {
                    id: id.clone(),
                    matching,
                }
            }
            Scope::Rule(id) => ProposalError::NotThere {
                what: format!("rule {id}"),
                matching,
            },
            Scope::Ioc(listed) => ProposalError::NotThere {
                what: format!("indicator {listed}"),
                matching,
            },
            Scope::Model => ProposalError::Text,
        }
    }
}

/// How it is to be.
pub(super) struct Wish<'a> {
    pub on: Reach,
    pub without: &'a [Condition],
    pub reason: &'a str,
    pub author: &'a str,
    pub created: Timestamp,
    pub expires: Timestamp,
}

/// One exception, as it is written and as agents read it.
pub(super) struct Proposal {
    pub json: Value,
    /// What would be a condition, and is not known of the story.
    pub unknown: Vec<&'static str>,
    read: Exceptions,
    at: Timestamp,
}

impl Proposal {
    /// Of the story of `row`.
    pub fn of(
        row: &StoredDetection,
        finder: &Finder,
        wish: &Wish<'_>,
    ) -> Result<Self, ProposalError> {
        let story = &row.seen.detection.story;
        let about = finder.about(row).ok_or_else(|| finder.missing(story))?;
        let (digest, host) = (digest(row), row.host.id.to_string());
        let subject = subject(row, about, digest.as_ref(), &host);
        if subject.exe.is_empty() && subject.sha256.is_none() {
            return Err(ProposalError::Text);
        }
        let (when, unknown) = conditions(&subject, wish);
        let scope = json!(finder.scope);
        let json = json!({
            "id": id(&scope, &when), "scope": scope, "when": when, "reason": wish.reason,
            "author": wish.author, "created": wish.created, "expires": wish.expires,
        });
        let mut read = Exceptions::default();
        let file = json!({ "version": 1, "exceptions": [json] });
        read.file("the proposal", file.to_string().as_bytes());
        if let Some(problem) = read.problems().first() {
            return Err(ProposalError::Refused(problem.why.clone()));
        }
        let proposal = Self {
            json,
            unknown,
            read,
            at: wish.created,
        };
        if !proposal.holds_for(row, about) {
            return Err(ProposalError::Unfit);
        }
        Ok(proposal)
    }

    /// The exception.
    pub fn exception(&self) -> Option<&Exception> {
        self.read.list().first()
    }

    /// Whether it would have kept that from counting in this story, had it been in force then.
    pub fn holds_for(&self, row: &StoredDetection, about: About) -> bool {
        let Some(exception) = self.exception() else {
            return false;
        };
        let (digest, host) = (digest(row), row.host.id.to_string());
        let subject = subject(row, about, digest.as_ref(), &host);
        let scope = &exception.form().scope;
        self.read.excepting(scope, &subject, self.at).is_some()
    }
}

/// As an agent on that host would see it.
fn subject<'a>(
    row: &'a StoredDetection,
    about: About,
    digest: Option<&'a [u8; 32]>,
    host: &'a str,
) -> Subject<'a> {
    Subject {
        host,
        group: &row.group,
        sha256: digest.filter(|_| about == About::Process),
        ..Subject::of(&row.seen.detection.story, about)
    }
}

/// All that is known of the subject, but for what is to be left out; and what was to be in it and is not known.
fn conditions(subject: &Subject<'_>, wish: &Wish<'_>) -> (Value, Vec<&'static str>) {
    let (mut when, mut unknown) = (Map::new(), Vec::new());
    let mut put = |key: &'static str, condition: Condition, value: Option<Value>| {
        if wish.without.contains(&condition) {
            return;
        }
        match value {
            Some(value) => drop(when.insert(key.to_owned(), value)),
            None => unknown.push(key),
        }
    };
    // A path that no exception may name is left out where the hash stands for it.
    let exe = is_nameable(subject.exe) || subject.sha256.is_none();
    put("exe", Condition::Exe, exe.then(|| json!(subject.exe)));
    put(
        "argv",
        Condition::Argv,
        subject.argv.map(|argv| json!(argv)),
    );
    let digest = subject.sha256.map(|digest| json!(hex::encode(digest)));
    put("sha256", Condition::Sha256, digest);
    put("uid", Condition::Uid, subject.uid.map(|uid| json!(uid)));
    let parent = is_nameable(subject.parent).then(|| json!(subject.parent));
    put("parent", Condition::Parent, parent);
    let place = match wish.on {
        Reach::Host => Some(("host", subject.host)),
        Reach::Group => Some(("group", subject.group)),
        Reach::Site => None,
    };
    when.extend(place.map(|(key, word)| (key.to_owned(), json!(word))));
    (Value::Object(when), unknown)
}

/// Whether a condition may be this path.
fn is_nameable(path: &str) -> bool {
    path.len() > 1 && path.starts_with('/') && path.split('/').all(|part| part != "..")
}

/// The same conditions have the same id, so that nothing is excepted twice in one file.
fn id(scope: &Value, when: &Value) -> String {
    let digest = Sha256::digest(json!([scope, when]).to_string());
    format!("ex-{}", hex::encode(&digest[..ID_BYTES]))
}
