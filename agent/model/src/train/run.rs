//! One training run, from files to artifact.

pub(super) mod stories;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::calibrate::calibrate;
use super::card::{self, Facts};
use super::checkpoint::Checkpoint;
use super::compare::{Comparison, compare, data_id};
use super::data::{self, Data, Side};
use super::draw::Draw;
use super::fit::{self, Fitting};
use super::float::{Architecture, Float, gguf};
use super::measure::Scored;
use super::{Arguments, TrainError, held_out};
use crate::artifact::{self, Manifest};
use crate::calibration::{Blend, Calibration, Platt, Thresholds};
use crate::facts;
use crate::gate::Gate;
use crate::model::Model;
use crate::shape::Shape;
use stories::{Labelled, count, epoch_stories, examples, held_out_stories, techniques};

/// What was fitted: now, or in an earlier run.
struct Fitted {
    weights: Vec<u8>,
    shape: Shape,
    training: BTreeMap<String, String>,
    /// Stories of an epoch by source and label.
    counts: BTreeMap<(String, bool), usize>,
}

/// Trains, measures and writes.
pub fn run(arguments: &Arguments) -> Result<(), TrainError> {
    if let Some(path) = &arguments.held_out {
        return held_out::write(path, arguments);
    }
    if let Some(path) = &arguments.regression {
        return held_out::write_regression(path, arguments);
    }
    let mut draw = Draw::new(arguments.seed);
    let mut data = data::load(&arguments.corpus, &arguments.recordings, &mut draw)?;
    data.leave_out(&arguments.without)?;
    if arguments.compare {
        return write_comparison(arguments, &data);
    }
    let begun = Instant::now();
    let fitted = match &arguments.weights {
        Some(dir) => kept(dir, &data, arguments)?,
        None => fit_all(arguments, &data)?,
    };
    let model = measure(arguments, &data, &fitted)?;
    eprintln!(
        "wrote {} to {} in {:.0?}",
        model.id(),
        arguments.out.display(),
        begun.elapsed()
    );
    Ok(())
}

fn write_comparison(arguments: &Arguments, data: &Data) -> Result<(), TrainError> {
    let compared = compare(arguments, data)?;
    let path = &arguments.comparison;
    let mut text = serde_json::to_string_pretty(&compared).unwrap_or_default();
    text.push('\n');
    std::fs::write(path, text).map_err(|source| TrainError::Write {
        path: path.clone(),
        source,
    })
}

/// The comparison that was written last, for the card. An older one with other rows is none.
fn last_comparison(arguments: &Arguments) -> Option<Comparison> {
    let text = std::fs::read(&arguments.comparison).ok()?;
    serde_json::from_slice(&text).ok()
}

/// A network that was fitted, and where its fit keeps its place.
pub(super) struct FittedNetwork {
    pub network: Float,
    pub checkpoint: Checkpoint,
}

/// Fits the network of this index: each pass draws its stories anew, from a seed of its own, so that a fit that goes on
/// draws what it would have drawn.
pub(super) fn fit_network(
    arguments: &Arguments,
    data: &Data,
    (architecture, shape): (Architecture, &Shape),
    index: usize,
) -> Result<FittedNetwork, TrainError> {
    let begun = Instant::now();
    let name = format!("{} {}", architecture.name(), index + 1);
    let of = arguments.epochs;
    let seed = arguments.seed.wrapping_add(index as u64 * NETWORK);
    let network = Float::new(shape, architecture, &mut Draw::new(seed))?;
    let checkpoint = Checkpoint::new(arguments, data, shape, (architecture, index));
    let done = checkpoint.restore(&network);
    if done > 0 {
        eprintln!("{name}: goes on after pass {done} of {of}");
    }
    let mut fitting: Option<Fitting> = None;
    for pass in done + 1..=of {
        let mut draw = Draw::new(seed.wrapping_add(pass as u64 * PASS));
        let stories = epoch_stories(data, arguments.stories, &mut draw);
        let mut drawn = examples(&stories, shape);
        if !drawn.iter().any(|example| example.malicious) {
            return Err(TrainError::NoStories("attack"));
        }
        let batches = Fitting::batches(drawn.len());
        let fitting = match &mut fitting {
            Some(fitting) => fitting,
            none => none.insert(Fitting::new(&network, done * batches, of * batches)?),
        };
        let loss = fitting.epoch(&network, &mut drawn, &mut draw, &mut |share| {
            let percent = share * 100.0;
            let elapsed = begun.elapsed();
            eprint!("\r{name}: pass {pass} of {of}, {percent:3.0} %, {elapsed:.0?} ");
        })?;
        let (stories, elapsed) = (drawn.len(), begun.elapsed());
        eprintln!(
            "\r{name}: pass {pass} of {of}, {stories} stories, loss {loss:.4}, {elapsed:.0?} "
        );
        checkpoint.keep(&network, pass)?;
    }
    Ok(FittedNetwork {
        network,
        checkpoint,
    })
}

/// The gate, fitted on a draw of its own, and the stories of that.
pub(super) fn fit_gate(arguments: &Arguments, data: &Data, shape: &Shape) -> (Gate, Vec<Labelled>) {
    let mut draw = Draw::new(arguments.seed);
    let stories = epoch_stories(data, arguments.stories, &mut draw);
    let drawn = examples(&stories, shape);
    let gate = fit::gate(&drawn, shape.gate_rows, fit::GATE_PASSES, &mut draw);
    (gate, stories)
}

fn fit_all(arguments: &Arguments, data: &Data) -> Result<Fitted, TrainError> {
    let shape = Shape::standard(techniques(data));
    let (items, names) = (data.items.len(), shape.techniques.len());
    eprintln!("{items} items, {names} techniques");
    let wanted = (Architecture::Convolution, &shape);
    let (mut networks, mut places) = (Vec::new(), Vec::new());
    for index in 0..shape.networks {
        let fitted = fit_network(arguments, data, wanted, index)?;
        networks.push(fitted.network);
        places.push(fitted.checkpoint);
    }
    let (gate, stories) = fit_gate(arguments, data, &shape);
    let mut training = BTreeMap::from([
        ("seed".to_owned(), arguments.seed.to_string()),
        ("epochs".to_owned(), arguments.epochs.to_string()),
        ("stories an epoch".to_owned(), stories.len().to_string()),
        (LEFT_OUT.to_owned(), left_out(arguments)),
    ]);
    let fitted = Fitted {
        weights: gguf(&networks, &gate)?,
        shape,
        training: training.clone(),
        counts: count(&stories),
    };
    let apart = difference(arguments, data, &networks, &fitted)?;
    training.insert(DIFFERENCE.to_owned(), apart);
    places.iter().for_each(Checkpoint::forget);
    Ok(Fitted { training, ..fitted })
}

/// Weights of an earlier run on the same data, to be measured again.
fn kept(dir: &Path, data: &Data, arguments: &Arguments) -> Result<Fitted, TrainError> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read(&path).map_err(|source| TrainError::Read { path, source })
    };
    let parse = |source| TrainError::Line {
        path: dir.to_owned(),
        line: 1,
        source,
    };
    let manifest: Manifest = serde_json::from_slice(&read(artifact::MANIFEST)?).map_err(parse)?;
    let shape: Shape = serde_json::from_slice(&read(artifact::TOKENIZER)?).map_err(parse)?;
    if manifest.data != data.hashes || manifest.training.get(LEFT_OUT) != Some(&left_out(arguments))
    {
        return Err(TrainError::Changed(dir.to_owned()));
    }
    let mut draw = Draw::new(arguments.seed);
    let stories = epoch_stories(data, arguments.stories, &mut draw);
    Ok(Fitted {
        weights: read(artifact::WEIGHTS)?,
        shape,
        training: manifest.training,
        counts: count(&stories),
    })
}

fn measure(arguments: &Arguments, data: &Data, fitted: &Fitted) -> Result<Model, TrainError> {
    let writer = artifact::Writer {
        dir: &arguments.out,
        shape: &fitted.shape,
        weights: &fitted.weights,
        data: &data.hashes,
        training: &fitted.training,
    };
    let model = writer.write(&uncalibrated(), "not measured yet\n")?;
    let calibrating = left_out_stories(arguments, data, Side::Calibrate);
    let testing = left_out_stories(arguments, data, Side::Test);
    let (scored, _) = score(&model, &calibrating);
    let calibration = calibrate(&scored);
    let model = writer.write(&calibration, "not measured yet\n")?;
    let (tested, micros) = score(&model, &testing);
    let compared = last_comparison(arguments);
    let data_id = data_id(&data.hashes, &fitted.shape);
    let facts = Facts {
        shape: &fitted.shape,
        calibration: &calibration,
        training: &fitted.training,
        fitted: &fitted.counts,
        bytes: fitted.weights.len(),
        micros,
        compared: compared.as_ref().map(|one| (one, one.data == data_id)),
    };
    let text = card::write(&facts, &scored, &tested);
    eprintln!("{text}");
    Ok(writer.write(&calibration, &text)?)
}

/// The stories of a side that is not fitted, the same whatever was drawn before.
pub(super) fn left_out_stories(arguments: &Arguments, data: &Data, side: Side) -> Vec<Labelled> {
    held_out_stories(data, side, &mut Draw::new(arguments.seed ^ HELD_OUT))
}

/// Until it is measured a model calls nothing anything.
fn uncalibrated() -> Calibration {
    Calibration {
        seen: Blend::NETWORK,
        text: Blend::NETWORK,
        gate: Platt::IDENTITY,
        thresholds: Thresholds {
            gate: 0.0,
            suspicious: 1.0,
            malicious: 1.0,
        },
        technique: 0.2,
    }
}

/// Scores of the quantized model, and what they cost: gate alone, then everything.
fn score(model: &Model, stories: &[Labelled]) -> (Vec<Scored>, [(u64, u64); 2]) {
    let (mut gate_micros, mut all_micros) = (Vec::new(), Vec::new());
    let mut scored = Vec::with_capacity(stories.len());
    for one in stories {
        let begun = Instant::now();
        let input = model.read(&one.story);
        let gate = model.gate.logit(&input.tokens, &input.facts);
        gate_micros.push(begun.elapsed().as_micros() as u64);
        let logits = model.logits(&input);
        all_micros.push(begun.elapsed().as_micros() as u64);
        let best = (1..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
        scored.push(Scored {
            source: one.source.clone(),
            malicious: one.malicious,
            technique: one.technique.clone(),
            form: facts::form(&input.facts),
            network: logits[0],
            gate,
            named: best.map(|index| model.shape.techniques[index - 1].clone()),
        });
    }
    (scored, [percentiles(gate_micros), percentiles(all_micros)])
}

fn percentiles(mut micros: Vec<u64>) -> (u64, u64) {
    micros.sort_unstable();
    let at = |share: f64| {
        micros
            .get((micros.len() as f64 * share) as usize)
            .copied()
            .unwrap_or(0)
    };
    (at(0.5), at(0.99))
}

/// What the card says of [`difference`].
const DIFFERENCE: &str = "largest and mean difference of a raw logit, quantized against float";
/// What the card says of [`Arguments::without`].
const LEFT_OUT: &str = "left out beside what always is";

fn left_out(arguments: &Arguments) -> String {
    match arguments.without.as_slice() {
        [] => "nothing".to_owned(),
        sources => sources.join(" "),
    }
}

/// How far the seeds of two passes are apart.
const PASS: u64 = 0x9e37_79b9;
/// How far those of one network and the next are apart.
const NETWORK: u64 = 0x85eb_ca6b_0000;
/// Changes the seed for stories that are held out.
const HELD_OUT: u64 = 0x5eed;

/// How far the quantized networks are from those that were fitted, on a thousand held-out stories.
fn difference(
    arguments: &Arguments,
    data: &Data,
    networks: &[Float],
    fitted: &Fitted,
) -> Result<String, TrainError> {
    let writer = artifact::Writer {
        dir: &arguments.out,
        shape: &fitted.shape,
        weights: &fitted.weights,
        data: &data.hashes,
        training: &fitted.training,
    };
    let model = writer.write(&uncalibrated(), "not measured yet\n")?;
    let mut stories = held_out_stories(data, Side::Test, &mut Draw::new(arguments.seed));
    stories.truncate(1000);
    let examples = examples(&stories, &fitted.shape);
    let float = fit::logits(networks, &examples.iter().collect::<Vec<_>>())?;
    let (mut most, mut sum) = (0f32, 0f32);
    for (float, story) in float.iter().zip(&stories) {
        let apart = (float - model.logits(&model.read(&story.story))[0]).abs();
        most = most.max(apart);
        sum += apart;
    }
    Ok(format!(
        "{most:.3}, {:.4}",
        sum / stories.len().max(1) as f32
    ))
}
