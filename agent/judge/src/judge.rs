//! The model's part of the cascade.

use std::ops::Range;
use std::sync::Arc;

use cordon_behavior::story::Story;
use cordon_model::Model;
use cordon_model::model::{Input, Part};
use cordon_proto::policy::Thresholds;
use cordon_proto::verdict::{Reason, Stage, Verdict, VerdictKind};

use crate::cache::{Cache, Entry, Key};
use crate::evaluable::{self, Why};
use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::front::Front;
use crate::occlude::excerpt;
use crate::part::{self, parts};
use crate::reasons::{self, Bounds, Found};
use crate::risk::log_odds;
use crate::wording::{self, Language};

/// Bounds of a [`Judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most bytes of remembered verdicts; 0 remembers none.
    pub cache_bytes: usize,
    /// Most reasons of a verdict; with 0 none are looked for.
    pub reasons: usize,
    /// Most times that the network is run to find a verdict's reasons, the verdict's own run
    /// aside.
    pub occlusions: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 4 * 1024 * 1024,
            reasons: 5,
            occlusions: 24,
        }
    }
}

/// What a [`Judge`] did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Stories that were judged, by whatever part.
    pub judged: u64,
    /// Answered from the cache.
    pub cached: u64,
    /// Answered by the gate.
    pub gate: u64,
    /// Answered by the network.
    pub network: u64,
    /// `not_evaluable`, for whatever reason.
    pub not_evaluable: u64,
    /// Runs of the model to find reasons.
    pub occlusions: u64,
    /// Verdicts that the cache forgot for lack of room.
    pub forgotten: u64,
    /// Bytes of the verdicts that the cache holds now.
    pub cache_bytes: usize,
    /// How many verdicts those are.
    pub cache_entries: usize,
}

/// A story, as far as it costs little.
enum Read {
    /// Cannot be judged, and why.
    Nothing(Why),
    Known(Key, Arc<Entry>),
    New(Key, Box<Input>),
}

/// Judges stories with one model. One owner, no locks: give each thread its own.
pub struct Judge {
    model: Arc<Model>,
    options: Options,
    cache: Cache,
    fingerprints: Fingerprints,
    front: Front<Key>,
    counters: Counters,
}

impl Judge {
    /// A judge that has seen nothing yet.
    pub fn new(model: Arc<Model>, options: Options) -> Self {
        Self {
            model,
            options,
            // An eighth of the bytes answers most questions before the story is read.
            cache: Cache::new(options.cache_bytes - options.cache_bytes / 8),
            fingerprints: Fingerprints::default(),
            front: Front::new(options.cache_bytes / 8),
            counters: Counters::default(),
        }
    }

    /// Judges one story. `thresholds` are the policy's; without them, or with senseless ones, the
    /// model's own are used.
    ///
    /// The same story gets the same verdict, cached or not. [`Verdict::micros`] is 0: the caller
    /// has the clock.
    pub fn judge(&mut self, story: &Story, thresholds: Option<Thresholds>) -> Verdict {
        let fingerprint = self.fingerprint(story);
        self.answer(story, fingerprint, thresholds, true)
    }

    /// What the model reads of the story, in eight bytes: two stories of one judge with the same
    /// fingerprint get the same verdict, whatever else they tell.
    pub fn fingerprint(&self, story: &Story) -> Fingerprint {
        self.fingerprints.of(story, self.model.reads())
    }

    /// [`Judge::judge`] without looking for reasons, which costs up to [`Options::occlusions`] runs
    /// of the network: for who has to act first and explain later. [`Judge::judge`] then takes
    /// the score from the cache and adds the reasons.
    pub fn judge_without_reasons(
        &mut self,
        story: &Story,
        thresholds: Option<Thresholds>,
    ) -> Verdict {
        let fingerprint = self.fingerprint(story);
        self.answer(story, fingerprint, thresholds, false)
    }

    /// [`Judge::judge_without_reasons`] of a story whose fingerprint is known already.
    pub fn judge_fingerprinted(
        &mut self,
        story: &Story,
        fingerprint: Fingerprint,
        thresholds: Option<Thresholds>,
    ) -> Verdict {
        self.answer(story, fingerprint, thresholds, false)
    }

    /// What verdicts are named by: `offered` by a policy when they make sense, else the model's own.
    pub fn thresholds(&self, offered: Option<Thresholds>) -> Thresholds {
        offered
            .filter(|offered| makes_sense(*offered))
            .unwrap_or_else(|| self.own_thresholds())
    }

    /// The same as [`Judge::judge_fingerprinted`]. Where only a run of the network would tell, which takes some
    /// milliseconds, the gate's log-odds: for who has no such time, and asks [`Judge::judge_fingerprinted`] later or elsewhere.
    pub fn judge_quickly(
        &mut self,
        story: &Story,
        fingerprint: Fingerprint,
        thresholds: Option<Thresholds>,
    ) -> Result<Verdict, f32> {
        let read = self.read(story, fingerprint);
        if let Read::New(_, input) = &read
            && !self.model.is_decided_by_gate(input)
        {
            return Err(log_odds(self.model.gate_of(input)));
        }
        Ok(self.conclude(story, fingerprint, read, thresholds, false))
    }

    /// `name@sha256-prefix` of the model.
    pub fn model_id(&self) -> &str {
        self.model.id()
    }

    /// What it did so far.
    pub fn counters(&self) -> Counters {
        Counters {
            forgotten: self.cache.forgotten(),
            cache_bytes: self.cache.bytes() + self.front.bytes(),
            cache_entries: self.cache.len(),
            ..self.counters
        }
    }

    fn answer(
        &mut self,
        story: &Story,
        fingerprint: Fingerprint,
        thresholds: Option<Thresholds>,
        is_explained: bool,
    ) -> Verdict {
        let read = self.read(story, fingerprint);
        self.conclude(story, fingerprint, read, thresholds, is_explained)
    }

    fn conclude(
        &mut self,
        story: &Story,
        fingerprint: Fingerprint,
        read: Read,
        thresholds: Option<Thresholds>,
        is_explained: bool,
    ) -> Verdict {
        self.counters.judged += 1;
        let (key, mut entry) = match read {
            Read::Nothing(why) => return self.not_evaluable(story, Stage::Gate, why),
            Read::Known(key, entry) => (key, entry),
            Read::New(key, input) => {
                self.front.put(fingerprint, key);
                (key, self.assess(&input))
            }
        };
        if !entry.score.is_finite() {
            let why = Why(
                "the model has no finite score for it",
                "模型无法给出有效评分",
            );
            return self.not_evaluable(story, entry.stage, why);
        }
        let kind = name(entry.score, self.thresholds(thresholds));
        let is_explained = is_explained && self.options.reasons > 0;
        let reasons = if is_explained && kind >= VerdictKind::Suspicious {
            self.reasons(story, &mut entry)
        } else {
            Vec::new()
        };
        let verdict = self.verdict(story, kind, &entry, reasons);
        self.cache.put(key, entry);
        verdict
    }

    /// The remembered answer, else what the model has to answer for.
    fn read(&mut self, story: &Story, fingerprint: Fingerprint) -> Read {
        if let Some(why) = evaluable::lacking(story, self.model.reads()) {
            return Read::Nothing(why);
        }
        if let Some(key) = self.front.get(fingerprint)
            && let Some(entry) = self.recall(&key)
        {
            return Read::Known(key, entry);
        }
        let input = self.model.read(story);
        if input.tokens.is_empty() {
            return Read::Nothing(Why(
                "nothing in the story is readable",
                "记录中没有可读取的内容",
            ));
        }
        let key = Key::of(&input);
        match self.recall(&key) {
            Some(entry) => {
                self.front.put(fingerprint, key);
                Read::Known(key, entry)
            }
            None => Read::New(key, Box::new(input)),
        }
    }

    fn recall(&mut self, key: &Key) -> Option<Arc<Entry>> {
        let entry = self.cache.get(key)?;
        self.counters.cached += 1;
        Some(entry)
    }

    fn assess(&mut self, input: &Input) -> Arc<Entry> {
        let assessment = self.model.assess_input(input);
        let stage = match assessment.part {
            Part::Gate => Stage::Gate,
            Part::Network => Stage::Model,
        };
        match stage {
            Stage::Gate => self.counters.gate += 1,
            _ => self.counters.network += 1,
        }
        Arc::new(Entry {
            score: assessment.probability,
            stage,
            techniques: assessment
                .techniques
                .into_iter()
                .map(|(id, _)| id)
                .collect(),
            found: None,
        })
    }

    /// The reasons in words of `story`; searched for where the entry has none that fit it.
    fn reasons(&mut self, story: &Story, entry: &mut Arc<Entry>) -> Vec<Reason> {
        let story = excerpt(story, self.model.reads());
        let parts = parts(&story);
        let known = entry.found.clone().filter(|found| found.fits(&parts));
        let found = known.unwrap_or_else(|| {
            let found = self.search(&story, &parts, entry.stage);
            *entry = Arc::new(Entry {
                found: Some(found.clone()),
                ..Entry::clone(entry)
            });
            found
        });
        let in_words = |(at, weight): (Range<usize>, f32)| Reason {
            text: wording::of(&story, &parts, at.clone(), Language::En),
            zh: wording::of(&story, &parts, at, Language::Zh),
            weight: weight.clamp(-1.0, 1.0),
        };
        found.reasons.into_iter().map(in_words).collect()
    }

    /// Asks the part of the cascade that decided.
    fn search(&mut self, story: &Story, parts: &[part::Part], stage: Stage) -> Found {
        let bounds = Bounds {
            reasons: self.options.reasons,
            runs: self.options.occlusions,
        };
        let model = Arc::clone(&self.model);
        let (found, runs) = reasons::find(story, parts, bounds, &|story| {
            let input = model.read(story);
            match stage {
                Stage::Gate => log_odds(model.gate_of(&input)),
                _ => model.log_odds(&input),
            }
        });
        self.counters.occlusions += runs as u64;
        found
    }

    fn verdict(
        &self,
        story: &Story,
        kind: VerdictKind,
        entry: &Entry,
        reasons: Vec<Reason>,
    ) -> Verdict {
        let is_suspect = kind >= VerdictKind::Suspicious;
        Verdict {
            id: story.id.clone(),
            score: entry.score,
            verdict: kind,
            // Of a benign story the technique is only the least unlikely one.
            techniques: if is_suspect {
                entry.techniques.clone()
            } else {
                Vec::new()
            },
            reasons,
            stage: entry.stage,
            model: self.model.id().to_owned(),
            micros: 0,
        }
    }

    fn not_evaluable(&mut self, story: &Story, stage: Stage, why: Why) -> Verdict {
        self.counters.not_evaluable += 1;
        Verdict {
            id: story.id.clone(),
            score: 0.0,
            verdict: VerdictKind::NotEvaluable,
            techniques: Vec::new(),
            reasons: vec![why.into()],
            stage,
            model: self.model.id().to_owned(),
            micros: 0,
        }
    }

    pub(crate) fn own_thresholds(&self) -> Thresholds {
        let own = self.model.thresholds();
        Thresholds {
            suspicious: own.suspicious,
            malicious: own.malicious,
        }
    }
}

/// False for numbers that are not numbers, with which every score would be benign.
pub(crate) fn makes_sense(thresholds: Thresholds) -> bool {
    0.0 <= thresholds.suspicious
        && thresholds.suspicious <= thresholds.malicious
        && thresholds.malicious <= 1.0
}

fn name(score: f32, thresholds: Thresholds) -> VerdictKind {
    if score >= thresholds.malicious {
        VerdictKind::Malicious
    } else if score >= thresholds.suspicious {
        VerdictKind::Suspicious
    } else {
        VerdictKind::Benign
    }
}
