//! Pure: Sigma rules, indicators and exceptions, matched against a [`Story`].
//!
//! Three parts that know nothing of each other:
//!
//! - [`RuleSet`]: Sigma rules for what a Linux host shows of processes, connections, files and names;
//! - [`Indicators`]: addresses, networks, domains and file hashes, from STIX 2.1 bundles and plain lists;
//! - [`Exceptions`]: what is known to be harmless, until when, and who said so.
//!
//! Nothing here decides: a match names the rule and what it matched, and the judge makes a verdict of it. No
//! file is read and no clock is asked: texts and the time are arguments.
//!
//! What cannot be read is a [`Problem`] with file, line and reason, and everything beside it still counts. What can
//! be read but not honoured (an aggregation, a field that no story has) is a problem too: a rule that
//! silently never matches is worse than none.
//!
//! [`Story`]: cordon_behavior::story::Story
#![forbid(unsafe_code)]

mod exception;
mod ioc;
mod problem;
mod sigma;
mod wildcard;
mod yaml;

pub use exception::{Exception, Exceptions, Form, Scope, Subject, Use};
pub use ioc::{Hit, Indicators, IndicatorsBuilder};
pub use problem::{Problem, ProblemKind};
pub use sigma::{About, Level, Match, Matches, Rule, RuleSet, RuleSetBuilder};
