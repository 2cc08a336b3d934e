//! What is drawn for an epoch, and what is held out.

use std::collections::BTreeMap;

use cordon_behavior::story::Story;

use super::super::data::{Data, Item, Side};
use super::super::draw::Draw;
use super::super::fit::Example;
use super::super::lineages::Lineages;
use super::super::session::Composer;
use super::super::{dress, services, sockets};
use crate::facts;
use crate::shape::Shape;
use crate::tokens::{Limits, Tokens};

/// Stories of our own generator, an epoch: attacks and benign. With a fifth of it a long fit took a shell on a
/// connection for harmless below services that honest recordings have; with two thirds, a shell below a page's script
/// was not sure to be malicious.
const COMPOSED: (usize, usize) = (6000, 9000);
/// Sessions mixed of several lines, an epoch: attacks and benign.
const SESSIONS: (usize, usize) = (2000, 3600);
/// How often a line of ours, and an attack line of public text, is drawn an epoch.
const OURS: usize = 4;
/// Further draws of one of our lines for its alternatives, at most.
const MOST_ALTERNATIVES: usize = 45;
const PUBLIC_ATTACKS: usize = 2;
/// How often a block of a pack is drawn an epoch, and how many further times at most for its choices.
const PACKED: usize = 3;
const MOST_PACKED: usize = 6;
/// How often a recorded story is drawn an epoch, varied each time.
const RECORDED: usize = 2;

/// A story with its label.
pub(in crate::train) struct Labelled {
    pub story: Story,
    pub malicious: bool,
    pub technique: Option<String>,
    pub source: String,
}

/// Techniques that enough training items have.
pub(in crate::train) fn techniques(data: &Data) -> Vec<String> {
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

pub(in crate::train) fn epoch_stories(data: &Data, most: usize, draw: &mut Draw) -> Vec<Labelled> {
    let train: Vec<&Item> = data
        .items
        .iter()
        .filter(|item| item.side == Side::Train)
        .collect();
    let mut stories = Vec::new();
    for item in &train {
        let times = match (item.source.as_str(), item.malicious) {
            (source, _) if source.starts_with("pack:") => {
                PACKED + item.alternatives().min(MOST_PACKED)
            }
            ("ours", _) => OURS + item.alternatives().min(MOST_ALTERNATIVES),
            (source, _) if source.starts_with("recorded:") => RECORDED,
            (_, true) => PUBLIC_ATTACKS,
            // A third of the public one-liners each time: they are many and alike.
            _ => usize::from(draw.chance(0.25)),
        };
        for _ in 0..times {
            stories.extend(item.story(draw).map(|story| labelled(item, story)));
        }
    }
    sessions(&data.items, Side::Train, SESSIONS, draw, &mut stories);
    let lineages = Lineages::of(&data.items);
    composed(&lineages, COMPOSED, draw, &mut stories);
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

fn composed(
    lineages: &Lineages<'_>,
    (hostile, honest): (usize, usize),
    draw: &mut Draw,
    stories: &mut Vec<Labelled>,
) {
    let source = || "composed".to_owned();
    for _ in 0..hostile {
        let (story, technique, _) = sockets::hostile(lineages.one(draw), draw);
        stories.push(Labelled {
            story,
            malicious: true,
            technique: Some(technique.to_owned()),
            source: source(),
        });
    }
    for _ in 0..honest {
        let (story, _) = services::honest(lineages.one(draw), draw);
        stories.push(Labelled {
            story,
            malicious: false,
            technique: None,
            source: source(),
        });
    }
}

pub(in crate::train) fn count(stories: &[Labelled]) -> BTreeMap<(String, bool), usize> {
    let mut counts = BTreeMap::new();
    for one in stories {
        *counts
            .entry((one.source.clone(), one.malicious))
            .or_default() += 1;
    }
    counts
}

pub(in crate::train) fn examples(stories: &[Labelled], shape: &Shape) -> Vec<Example> {
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
                &Tokens::of(&one.story, limits, &shape.reads),
                facts::of(&one.story, &shape.reads),
                shape,
                (one.malicious, sure(&one.source)),
                technique,
            )
        })
        .collect()
}

/// How sure the label of a source's stories is: what was recorded or composed is what its scenario says; public text
/// is not always what its file says, and a session may be harmless with a hostile line in it.
fn sure(source: &str) -> f32 {
    match source {
        "composed" | "ours" => 0.998,
        _ if source.starts_with("pack:") => 0.995,
        "sessions" => 0.985,
        _ if source.starts_with("recorded:") => 0.995,
        _ => 0.97,
    }
}

pub(in crate::train) fn held_out_stories(
    data: &Data,
    side: Side,
    draw: &mut Draw,
) -> Vec<Labelled> {
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
    let lineages = Lineages::of(&data.items);
    composed(&lineages, (300, 800), draw, &mut stories);
    stories
}
