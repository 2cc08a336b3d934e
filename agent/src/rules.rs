//! Rules, indicators and exceptions on disk: found, read with bounds, handed over.
//!
//! In the folder: Sigma rules in `*.yml` and `*.yaml`, indicators in `indicators/*`, exceptions in
//! `exceptions.json`. What cannot be read is a problem that is told, and costs nothing beside it.

mod find;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cordon_judge::Floor;
use cordon_rules::{
    Exceptions, Indicators, IndicatorsBuilder, Problem, ProblemKind, RuleSet, RuleSetBuilder,
};
use serde::{Deserialize, Serialize};

use crate::durable;

/// Most bytes of one file of rules or exceptions, and of one list of indicators: one more than the readers take,
/// so that they say what is wrong.
const MOST_BYTES: u64 = (4 << 20) + 1;
const MOST_LIST_BYTES: u64 = (16 << 20) + 1;
/// Problems that are told in full.
const TOLD: usize = 20;

/// Where rules, indicators and exceptions are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The rules that come with Cordon count.
    pub embedded: bool,
    /// Folders or files with Sigma rules.
    pub rules: Vec<PathBuf>,
    /// Folders or files with indicators.
    pub indicators: Vec<PathBuf>,
    /// Files with exceptions.
    pub exceptions: Vec<PathBuf>,
}

impl Places {
    /// The configured folder; what is not there is not missed.
    pub fn of_folder(folder: &Path, embedded: bool) -> Self {
        let there = |path: PathBuf| path.exists().then_some(path).into_iter().collect();
        Self {
            embedded,
            rules: there(folder.to_owned()),
            indicators: there(folder.join("indicators")),
            exceptions: there(folder.join("exceptions.json")),
        }
    }
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    rules: Arc<RuleSet>,
    indicators: Arc<Indicators>,
    exceptions: Exceptions,
}

/// How rules, indicators and exceptions stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesStatus {
    /// Rules that count.
    pub rules: usize,
    /// Indicators that count.
    pub indicators: usize,
    /// How often each exception was used.
    pub exceptions: Vec<cordon_rules::Use>,
    /// What was excepted, all together.
    pub excepted: u64,
    /// How many rules, indicators and exceptions do not count.
    pub problems: usize,
    /// The first of them, each with its file, line and reason.
    pub told: Vec<String>,
}

/// Reads all of it.
pub fn load(places: &Places) -> Loaded {
    let mut rules = RuleSetBuilder::new();
    if places.embedded {
        rules = rules.embedded();
    }
    rules.next_layer();
    for (path, read) in files(&places.rules, is_rule, MOST_BYTES) {
        match read {
            Ok(bytes) => rules.file(&path, &bytes),
            Err(why) => rules.unreadable(&path, &why),
        }
    }
    let mut indicators = IndicatorsBuilder::new();
    for (path, read) in files(&places.indicators, |_| true, MOST_LIST_BYTES) {
        match read {
            Ok(bytes) => indicators.list(&path, &bytes),
            Err(why) => indicators.unreadable(&path, &why),
        }
    }
    let mut exceptions = Exceptions::default();
    for (path, read) in files(&places.exceptions, |_| true, MOST_BYTES) {
        match read {
            Ok(bytes) => exceptions.file(&path, &bytes),
            Err(why) => exceptions.unreadable(&path, &why),
        }
    }
    Loaded {
        rules: Arc::new(rules.build()),
        indicators: Arc::new(indicators.build()),
        exceptions,
    }
}

impl Loaded {
    /// What a judge takes, for this host and its group.
    pub fn floor(&self, host: &str, group: &str) -> Floor {
        let (rules, indicators) = (Arc::clone(&self.rules), Arc::clone(&self.indicators));
        Floor::new(rules, indicators, self.exceptions.clone())
            .of_host(host.to_owned(), group.to_owned())
    }

    /// Everything that does not count.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let rules = self.rules.problems().iter();
        let indicators = self.indicators.problems().iter();
        rules.chain(indicators).chain(self.exceptions.problems())
    }

    /// How many problems there are beyond [`Self::problems`], which are the first of each kind of file.
    fn unlisted_problems(&self) -> usize {
        self.rules.unlisted_problems()
            + self.indicators.unlisted_problems()
            + self.exceptions.unlisted_problems()
    }

    /// How it stands, before anything was judged.
    pub fn status(&self) -> RulesStatus {
        RulesStatus {
            rules: self.rules.rules().len(),
            indicators: self.indicators.len(),
            exceptions: self.exceptions.uses(),
            excepted: 0,
            problems: self.problems().count() + self.unlisted_problems(),
            told: self.problems().take(TOLD).map(Problem::to_string).collect(),
        }
    }

    /// What of it makes the agent less than whole: mistakes in files, not what Cordon does not do.
    pub fn degraded(&self) -> Option<String> {
        let broken = self
            .problems()
            .filter(|one| one.kind == ProblemKind::Broken);
        let broken: Vec<&Problem> = broken.collect();
        let first = broken.first()?;
        let (count, unlisted) = (broken.len(), self.unlisted_problems());
        let more = if unlisted > 0 { " or more" } else { "" };
        Some(format!(
            "{count}{more} rules, indicators or exceptions do not count; the first: {first}"
        ))
    }
}

impl RulesStatus {
    /// One line for people.
    pub fn in_words(&self) -> String {
        let (rules, indicators) = (self.rules, self.indicators);
        let (exceptions, excepted) = (self.exceptions.len(), self.excepted);
        let mut line = format!(
            "{rules} rules, {indicators} indicators, {exceptions} exceptions ({excepted} uses)"
        );
        if self.problems > 0 {
            let _written = write!(line, ", {} do not count", self.problems);
        }
        line
    }
}

/// By its path below the folder. What is below `indicators` is a list, however it is named.
fn is_rule(path: &Path) -> bool {
    let is_named_so = path
        .extension()
        .is_some_and(|ending| ending == "yml" || ending == "yaml");
    is_named_so && !path.starts_with("indicators")
}

/// The files of `places`, each with its content.
fn files(
    places: &[PathBuf],
    is_wanted: fn(&Path) -> bool,
    most: u64,
) -> impl Iterator<Item = (String, Result<Vec<u8>, String>)> {
    let found = find::files(places, is_wanted).into_iter();
    found.map(move |(path, why)| {
        let read = why.map_or_else(|| read(&path, most), Err);
        (path.display().to_string(), read)
    })
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    // A pipe or device would be waited for.
    if fs::metadata(path).is_ok_and(|facts| !facts.is_file()) {
        return Err("it is no regular file".to_owned());
    }
    match durable::read(path, most) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err("there is no such file".to_owned()),
        Err(error) => Err(crate::chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_indicators_is_a_list_however_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let rule = "title: x\nid: x\nlogsource: {category: process_creation}\n\
                    detection:\n  s: {Image: /x}\n  condition: s\n";
        fs::create_dir(folder.path().join("indicators")).unwrap();
        fs::write(folder.path().join("x.yml"), rule).unwrap();
        fs::write(folder.path().join("indicators/feed.yml"), "203.0.113.9\n").unwrap();
        let status = load(&Places::of_folder(folder.path(), false)).status();
        assert_eq!((status.rules, status.indicators), (1, 1));
        assert_eq!(status.told, Vec::<String>::new());
    }
}
