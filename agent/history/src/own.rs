//! Cordon's own recordings.

use cordon_behavior::event::{Event, EventBody};
use cordon_behavior::story::Story;
use serde::{Deserialize, Serialize};

use crate::{Damage, Item};

/// A line among recorded stories that says what is missing there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossLine {
    /// When it was noticed, nanoseconds of CLOCK_REALTIME.
    #[serde(default)]
    pub wall_ns: u64,
    /// What was lost.
    pub loss: Lost,
}

/// Events that were not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Ring or source and type, for example `ring/exec`, `record/queue`.
    pub source: String,
    /// How many.
    pub count: u64,
}

impl LossLine {
    /// A line that says so.
    pub fn new(wall_ns: u64, source: impl Into<String>, count: u64) -> Self {
        let source = source.into();
        Self {
            wall_ns,
            loss: Lost { source, count },
        }
    }
}

pub(crate) fn story(line: &[u8]) -> Result<Item, Damage> {
    match Story::from_json(line) {
        Ok(story) => Ok(Item::Story(Box::new(story))),
        Err(error) => match serde_json::from_slice::<LossLine>(line) {
            Ok(LossLine { loss, .. }) => Ok(lost(loss.source, loss.count)),
            Err(_) => Err(Damage::Story(error)),
        },
    }
}

pub(crate) fn event(line: &[u8]) -> Result<Item, Damage> {
    let event: Event = serde_json::from_slice(line).map_err(Damage::json("an event"))?;
    Ok(match event.body {
        EventBody::Loss { source, count } => lost(source, count),
        _ => Item::Event(Box::new(event)),
    })
}

fn lost(source: String, count: u64) -> Item {
    Item::Loss { source, count }
}
