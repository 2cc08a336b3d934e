//! What is certain without a model: rules, indicators, and exceptions from both and from the model.

use std::hash::{Hash as _, Hasher};
use std::sync::Arc;

use cordon_behavior::story::{Process, Story};
use cordon_model::Reads;
use cordon_proto::verdict::{Stage, VerdictKind};
use cordon_rules::{
    About, Exception, Exceptions, Hit, Indicators, Level, Match, RuleSet, Scope, Subject, Use,
};
use jiff::Timestamp;

use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::front::Front;
use crate::risk::TreeRisk;

/// Most bytes of the memory for stories in which nothing matched.
pub const QUIET_BYTES: usize = 512 * 1024;

/// What a judgement needs to know beside the story.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// The time: indicators and exceptions end.
    pub now: Timestamp,
    /// SHA-256 of the process's image, where somebody found it out.
    pub sha256: Option<[u8; 32]>,
    /// What the other steps of the story's process tree say of it.
    pub tree: TreeRisk,
}

/// Rules, indicators and exceptions of one host.
pub struct Floor {
    rules: Arc<RuleSet>,
    indicators: Arc<Indicators>,
    exceptions: Exceptions,
    host: String,
    group: String,
    quiet: Front<()>,
    excepted: u64,
}

/// One thing, in both languages.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) zh: String,
}

/// What the floor says of a story.
#[derive(Debug, Default)]
pub(crate) struct Word {
    /// The worst of what matched; `None` where nothing did that counts.
    pub(crate) kind: Option<VerdictKind>,
    pub(crate) stage: Option<Stage>,
    pub(crate) techniques: Vec<String>,
    /// What decided.
    pub(crate) reasons: Vec<Said>,
    /// What matched and did not decide: what is only noted, what was excepted.
    pub(crate) notes: Vec<Said>,
    /// Places of the exceptions that kept something from counting.
    pub(crate) used: Vec<usize>,
}

impl Floor {
    /// Of a host that has no name and no group.
    pub fn new(rules: Arc<RuleSet>, indicators: Arc<Indicators>, exceptions: Exceptions) -> Self {
        Self {
            rules,
            indicators,
            exceptions,
            host: String::new(),
            group: String::new(),
            quiet: Front::new(QUIET_BYTES),
            excepted: 0,
        }
    }

    /// Whom exceptions for a host or a group are for.
    #[must_use]
    pub fn of_host(mut self, host: String, group: String) -> Self {
        self.host = host;
        self.group = group;
        self
    }

    /// It has neither a rule nor an indicator.
    pub fn is_empty(&self) -> bool {
        self.rules.rules().is_empty() && self.indicators.is_empty()
    }

    /// Whether it is worth its cost to find out the SHA-256 of images.
    pub fn wants_hashes(&self) -> bool {
        self.indicators.has_hashes() || self.exceptions.wants_hashes()
    }

    /// What exceptions kept from counting in what was told so far: rules, indicators and verdicts of the model.
    pub fn excepted(&self) -> u64 {
        self.excepted
    }

    /// Bytes and number of the stories in which nothing matched that are remembered.
    pub fn quiet(&self) -> (usize, usize) {
        (self.quiet.bytes(), self.quiet.len())
    }

    /// How often each exception was used.
    pub fn uses(&self) -> Vec<Use> {
        self.exceptions.uses()
    }

    /// All that a floor reads of a story, in eight bytes.
    pub(crate) fn fingerprint(
        fingerprints: &Fingerprints,
        story: &Story,
        around: &Around,
    ) -> Fingerprint {
        fingerprints.of_hashed(|hasher| {
            Reads::everything().hash(story, hasher);
            beyond(story, hasher);
            around.sha256.hash(hasher);
        })
    }

    /// What it says of a story. Whoever tells somebody of it counts it ([`Floor::told`]).
    pub(crate) fn word(&mut self, story: &Story, print: Fingerprint, around: &Around) -> Word {
        if self.quiet.get(print).is_some() {
            return Word::default();
        }
        let matches = self.rules.matches(story);
        let hits = self.indicators.hits(story, around.sha256.as_ref());
        if matches.found.is_empty() && hits.is_empty() && !matches.is_cut {
            self.quiet.put(print, ());
            return Word::default();
        }
        let mut word = Word::default();
        for hit in hits.iter().filter(|hit| hit.counts(around.now)) {
            self.hit(hit, story, around, &mut word);
        }
        for found in &matches.found {
            self.rule(found, story, around, &mut word);
        }
        if matches.is_cut {
            word.notes.push(Said {
                text: "the story is too large: rules have read only its beginning".to_owned(),
                zh: "该记录过大：规则只读取了开头部分".to_owned(),
            });
        }
        word
    }

    /// Counts what was excepted in a word that is told.
    pub(crate) fn told(&mut self, used: &[usize]) {
        self.excepted += used.len() as u64;
        for place in used {
            self.exceptions.used(*place);
        }
    }

    /// Whether the model's verdict, told as `what`, is excepted; then that is noted.
    pub(crate) fn excepts_model(
        &self,
        what: &Said,
        story: &Story,
        around: &Around,
        word: &mut Word,
    ) -> bool {
        self.excepts(&Scope::Model, About::Process, what, story, around, word)
    }

    fn hit(&self, hit: &Hit, story: &Story, around: &Around, word: &mut Word) {
        let (indicator, source, found) = (&hit.indicator, &hit.source, &hit.found);
        let said = Said {
            text: format!("indicator {indicator} ({source}): {found}"),
            zh: format!("威胁指标 {indicator}（{source}）：{found}"),
        };
        let scope = Scope::Ioc(hit.indicator.clone());
        if !self.excepts(&scope, About::Process, &said, story, around, word) {
            word.decided(VerdictKind::Malicious, Stage::Ioc, said);
        }
    }

    fn rule(&self, found: &Match<'_>, story: &Story, around: &Around, word: &mut Word) {
        let rule = found.rule;
        let (level, id) = (rule.level.name(), &rule.id);
        let said = Said {
            text: format!(
                "rule \"{}\" ({level}, {id}): {}",
                rule.title, found.evidence
            ),
            zh: format!(
                "规则“{}”（{level}，{id}）：{}",
                rule.title_zh, found.evidence_zh
            ),
        };
        let scope = Scope::Rule(id.clone());
        if self.excepts(&scope, found.about, &said, story, around, word) {
            return;
        }
        let kind = match rule.level {
            // As Sigma's own words have it: an incident, an alert, something to look at some time. A host may be cut
            // off for what is malicious, and by no rule that means less than that.
            Level::Critical => VerdictKind::Malicious,
            Level::High => VerdictKind::Suspicious,
            Level::Medium | Level::Low | Level::Informational => return word.notes.push(said),
        };
        word.techniques.extend_from_slice(&rule.techniques);
        word.decided(kind, Stage::Rule, said);
    }

    fn excepts(
        &self,
        scope: &Scope,
        about: About,
        what: &Said,
        story: &Story,
        around: &Around,
        word: &mut Word,
    ) -> bool {
        let subject = Subject {
            host: &self.host,
            group: &self.group,
            sha256: around.sha256.as_ref().filter(|_| about == About::Process),
            ..Subject::of(story, about)
        };
        let found = self.exceptions.excepting(scope, &subject, around.now);
        if let Some((place, one)) = found {
            word.used.push(place);
            word.notes.push(in_words(one, what));
        }
        found.is_some()
    }
}

impl Word {
    /// The first to say the worst decides the stage: indicators come before rules, the surest rule before
    /// the others.
    fn decided(&mut self, kind: VerdictKind, stage: Stage, said: Said) {
        if self.kind.is_none_or(|known| kind > known) {
            self.kind = Some(kind);
            self.stage = Some(stage);
        }
        self.reasons.push(said);
    }
}

fn in_words(used: &Exception, what: &Said) -> Said {
    let form = used.form();
    let (id, until, reason, author) = (&form.id, form.expires, &form.reason, &form.author);
    let Said { text, zh } = what;
    Said {
        text: format!("excepted by {id} until {until} ({reason}; {author}): {text}"),
        zh: format!("已由例外 {id} 排除，有效期至 {until}（{reason}；{author}）：{zh}"),
    }
}

/// What rules and exceptions read that no model does.
fn beyond(story: &Story, hasher: &mut impl Hasher) {
    let listening = story
        .connections
        .iter()
        .filter(|one| one.direction == "listen");
    for one in listening {
        (&one.protocol, &one.address, one.port).hash(hasher);
    }
    for one in &story.files {
        (&one.op, &one.path, &one.to, &one.sensitivity).hash(hasher);
    }
    if let Some(rates) = &story.facts.file_rates {
        (
            rates.written,
            rates.renamed,
            rates.unlinked,
            rates.encrypted,
        )
            .hash(hasher);
    }
    let Some(process) = &story.process else {
        return;
    };
    // A field that is added to a process must be named here before this compiles again.
    let Process {
        // What `Reads` hashes:
        exe: _,
        argv: _,
        cwd: _,
        uid: _,
        euid: _,
        tty: _,
        stdin: _,
        stdout: _,
        stderr: _,
        deleted_exe: _,
        memfd: _,
        script: _,
        env: _,
        // What no rule reads:
        gid: _,
        egid: _,
        by_descriptor: _,
        uid_raised: _,
        capabilities_gained: _,
        namespaces: _,
        session: _,
        argv_truncated,
        package,
        first_seen,
        world_writable,
        login_uid,
        container,
    } = process;
    (
        argv_truncated,
        package,
        first_seen,
        world_writable,
        login_uid,
    )
        .hash(hasher);
    container.as_ref().map(|one| &one.id).hash(hasher);
}
