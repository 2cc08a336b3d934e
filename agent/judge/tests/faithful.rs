//! Reasons are faithful: what the committed model's first reason names carries more of the score than a part of the
//! same story that was drawn by chance. The stories are those that no model was fitted on.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::path::Path;
use std::sync::Arc;

use cordon_behavior::story::Story;
use cordon_judge::{Judge, Options};
use cordon_model::Model;
use cordon_model::train::data::{Data, Side};
use cordon_model::train::draw::Draw;
use cordon_proto::verdict::VerdictKind;

/// Of all stories whose first reason names one part. In the others several parts say the same: then none of them costs
/// much alone, and chance draws from a level field.
const LEAST_SHARE: f64 = 0.7;
/// Log-odds that the named parts carry together, by what those of chance do.
const LEAST_RATIO: f32 = 3.0;

/// Parts of a story that can be taken out by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Line(usize),
    Argument(usize),
    Ancestor(usize),
    Connection(usize),
    Name(usize),
    File(usize),
}

fn pieces(story: &Story) -> Vec<Piece> {
    let arguments = story.process.as_ref().map_or(0, |own| own.argv.len());
    let lines = (0..story.session.len()).map(Piece::Line);
    lines
        .chain((1..arguments).map(Piece::Argument))
        .chain((0..story.ancestors.len()).map(Piece::Ancestor))
        .chain((0..story.connections.len()).map(Piece::Connection))
        .chain((0..story.dns.len()).map(Piece::Name))
        .chain((0..story.files.len()).map(Piece::File))
        .collect()
}

fn without(story: &Story, piece: Piece) -> Story {
    let mut story = story.clone();
    match piece {
        Piece::Line(at) => drop(story.session.remove(at)),
        Piece::Argument(at) => drop(story.process.as_mut().unwrap().argv.remove(at)),
        Piece::Ancestor(at) => drop(story.ancestors.remove(at)),
        Piece::Connection(at) => drop(story.connections.remove(at)),
        Piece::Name(at) => drop(story.dns.remove(at)),
        Piece::File(at) => drop(story.files.remove(at)),
    }
    story
}

/// The piece that a reason is about, if it is about one alone.
fn named(story: &Story, reason: &str) -> Option<Piece> {
    if reason.ends_with(" more like these") {
        return None;
    }
    if let Some(rest) = reason.strip_prefix("session line ") {
        let number: usize = rest.split(':').next()?.parse().ok()?;
        return Some(Piece::Line(number - 1));
    }
    if let Some(argument) = reason.strip_prefix("argument ") {
        let argv = &story.process.as_ref()?.argv;
        return argv
            .iter()
            .position(|known| known == argument)
            .map(Piece::Argument);
    }
    if let Some(end) = reason.strip_prefix("connects to ") {
        let is_it = |one: &cordon_behavior::story::Connection| {
            end.starts_with(&format!("{}:{} ", one.address, one.port))
        };
        return story
            .connections
            .iter()
            .position(is_it)
            .map(Piece::Connection);
    }
    let is_parent = reason.starts_with("parent process ");
    (is_parent && !story.ancestors.is_empty()).then_some(Piece::Ancestor(0))
}

#[test]
fn what_is_named_first_carries_more_than_what_chance_draws() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = Arc::new(Model::load(&root.join("agent/model/artifact")).unwrap());
    let mut judge = Judge::new(Arc::clone(&model), Options::default());
    let log_odds = |story: &Story| model.log_odds(&model.read(story));
    let mut draw = Draw::new(7);
    let data = Data::own(&root.join("tests/recordings"), &mut draw).unwrap();
    let (mut compared, mut carried) = (0, 0);
    let (mut by_reason, mut by_chance) = (0.0, 0.0);
    for item in data
        .items
        .iter()
        .filter(|item| item.side == Side::Test && item.malicious)
    {
        let Some(mut story) = item.story(&mut draw) else {
            continue;
        };
        story.id = "faithful".into();
        let verdict = judge.judge(&story, None);
        let Some(piece) = verdict
            .reasons
            .first()
            .and_then(|first| named(&story, &first.text))
        else {
            continue;
        };
        let others: Vec<Piece> = pieces(&story)
            .into_iter()
            .filter(|one| *one != piece)
            .collect();
        if verdict.verdict < VerdictKind::Suspicious || others.is_empty() {
            continue;
        }
        let whole = log_odds(&story);
        let fall = whole - log_odds(&without(&story, piece));
        let other = whole - log_odds(&without(&story, others[draw.below(others.len())]));
        compared += 1;
        carried += usize::from(fall > other);
        by_reason += fall;
        by_chance += other;
    }
    let share = f64::from(carried as u32) / f64::from(compared as u32);
    let told = format!("{carried} of {compared}; together {by_reason:.0} against {by_chance:.0}");
    assert!(compared >= 100, "{told}");
    assert!(
        share >= LEAST_SHARE && by_reason > LEAST_RATIO * by_chance,
        "{told}"
    );
}
