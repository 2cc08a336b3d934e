//! The floor and the model together: the verdict is the worse of the two, and has the reasons of both.

use cordon_behavior::story::Story;
use cordon_model::Reads;
use cordon_proto::policy::Thresholds;
use cordon_proto::verdict::{Reason, Stage, Verdict, VerdictKind};
use cordon_rules::Use;

use crate::combine::{add, below, lean, raised};
use crate::evaluable::{self, Why};
use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::floor::{Around, Floor, Said, Word};
use crate::judge::{Counters, Judge, makes_sense};
use crate::risk::log_odds;

/// What names a verdict where there is neither a policy nor a model: nothing but rules has a say then.
const THRESHOLDS: Thresholds = Thresholds {
    suspicious: 0.5,
    malicious: 0.9,
};

/// Two stories with the same one get the same verdict at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoryPrint {
    model: Option<Fingerprint>,
    floor: Option<Fingerprint>,
}

impl StoryPrint {
    /// As a number, the same for the same print as long as the cascade lives.
    pub fn number(self) -> u64 {
        let of = |print: Option<Fingerprint>| print.map_or(0, Fingerprint::number);
        of(self.model).rotate_left(1) ^ of(self.floor)
    }
}

/// An answer of a [`Cascade`].
#[derive(Clone, Debug)]
pub struct Told {
    /// The verdict, with what the story's tree has to say.
    pub verdict: Verdict,
    /// Log-odds of the story by itself: what it says of its tree. `None` where nobody could judge it, or somebody
    /// excepted it.
    pub alone: Option<f32>,
}

/// Judges with rules and indicators, with a model, or with both.
///
/// A story that was seen before is answered from memory; rules and indicators come next, and where they are certain
/// nobody waits for the model; the model's gate and network answer for the rest. What an exception
/// keeps from counting is a reason of weight 0 in the verdict, and is counted.
#[derive(Default)]
pub struct Cascade {
    model: Option<Judge>,
    floor: Option<Floor>,
    fingerprints: Fingerprints,
}

impl From<Judge> for Cascade {
    fn from(model: Judge) -> Self {
        Self::new(Some(model), None)
    }
}

impl Cascade {
    /// Of what there is. Without either every story is not evaluable.
    pub fn new(model: Option<Judge>, floor: Option<Floor>) -> Self {
        Self {
            model,
            floor,
            fingerprints: Fingerprints::default(),
        }
    }

    /// `name@sha256-prefix` of the model; `none` without one.
    pub fn model_id(&self) -> &str {
        self.model.as_ref().map_or("none", Judge::model_id)
    }

    /// What the model's part did so far.
    pub fn counters(&self) -> Counters {
        self.model.as_ref().map(Judge::counters).unwrap_or_default()
    }

    /// What exceptions kept from counting so far, explanations aside.
    pub fn excepted(&self) -> u64 {
        self.floor.as_ref().map_or(0, Floor::excepted)
    }

    /// Bytes and number of the stories in which no rule and no indicator matched that are remembered.
    pub fn quiet(&self) -> (usize, usize) {
        self.floor.as_ref().map_or((0, 0), Floor::quiet)
    }

    /// How often each exception was used.
    pub fn uses(&self) -> Vec<Use> {
        self.floor.as_ref().map(Floor::uses).unwrap_or_default()
    }

    /// Whether it is worth its cost to find out the SHA-256 of images.
    pub fn wants_hashes(&self) -> bool {
        self.floor.as_ref().is_some_and(Floor::wants_hashes)
    }

    /// What is read of the story.
    pub fn fingerprint(&self, story: &Story, around: &Around) -> StoryPrint {
        let of_floor = |_: &Floor| Floor::fingerprint(&self.fingerprints, story, around);
        StoryPrint {
            model: self.model.as_ref().map(|model| model.fingerprint(story)),
            floor: self.floor.as_ref().map(of_floor),
        }
    }

    /// Judges one story, and looks for all reasons; what is excepted in it is told and not counted: it explains what
    /// [`Cascade::judge_printed`] has counted. `thresholds` are the policy's; without them, or with senseless
    /// ones, the model's own are used. [`Verdict::micros`] is 0: the caller has the clock.
    pub fn judge(
        &mut self,
        story: &Story,
        thresholds: Option<Thresholds>,
        around: &Around,
    ) -> Verdict {
        self.judge_step(story, thresholds, around).verdict
    }

    /// [`Cascade::judge`] of one of the steps of a process tree, with what it says of the others.
    pub fn judge_step(
        &mut self,
        story: &Story,
        thresholds: Option<Thresholds>,
        around: &Around,
    ) -> Told {
        let print = self.fingerprint(story, around);
        let word = self.word(story, print, around);
        let needed = self.needed(thresholds, around);
        let model = self
            .model
            .as_mut()
            .map(|model| model.judge(story, Some(needed)));
        self.together(story, word, model, thresholds, around).0
    }

    /// [`Cascade::judge`] without the model's reasons, of a story whose print is known: for who has to act
    /// first. Where the floor is certain the model is not asked.
    pub fn judge_printed(
        &mut self,
        story: &Story,
        print: StoryPrint,
        thresholds: Option<Thresholds>,
        around: &Around,
    ) -> Told {
        let word = self.word(story, print, around);
        let needed = self.needed(thresholds, around);
        let is_certain = word.kind == Some(VerdictKind::Malicious);
        let model = self.model.as_mut().filter(|_| !is_certain);
        let model = model
            .zip(print.model)
            .map(|(model, print)| model.judge_fingerprinted(story, print, Some(needed)));
        self.told(story, word, model, thresholds, around)
    }

    /// [`Cascade::judge_printed`] of what takes no time and is harmless. Where only a run of the network would tell, or
    /// somebody has to be told, how risky it seems, log-odds: for who may not wait, and leaves that for later or to others.
    pub fn judge_quickly(
        &mut self,
        story: &Story,
        print: StoryPrint,
        thresholds: Option<Thresholds>,
        around: &Around,
    ) -> Result<Told, f32> {
        let needed = self.needed(thresholds, around);
        let mut risk = None;
        let model = match self.model.as_mut().zip(print.model) {
            Some((model, print)) => match model.judge_quickly(story, print, Some(needed)) {
                Ok(verdict) => Some(verdict),
                Err(found) => {
                    risk = Some(found);
                    None
                }
            },
            None => None,
        };
        let word = self.word(story, print, around);
        let is_quiet = |verdict: &Verdict| verdict.verdict < VerdictKind::Suspicious;
        if word.kind.is_some() || !model.as_ref().is_none_or(is_quiet) {
            return Err(f32::INFINITY);
        }
        match risk {
            Some(risk) => Err(risk),
            None => Ok(self.told(story, word, model, thresholds, around)),
        }
    }

    /// What verdicts are named by: `offered` by a policy when they make sense, else the model's own.
    pub fn thresholds(&self, offered: Option<Thresholds>) -> Thresholds {
        let own = || self.model.as_ref().map(Judge::own_thresholds);
        offered
            .filter(|offered| makes_sense(*offered))
            .or_else(own)
            .unwrap_or(THRESHOLDS)
    }

    /// What the model's own score has to reach, the tree's say taken away.
    fn needed(&self, offered: Option<Thresholds>, around: &Around) -> Thresholds {
        around.tree.thresholds(self.thresholds(offered))
    }

    fn word(&mut self, story: &Story, print: StoryPrint, around: &Around) -> Word {
        match (&mut self.floor, print.floor) {
            (Some(floor), Some(print)) => floor.word(story, print, around),
            _ => Word::default(),
        }
    }

    /// The verdict, what was excepted in it counted.
    fn told(
        &mut self,
        story: &Story,
        word: Word,
        model: Option<Verdict>,
        thresholds: Option<Thresholds>,
        around: &Around,
    ) -> Told {
        let (told, used) = self.together(story, word, model, thresholds, around);
        if let Some(floor) = &mut self.floor {
            floor.told(&used);
        }
        told
    }

    /// The verdict, and the places of the exceptions that were used for it.
    fn together(
        &self,
        story: &Story,
        mut word: Word,
        model: Option<Verdict>,
        thresholds: Option<Thresholds>,
        around: &Around,
    ) -> (Told, Vec<usize>) {
        let thresholds = self.thresholds(thresholds);
        let mut verdict = model.unwrap_or_else(|| self.without_model(story));
        let is_judged = verdict.verdict != VerdictKind::NotEvaluable;
        let mut alone = is_judged.then_some(verdict.score);
        lean(&mut verdict, around.tree, thresholds);
        if verdict.verdict >= VerdictKind::Suspicious
            && self.except(&mut verdict, story, &mut word, thresholds, around)
        {
            alone = None;
        }
        if let Some(kind) = word.kind {
            alone = Some(raised(alone.unwrap_or(0.0), kind, thresholds));
        }
        let used = std::mem::take(&mut word.used);
        add(&mut verdict, word, thresholds);
        let alone = alone.map(log_odds);
        (Told { verdict, alone }, used)
    }

    /// The model has no say in what somebody excepted from it; what it said stays as a note. False where nobody did.
    fn except(
        &self,
        verdict: &mut Verdict,
        story: &Story,
        word: &mut Word,
        thresholds: Thresholds,
        around: &Around,
    ) -> bool {
        let score = verdict.score;
        let said = Said {
            text: format!("the model's verdict, score {score:.2}"),
            zh: format!("模型判定，评分 {score:.2}"),
        };
        let floor = self.floor.as_ref();
        if !floor.is_some_and(|floor| floor.excepts_model(&said, story, around, word)) {
            return false;
        }
        word.notes
            .extend(verdict.reasons.drain(..).map(|reason| Said {
                text: reason.text,
                zh: reason.zh,
            }));
        verdict.verdict = VerdictKind::Benign;
        verdict.score = below(thresholds.suspicious).min(verdict.score);
        verdict.techniques.clear();
        true
    }

    /// What is said of a story by nobody: what cannot be evaluated is not benign.
    fn without_model(&self, story: &Story) -> Verdict {
        let has_rules = self.floor.as_ref().is_some_and(|floor| !floor.is_empty());
        let lacking = if has_rules || self.model.is_some() {
            evaluable::lacking(story, &Reads::everything())
        } else {
            Some(Why(
                "there is neither a model nor a rule",
                "没有可用的模型或规则",
            ))
        };
        Verdict {
            id: story.id.clone(),
            score: 0.0,
            verdict: lacking.map_or(VerdictKind::Benign, |_| VerdictKind::NotEvaluable),
            techniques: Vec::new(),
            reasons: lacking.map(Reason::from).into_iter().collect(),
            stage: Stage::Rule,
            model: self.model_id().to_owned(),
            micros: 0,
        }
    }
}
