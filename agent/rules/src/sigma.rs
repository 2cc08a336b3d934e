//! Sigma rules: read once, then matched against stories.

mod condition;
mod document;
mod embedded;
mod expr;
mod field;
mod literal;
mod needs;
mod refuse;
mod scene;
mod selection;
mod shell;
mod text;
mod trigger;

use std::collections::HashMap;
use std::sync::Arc;

use cordon_behavior::story::Story;

use crate::problem::{Problem, ProblemKind, Problems};
use crate::yaml;
use expr::{Expr, Scene};
use field::{Category, Field};
use literal::{Bits, Collector, Literals};
use refuse::{Refusal, broken};
use trigger::Triggers;

/// Most bytes of one file.
const MOST_FILE_BYTES: usize = 1 << 20;
/// Most rules of a set.
const MOST_RULES: usize = 8192;
/// Most texts of a set.
const MOST_LITERALS: usize = 100_000;

/// How sure a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Adds to what is known; also a rule that has no level.
    Informational,
    /// Worth noting beside something else.
    Low,
    /// Worth a look.
    Medium,
    /// An attack, unless somebody says otherwise.
    High,
    /// An attack.
    Critical,
}

impl Level {
    const NAMES: [(&'static str, Self); 5] = [
        ("informational", Self::Informational),
        ("low", Self::Low),
        ("medium", Self::Medium),
        ("high", Self::High),
        ("critical", Self::Critical),
    ];

    fn named(name: &str) -> Option<Self> {
        let mut all = Self::NAMES.iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, level)| *level)
    }

    /// As rules write it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// A rule that counts.
#[derive(Debug)]
pub struct Rule {
    /// Its UUID; its title where it has none.
    pub id: String,
    /// What it finds, in a few words.
    pub title: String,
    /// The same in Simplified Chinese, by `title_zh`; the title where there is none.
    pub title_zh: String,
    /// How sure it is.
    pub level: Level,
    /// ATT&CK technique ids of its tags.
    pub techniques: Vec<String>,
    /// The file that it is from.
    pub file: Arc<str>,
    /// Where in that file, from 1.
    pub line: usize,
    category: Category,
    expr: Expr,
}

/// Whose doing a rule matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The story's process, or what it and its descendants did.
    Process,
    /// A child, by its place.
    Child(usize),
    /// A line of text: the story's command, or the session's lines by place after it.
    Line(usize),
}

/// A rule that matched.
#[derive(Clone, Debug)]
pub struct Match<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Whose doing.
    pub about: About,
    /// What it matched, for people: hostile text, at most some 200 bytes.
    pub evidence: String,
    /// The same in Simplified Chinese.
    pub evidence_zh: String,
}

/// What matched of one story.
#[derive(Clone, Debug, Default)]
pub struct Matches<'a> {
    /// Each rule once, the surest first.
    pub found: Vec<Match<'a>>,
    /// The story was too large to be read whole.
    pub is_cut: bool,
}

/// Rules that are matched together.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    triggers: Triggers,
    literals: Literals,
    problems: Problems,
}

/// Gathers the rules of a set.
#[derive(Debug, Default)]
pub struct RuleSetBuilder {
    rules: Vec<Rule>,
    /// Where each id is, and in which layer it was given.
    ids: HashMap<String, (usize, usize)>,
    layer: usize,
    literals: Collector,
    problems: Problems,
}

impl RuleSetBuilder {
    /// No rule yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the rules that come with Cordon.
    #[must_use]
    pub fn embedded(mut self) -> Self {
        for (name, text) in embedded::FILES {
            self.file(&format!("embedded:{name}"), text.as_bytes());
        }
        self
    }

    /// From here on a rule with the id of one before takes its place, instead of being a duplicate.
    pub fn next_layer(&mut self) {
        self.layer += 1;
    }

    /// Adds the rules of one file, at most 1 MiB; `name` is for messages.
    pub fn file(&mut self, name: &str, bytes: &[u8]) {
        if bytes.len() > MOST_FILE_BYTES {
            let why = format!("the file has more than {MOST_FILE_BYTES} bytes");
            return self.problem(name, 0, "", broken(why));
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let before = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n');
                let line = before.count();
                return self.problem(name, line, "", broken("the file is not UTF-8"));
            }
        };
        let file: Arc<str> = name.into();
        for (before, text) in yaml::documents(text) {
            match yaml::read(text, before) {
                Ok(None) => {}
                Ok(Some(node)) => self.document(&file, &node),
                Err(damage) => self.problem(name, damage.line, "", broken(damage.why)),
            }
        }
    }

    /// Something that the caller could not even hand over: a file that cannot be read.
    pub fn unreadable(&mut self, name: &str, why: &str) {
        self.problems.unreadable(name, why);
    }

    fn document(&mut self, file: &Arc<str>, node: &yaml::Node) {
        let name = document::name(node);
        let room = self.room();
        let read = room.and_then(|()| document::read(node, file, &mut self.literals));
        if let Err(refusal) = read.and_then(|rule| self.add(rule)) {
            self.problem(file, node.line, &name, refusal);
        }
    }

    fn room(&self) -> Result<(), Refusal> {
        for (count, most, what) in [
            (self.rules.len(), MOST_RULES, "rules"),
            (self.literals.len(), MOST_LITERALS, "texts"),
        ] {
            if count >= most {
                return Err(broken(format!("the set is full: {most} {what}")));
            }
        }
        Ok(())
    }

    fn add(&mut self, rule: Rule) -> Result<(), Refusal> {
        match self.ids.get(&rule.id).copied() {
            Some((at, layer)) if layer == self.layer => {
                let before = &self.rules[at];
                Err(Refusal {
                    kind: ProblemKind::Duplicate,
                    line: 0,
                    why: format!("{}, line {} has this id already", before.file, before.line),
                })
            }
            Some((at, _)) => {
                self.ids.insert(rule.id.clone(), (at, self.layer));
                self.rules[at] = rule;
                Ok(())
            }
            None => {
                self.ids
                    .insert(rule.id.clone(), (self.rules.len(), self.layer));
                self.rules.push(rule);
                Ok(())
            }
        }
    }

    fn problem(&mut self, file: &str, line: usize, name: &str, refusal: Refusal) {
        let Refusal { kind, line, why } = refusal.at(line);
        self.problems.add(kind, file, line, name, why);
    }

    /// The set. Rules whose texts do not fit together in memory are all refused, and that is a problem.
    pub fn build(mut self) -> RuleSet {
        let literals = std::mem::take(&mut self.literals);
        let mut triggers = Triggers::new(&self.rules, &literals);
        let literals = literals.finish().unwrap_or_else(|why| {
            self.rules.clear();
            triggers = Triggers::default();
            let why = format!("no rule counts: their texts cannot be searched together: {why}");
            self.problem("all rules", 0, "", broken(why));
            Literals::default()
        });
        RuleSet {
            rules: self.rules,
            triggers,
            literals,
            problems: self.problems,
        }
    }
}

impl RuleSet {
    /// The rules that count.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What does not count, and why; at most 1,000 of them.
    pub fn problems(&self) -> &[Problem] {
        self.problems.listed()
    }

    /// How many problems there are beyond those.
    pub fn unlisted_problems(&self) -> usize {
        self.problems.unlisted()
    }

    /// The rules that match `story`: its process, its children, what it and its descendants did, and its text.
    ///
    /// Ancestors are not looked at again: each was the process of a story of its own.
    pub fn matches(&self, story: &Story) -> Matches<'_> {
        let (subjects, is_cut) = scene::subjects(story);
        let mut done = vec![false; self.rules.len()];
        let mut found = Vec::new();
        let nothing = Vec::new();
        for subject in &subjects {
            let mut bits = self.literals.none();
            for (field, text) in &subject.texts {
                self.literals.find(*field, text, &mut bits);
            }
            let creation = (Category::ProcessCreation, &nothing);
            let acts = subject
                .acts
                .iter()
                .map(|(category, texts)| (*category, texts));
            for (category, more) in std::iter::once(creation).chain(acts) {
                let scene = self.scene(&subject.texts, more, &bits);
                let rules = &self.rules;
                for at in self.triggers.candidates(category, &scene.bits, rules) {
                    let rule = &rules[at];
                    if !done[at] && rule.expr.holds(&scene) {
                        done[at] = true;
                        found.push(Match {
                            rule,
                            about: subject.about,
                            evidence: evidence(category, &scene, Language::En),
                            evidence_zh: evidence(category, &scene, Language::Zh),
                        });
                    }
                }
            }
        }
        found.sort_by_key(|one| std::cmp::Reverse(one.rule.level));
        Matches { found, is_cut }
    }

    fn scene<'a>(
        &self,
        texts: &'a scene::Texts<'_>,
        more: &'a scene::Texts<'_>,
        bits: &Bits,
    ) -> Scene<'a> {
        let mut bits = bits.clone();
        for (field, text) in more {
            self.literals.find(*field, text, &mut bits);
        }
        Scene {
            fields: scene::fields(texts, more),
            bits,
        }
    }
}

#[derive(Clone, Copy)]
enum Language {
    En,
    Zh,
}

/// What of an event people want to see.
fn evidence(category: Category, scene: &Scene<'_>, language: Language) -> String {
    let of = |field: Field| scene.fields[field as usize].unwrap_or_default();
    let text = match category {
        Category::ProcessCreation => match of(Field::CommandLine) {
            "" => of(Field::Image).to_owned(),
            line => line.to_owned(),
        },
        Category::NetworkConnection => {
            let address = [Field::DestinationIp, Field::SourceIp].map(of).concat();
            let port = [Field::DestinationPort, Field::SourcePort].map(of).concat();
            let direction = of(Field::Direction);
            match language {
                Language::En => format!("{direction} {address} port {port}"),
                Language::Zh => format!("{direction} {address} 端口 {port}"),
            }
        }
        Category::DnsQuery => {
            let name = of(Field::QueryName);
            match language {
                Language::En => format!("asked for {name}"),
                Language::Zh => format!("查询域名 {name}"),
            }
        }
        Category::FileRates => {
            let [written, renamed, removed, encrypted] = [
                Field::FilesWritten,
                Field::FilesRenamed,
                Field::FilesRemoved,
                Field::FilesEncrypted,
            ]
            .map(of);
            match language {
                Language::En => format!(
                    "{written} files written, {renamed} renamed, {removed} removed, in a minute {encrypted} of the samples encrypted in place of others"
                ),
                Language::Zh => format!(
                    "写入 {written} 个文件，重命名 {renamed} 个，删除 {removed} 个，一分钟内 {encrypted} 个抽样文件被加密内容取代"
                ),
            }
        }
        _ => format!("{} {}", of(Field::Operation), of(Field::TargetFilename)),
    };
    crate::problem::cut(&text, 200).to_owned()
}
