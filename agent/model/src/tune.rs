//! Learning on site: a model's last layer and calibration, fitted again on a site's own labelled stories.
//!
//! No GPU, no training framework: what stands before the last layer stays as it is, so what is left is logistic
//! regression in some 390 dimensions ([`solve`]). The stories of ours that calibrate are fitted beside the labels, each towards what the
//! model said of it before, so that labels pull where they are and nothing elsewhere.
//!
//! Labels are not trusted far. What one host's labels move any other story by, in log-odds, is bounded by
//! [`HOST_CAP`], what all of them move any story by is bounded by [`CAP`], and a model that was tuned is not tuned further. What comes out is held against
//! stories of ours that nothing was fitted on ([`Figures`]): it may find no fewer of the attacks and mistake no more of the rest.
//! Where it would, our own stories weigh more and less of what is learned counts; where that does not help, there is no new model.
//!
//! Nothing is drawn and no clock is read: the same labels and the same model give the same artifact.

mod fit;
mod head;
mod input;
mod labels;
mod reading;
mod regression;
mod report;
mod solve;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::artifact::{self, ModelError};
use crate::model::Model;
use fit::Fit;
use labels::{Label, Labels};
use reading::Reading;
use solve::Point;

pub use labels::{Counts, LabelError, LabelledStory, MOST_HOSTS, MOST_OF_HOST, Word};
pub use regression::{Figures, Held, Part, stories};
pub use report::{HostReport, Report};

/// What the labels of one host may move any story of somebody else by, log-odds.
pub const HOST_CAP: f64 = 0.5;
/// What all labels together may move any story by, log-odds.
pub const CAP: f64 = 1.5;
/// Labelled stories that are too few to learn from.
pub const FEWEST: usize = 8;
/// What our own stories weigh together, in labels, and how much of what is learned so is tried: the boldest first.
const TRIALS: [(f64, f64); 12] = [
    (100.0, 1.0),
    (100.0, 0.5),
    (300.0, 1.0),
    (300.0, 0.5),
    (1_000.0, 1.0),
    (1_000.0, 0.5),
    (3_000.0, 1.0),
    (3_000.0, 0.5),
    (10_000.0, 1.0),
    (10_000.0, 0.5),
    (100_000.0, 1.0),
    (100_000.0, 0.3),
];
/// What is tried beside that on the offsets of both forms, log-odds: stories at the very edge of a threshold fall over
/// it with the least movement. It counts for every host.
const LIFTS: [f64; 13] = [
    0.0, 0.005, -0.005, 0.01, -0.01, 0.02, -0.02, 0.05, -0.05, 0.1, -0.1, MOST_LIFT, -MOST_LIFT,
];
const MOST_LIFT: f64 = 0.2;
/// In the manifest of a tuned model: what it was made from.
const FROM: &str = "tuned from";

/// Why there is no new model. The old one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The model does not load, or the new one cannot be written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// What was learned would add up.
    #[error(
        "the model in {path} was tuned already, from {from}: tune that one, with all labels together"
    )]
    Tuned {
        /// The artifact.
        path: PathBuf,
        /// The model that it was made from.
        from: String,
    },
    /// Something is there.
    #[error("{0} exists: name a folder that does not")]
    Exists(PathBuf),
    /// Hardly any labels.
    #[error(
        "only {found} labelled stories can be learned from, wanted are {FEWEST} ({by_gate} are answered by the gate, {contradicted} are disputed): label more"
    )]
    TooFew {
        /// So many.
        found: usize,
        /// Stories in which the last layer has no say.
        by_gate: usize,
        /// Labels that contradict each other.
        contradicted: usize,
    },
    /// However little of it is learned, our own stories suffer.
    #[error(
        "the labels cost more than they bring: of our own stories, with the least that was tried, {after}; before {before}: look through the labels"
    )]
    Worse {
        /// Of our own stories, by the model before.
        before: Figures,
        /// By the least that was tried, with the offsets as they were.
        after: Figures,
    },
}

/// A model that is being tuned.
pub struct Tuner {
    dir: PathBuf,
    model: Model,
    labels: Labels,
}

/// Our own stories, as the model reads them.
struct Own {
    keep: Vec<Arc<Reading>>,
    check: Vec<(Arc<Reading>, bool)>,
}

impl Tuner {
    /// Loads the model that is to be tuned.
    pub fn open(dir: &Path) -> Result<Self, TuneError> {
        let model = Model::load(dir)?;
        if let Some(from) = artifact::parts(dir)?.manifest.training.get(FROM) {
            return Err(TuneError::Tuned {
                path: dir.to_owned(),
                from: from.clone(),
            });
        }
        Ok(Self {
            dir: dir.to_owned(),
            model,
            labels: Labels::default(),
        })
    }

    /// Takes one label: a JSON object with `story`, `label` (`malicious` or `benign`), `host` and `analyst`. What does not count is
    /// said, and the rest counts.
    pub fn label(&mut self, line: &[u8]) -> Result<(), LabelError> {
        self.labels.add(&self.model, line)
    }

    /// Learns, and writes a whole artifact to `out`, which must not exist.
    pub fn finish(self, out: &Path) -> Result<Report, TuneError> {
        if out.exists() {
            return Err(TuneError::Exists(out.to_owned()));
        }
        let (labels, counts) = self.labels.usable();
        if labels.len() < FEWEST {
            return Err(TuneError::TooFew {
                found: labels.len(),
                by_gate: counts.by_gate,
                contradicted: counts.contradicted,
            });
        }
        let own = self.own();
        let fit = self.fit(&labels, &own);
        let check = || {
            own.check
                .iter()
                .map(|(reading, malicious)| (reading, *malicious))
        };
        let told = || labels.iter().map(|label| (&label.reading, label.malicious));
        let before = Figures::of(&self.model, check());
        let mut report = Report {
            from: self.model.id().to_owned(),
            to: String::new(),
            labels_sha256: self.labels.sha256(),
            counts,
            own_weight: 0.0,
            share: 0.0,
            lift: 0.0,
            furthest: 0.0,
            before,
            after: before,
            labels_before: Figures::of(&self.model, told()),
            labels_after: Figures::default(),
            hosts: Vec::new(),
        };
        let mut learned = fit.learn(TRIALS[0].0);
        // What brings the labels most without a loss of our own.
        let mut least = missed(&self.model, &labels);
        let mut best: Option<(Vec<f64>, Report)> = None;
        let mut after = before;
        for (own_weight, share) in TRIALS {
            if learned.own_weight < own_weight {
                learned = fit.learn(own_weight);
            }
            report.own_weight = own_weight;
            report.share = share;
            for lift in LIFTS {
                report.lift(&learned, lift);
                let step = learned.step(share, lift);
                // What is measured is what will be loaded, rounded and all.
                let trial = self.tuned(&step, fit.scale).trial()?;
                report.after = Figures::of(&trial, check());
                if lift == 0.0 {
                    after = report.after;
                }
                report.labels_after = Figures::of(&trial, told());
                let missed = missed(&trial, &labels);
                let is_worse = report.after.is_worse_than(&before)
                    || report.labels_after.is_worse_than(&report.labels_before);
                if !is_worse && missed < least {
                    least = missed;
                    best = Some((step, report.clone()));
                }
            }
        }
        if let Some((step, mut report)) = best {
            let model = self.tuned(&step, fit.scale).write(out, &report)?;
            model.id().clone_into(&mut report.to);
            return Ok(report);
        }
        Err(TuneError::Worse { before, after })
    }

    fn tuned<'a>(&'a self, step: &'a [f64], scale: f64) -> head::Tuned<'a> {
        head::Tuned {
            dir: &self.dir,
            model: &self.model,
            step,
            scale,
        }
    }

    fn own(&self) -> Own {
        let mut own = Own {
            keep: Vec::new(),
            check: Vec::new(),
        };
        for held in regression::stories() {
            let reading = Arc::new(Reading::of(&self.model, &self.model.read(&held.story)));
            match held.part {
                Part::Keep if reading.by_gate => {}
                Part::Keep => own.keep.push(reading),
                Part::Check => own.check.push((reading, held.malicious)),
            }
        }
        own
    }

    fn fit<'a>(&self, labels: &'a [Label], own: &Own) -> Fit<'a> {
        let scale = scale(&own.keep);
        let point = |reading: &Reading, target: Option<bool>| {
            let base = f64::from(reading.log_odds(&self.model));
            let unmoved = 1.0 / (1.0 + (-base).exp());
            Point {
                features: reading.features(&self.model, scale),
                base,
                target: target.map_or(unmoved, |malicious| f64::from(u8::from(malicious))),
            }
        };
        let mut points: Vec<Point> = own.keep.iter().map(|one| point(one, None)).collect();
        let told = labels
            .iter()
            .map(|label| point(&label.reading, Some(label.malicious)));
        points.extend(told);
        let reached = own.check.iter().filter(|(reading, _)| !reading.by_gate);
        let others: Vec<Point> = reached.map(|(reading, _)| point(reading, None)).collect();
        Fit {
            labels,
            points,
            others,
            kept: own.keep.len(),
            scale,
        }
    }
}

/// The cross-entropy of the labels: how far the model is from what they say.
fn missed(model: &Model, labels: &[Label]) -> f64 {
    let of = |label: &Label| {
        let said = f64::from(label.reading.log_odds(model));
        let against = if label.malicious { -said } else { said };
        against.max(0.0) + (-against.abs()).exp().ln_1p()
    };
    labels.iter().map(of).sum()
}

/// Brings the hidden layer to about length 1, so that one ridge fits every network.
fn scale(readings: &[Arc<Reading>]) -> f64 {
    let squares: f64 = readings
        .iter()
        .flat_map(|reading| &reading.hidden)
        .map(|value| f64::from(*value).powi(2))
        .sum();
    (readings.len().max(1) as f64 / squares.max(f64::MIN_POSITIVE)).sqrt()
}
