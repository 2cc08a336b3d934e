//! One training run, from files to artifact.

use std::collections::BTreeMap;
use std::time::Instant;

use cordon_behavior::story::Story;

use super::card::{self, Facts};
use super::data::{self, Data, Item, Side};
use super::draw::Draw;
use super::fit::{self, Example, Fitting};
use super::float::Float;
use super::measure::{Scored, calibrate};
use super::session::Composer;
use super::{Arguments, TrainError, dress, services, sockets};
use crate::artifact;
use crate::calibration::{Calibration, Platt, Thresholds};
use crate::facts;
use crate::model::Model;
use crate::shape::Shape;
use crate::tokens::{Limits, Tokens};

/// Stories of our own generator, an epoch: attacks and benign.
const COMPOSED: (usize, usize) = (1800, 3000);
/// Sessions mixed of several lines, an epoch: attacks and benign.
const SESSIONS: (usize, usize) = (2400, 4400);
/// How often a line of ours, and an attack line of public text, is drawn an epoch.
const OURS: usize = 4;
/// Further draws of one of our lines for its alternatives, at most.
const MOST_ALTERNATIVES: usize = 45;
const PUBLIC_ATTACKS: usize = 2;
/// How often a recorded story is drawn an epoch, varied each time.
const RECORDED: usize = 3;

/// A story with its label.
struct Labelled {
    story: Story,
    malicious: bool,
    technique: Option<String>,
    source: String,
}

/// Trains, measures and writes.
pub fn run(arguments: &Arguments) -> Result<(), TrainError> {
    let begun = Instant::now();
    let mut draw = Draw::new(arguments.seed);
    let data = data::load(&arguments.corpus, &arguments.recordings, &mut draw)?;
    let shape = Shape::standard(techniques(&data));
    let network = Float::new(&shape, &mut draw)?;
    eprintln!(
        "{} items, {} techniques",
        data.items.len(),
        shape.techniques.len()
    );
    let mut fitted = BTreeMap::new();
    let mut last = Vec::new();
    let mut fitting: Option<Fitting> = None;
    for epoch in 1..=arguments.epochs {
        let stories = epoch_stories(&data, arguments.stories, &mut draw);
        fitted = count(&stories);
        let mut examples = examples(&stories, &shape);
        if !examples.iter().any(|example| example.malicious) {
            return Err(TrainError::NoStories("attack"));
        }
        let steps = Fitting::batches(examples.len()) * arguments.epochs;
        let fitting = match &mut fitting {
            Some(fitting) => fitting,
            none => none.insert(Fitting::new(&network, steps)?),
        };
        let loss = fitting.epoch(&network, &mut examples, &mut draw, &mut |done| {
            eprint!(
                "\repoch {epoch}/{} {:3.0} %  {:.0?} ",
                arguments.epochs,
                done * 100.0,
                begun.elapsed()
            );
        })?;
        eprintln!(
            "\repoch {epoch}/{}: {} stories, loss {loss:.4}, {:.0?}   ",
            arguments.epochs,
            examples.len(),
            begun.elapsed()
        );
        last = examples;
    }
    let gate = fit::gate(&last, shape.gate_rows, 6, &mut draw);
    let training = BTreeMap::from([
        ("seed".to_owned(), arguments.seed.to_string()),
        ("epochs".to_owned(), arguments.epochs.to_string()),
        ("stories an epoch".to_owned(), last.len().to_string()),
    ]);
    let weights = network.gguf(&gate)?;
    let writer = artifact::Writer {
        dir: &arguments.out,
        shape: &shape,
        weights: &weights,
        data: &data.hashes,
        training: &training,
    };
    let model = writer.write(&uncalibrated(), "not measured yet\n")?;
    let held_out = |side: Side, draw: &mut Draw| held_out_stories(&data, side, draw);
    let (calibrating, testing) = (
        held_out(Side::Calibrate, &mut draw),
        held_out(Side::Test, &mut draw),
    );
    let (scored, _) = score(&model, &calibrating);
    let calibration = calibrate(&scored);
    let model = writer.write(&calibration, "not measured yet\n")?;
    let (tested, micros) = score(&model, &testing);
    let facts = Facts {
        shape: &shape,
        calibration: &calibration,
        training: &training,
        fitted: &fitted,
        difference: difference(&network, &calibration, &testing, &tested)?,
        bytes: weights.len(),
        micros,
    };
    let text = card::write(&facts, &scored, &tested);
    let model = writer.write(&calibration, &text)?;
    eprintln!(
        "{text}\nwrote {} to {} in {:.0?}",
        model.id(),
        arguments.out.display(),
        begun.elapsed()
    );
    Ok(())
}

/// Until it is measured a model calls nothing anything.
fn uncalibrated() -> Calibration {
    Calibration {
        network: Platt::IDENTITY,
        gate: Platt::IDENTITY,
        thresholds: Thresholds {
            gate: 0.0,
            suspicious: 1.0,
            malicious: 1.0,
        },
        technique: 0.2,
    }
}

/// Techniques that enough training items have.
fn techniques(data: &Data) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for item in data.items.iter().filter(|item| item.side == Side::Train) {
        if let Some(technique) = &item.technique {
            *counts.entry(technique).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .filter(|(_, count)| *count >= 3)
        .map(|(id, _)| id.to_owned())
        .collect()
}

fn epoch_stories(data: &Data, most: usize, draw: &mut Draw) -> Vec<Labelled> {
    let train: Vec<&Item> = data
        .items
        .iter()
        .filter(|item| item.side == Side::Train)
        .collect();
    let mut stories = Vec::new();
    for item in &train {
        let times = match (item.source.as_str(), item.malicious) {
            ("ours", _) => OURS + item.alternatives().min(MOST_ALTERNATIVES) / 2,
            (source, _) if source.starts_with("recorded:") => RECORDED,
            (_, true) => PUBLIC_ATTACKS,
            // A third of the public one-liners each time: they are many and alike.
            _ => usize::from(draw.chance(0.33)),
        };
        for _ in 0..times {
            stories.extend(item.story(draw).map(|story| labelled(item, story)));
        }
    }
    sessions(&data.items, Side::Train, SESSIONS, draw, &mut stories);
    composed(COMPOSED, draw, &mut stories);
    draw.shuffle(&mut stories);
    stories.truncate(most);
    stories
}

fn labelled(item: &Item, story: Story) -> Labelled {
    Labelled {
        story,
        malicious: item.malicious,
        technique: item.technique.clone(),
        source: item.source.clone(),
    }
}

fn sessions(
    items: &[Item],
    side: Side,
    counts: (usize, usize),
    draw: &mut Draw,
    stories: &mut Vec<Labelled>,
) {
    let composer = Composer::new(items, side);
    for index in 0..counts.0 + counts.1 {
        let malicious = index < counts.0;
        let (lines, technique) = if malicious {
            composer.hostile(draw)
        } else {
            (composer.honest(draw), None)
        };
        if let Some(story) = dress::session(&lines, draw) {
            let source = "sessions".to_owned();
            stories.push(Labelled {
                story,
                malicious,
                technique,
                source,
            });
        }
    }
}

fn composed((hostile, honest): (usize, usize), draw: &mut Draw, stories: &mut Vec<Labelled>) {
    let source = || "composed".to_owned();
    for _ in 0..hostile {
        let (story, technique, _) = sockets::hostile(draw);
        stories.push(Labelled {
            story,
            malicious: true,
            technique: Some(technique.to_owned()),
            source: source(),
        });
    }
    for _ in 0..honest {
        let (story, _) = services::honest(draw);
        stories.push(Labelled {
            story,
            malicious: false,
            technique: None,
            source: source(),
        });
    }
}

fn count(stories: &[Labelled]) -> BTreeMap<(String, bool), usize> {
    let mut counts = BTreeMap::new();
    for one in stories {
        *counts
            .entry((one.source.clone(), one.malicious))
            .or_default() += 1;
    }
    counts
}

fn examples(stories: &[Labelled], shape: &Shape) -> Vec<Example> {
    let limits = Limits {
        tokens: shape.tokens,
    };
    stories
        .iter()
        .map(|one| {
            let technique = one
                .technique
                .as_ref()
                .and_then(|id| shape.techniques.iter().position(|known| known == id));
            Example::new(
                &Tokens::of(&one.story, limits),
                facts::of(&one.story),
                shape,
                one.malicious,
                technique,
            )
        })
        .collect()
}

fn held_out_stories(data: &Data, side: Side, draw: &mut Draw) -> Vec<Labelled> {
    let mut stories = Vec::new();
    for item in data.items.iter().filter(|item| item.side == side) {
        // Few attack lines are left out: each is seen in three forms.
        let times = if item.malicious && !item.source.starts_with("recorded:") {
            3
        } else {
            1
        };
        for _ in 0..times {
            stories.extend(item.story(draw).map(|story| labelled(item, story)));
        }
    }
    sessions(&data.items, side, (400, 1200), draw, &mut stories);
    composed((300, 800), draw, &mut stories);
    stories
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

/// How far the quantized network is from the one that was fitted, on the first thousand test stories.
fn difference(
    network: &Float,
    calibration: &Calibration,
    stories: &[Labelled],
    scored: &[Scored],
) -> Result<(f32, f32), TrainError> {
    let few = &stories[..stories.len().min(1000)];
    let examples = examples(few, &network.shape);
    let float = fit::logits(network, &examples.iter().collect::<Vec<_>>())?;
    let (mut most, mut sum) = (0f32, 0f32);
    for (float, quantized) in float.iter().zip(scored) {
        let apart = (calibration.network.probability(*float)
            - calibration.network.probability(quantized.network))
        .abs();
        most = most.max(apart);
        sum += apart;
    }
    Ok((most, sum / few.len().max(1) as f32))
}
