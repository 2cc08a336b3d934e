//! `cordon-agent judge`: one story a line in, one verdict a line out.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use cordon_behavior::story::Story;
use cordon_judge::{Around, Cascade, Judge, Options, Risks, TreeRisk};
use cordon_model::Model;
use cordon_proto::policy::Thresholds;
use cordon_proto::verdict::Verdict;
use jiff::Timestamp;
use serde_json::json;

use super::BAD_LINES;
use super::lines::{self, Line, Lines};
use super::output::plain;
use crate::config::Config;
use crate::judging::TREES;
use crate::rules::{self, Places};

/// What stories are judged with.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct By {
    /// Rules and indicators, the model, or both: then the verdict is the worse one, with the reasons of both.
    #[arg(long, value_enum, default_value_t)]
    with: With,
    /// The model artifact, in place of the configured one.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Sigma rules, in place of the configured ones: a folder or a file; may be given again.
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// Indicators, in place of the configured ones: a STIX 2.1 bundle, a plain list, or a folder of them; may be
    /// given again.
    #[arg(long, value_name = "PATH")]
    ioc: Vec<PathBuf>,
    /// Exceptions, in place of the configured ones: a JSON file; may be given again.
    #[arg(long, value_name = "FILE")]
    exceptions: Vec<PathBuf>,
    /// Without the rules that come with Cordon.
    #[arg(long)]
    no_embedded_rules: bool,
    /// Most reasons that are looked for in what the model says of a story, in place of the daemon's number. With 0 it says
    /// none and is several times as fast; scores and verdicts are the same.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(..=12))]
    reasons: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum With {
    /// Rules and indicators alone; no model is needed.
    Rules,
    /// The model alone.
    Model,
    /// Both.
    #[default]
    Both,
}

impl By {
    /// Anything was given.
    pub(super) fn is_given(&self) -> bool {
        let lists = [&self.rules, &self.ioc, &self.exceptions];
        self.with != With::Both
            || self.model.is_some()
            || self.no_embedded_rules
            || self.reasons.is_some()
            || lists.iter().any(|list| !list.is_empty())
    }

    fn places(&self, config: &Config) -> Places {
        let embedded = config.rules_embedded && !self.no_embedded_rules;
        let configured = Places::of_folder(&config.rules_dir, embedded);
        let or = |given: &Vec<PathBuf>, else_: Vec<PathBuf>| {
            if given.is_empty() {
                else_
            } else {
                given.clone()
            }
        };
        Places {
            embedded,
            rules: or(&self.rules, configured.rules),
            indicators: or(&self.ioc, configured.indicators),
            exceptions: or(&self.exceptions, configured.exceptions),
        }
    }
}

pub(super) fn run(file: &Path, by: &By, config: Option<&Path>) -> Result<ExitCode> {
    let mut judge = open(by, &Config::load(config)?, ("", ""))?;
    let out = BufWriter::new(io::stdout().lock());
    let bad = if file == Path::new("-") {
        judge_lines(&mut judge, BufReader::new(io::stdin().lock()), out)
    } else {
        let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        judge_lines(&mut judge, BufReader::new(opened), out)
    };
    let bad = bad.context("cannot go on judging")?;
    Ok(ExitCode::from(if bad == 0 { 0 } else { BAD_LINES }))
}

/// Judges stories one after another, each with what was said of those before it that name the same tree. No time passes
/// between them.
pub(super) struct InOrder {
    cascade: Cascade,
    trees: Risks<u64>,
    told: u64,
}

impl From<Cascade> for InOrder {
    fn from(cascade: Cascade) -> Self {
        Self {
            cascade,
            trees: Risks::new(TREES),
            told: 0,
        }
    }
}

impl InOrder {
    /// Judges one story by these thresholds, or the model's own, and says how long that took.
    pub(super) fn verdict(&mut self, story: &Story, thresholds: Option<Thresholds>) -> Verdict {
        let began = Instant::now();
        let mut around = Around {
            now: Timestamp::now(),
            sha256: None,
            tree: TreeRisk::default(),
        };
        self.told += 1;
        let tree = (!story.tree.is_empty()).then(|| hash_of(&story.tree));
        let print = self.cascade.fingerprint(story, &around).number();
        if let Some(tree) = &tree {
            around.tree = self.trees.of(tree, self.told, print, 0);
        }
        let mut told = self.cascade.judge_step(story, thresholds, &around);
        if let (Some(tree), Some(alone)) = (tree, told.alone) {
            self.trees.add(tree, self.told, print, alone, 0);
        }
        told.verdict.micros = began.elapsed().as_micros() as u64;
        told.verdict
    }
}

fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Judges every line of `input`, in order; returns how many could not be judged. What was answered is
/// flushed before more input is waited for.
fn judge_lines(
    judge: &mut InOrder,
    input: BufReader<impl io::Read>,
    mut out: impl Write,
) -> io::Result<u64> {
    let mut bad = 0;
    let mut lines = Lines::new(input);
    while let Some(line) = lines.next(|| out.flush())? {
        if let Err(why) = answer(judge, &line, &mut out)? {
            bad += 1;
            let number = line.number;
            serde_json::to_writer(&mut out, &json!({ "error": why, "line": number }))?;
        }
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(bad)
}

fn answer(
    judge: &mut InOrder,
    line: &Line<'_>,
    out: &mut impl Write,
) -> io::Result<Result<(), String>> {
    let Some(text) = line.text else {
        return Ok(Err(lines::too_long()));
    };
    let story = match Story::from_json(text) {
        Ok(story) => story,
        Err(error) => return Ok(Err(error.to_string())),
    };
    serde_json::to_writer(out, &judge.verdict(&story, None))?;
    Ok(Ok(()))
}

/// A judge as `by` and the configuration say. What of rules, indicators and exceptions does not count is told on
/// stderr; the rest counts. `host` is the id and the group of the host whose exceptions count.
pub(super) fn open(by: &By, config: &Config, host: (&str, &str)) -> Result<InOrder> {
    let model = match by.with {
        With::Rules => None,
        With::Model | With::Both => {
            let dir = by.model.as_ref().unwrap_or(&config.model_dir);
            let model = Model::load(dir)?;
            let mut options = Options::default();
            if let Some(reasons) = by.reasons {
                options.reasons = reasons.into();
            }
            Some(Judge::new(Arc::new(model), options))
        }
    };
    let floor = match by.with {
        With::Model => None,
        With::Rules | With::Both => {
            let loaded = rules::load(&by.places(config));
            for problem in loaded.problems() {
                writeln!(io::stderr(), "{}", plain(&problem.to_string()))?;
            }
            Some(loaded.floor(host.0, host.1))
        }
    };
    Ok(Cascade::new(model, floor).into())
}
