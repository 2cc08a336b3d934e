//! Stories as events make them, without a judge: for `replay` and `record`.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use cordon_behavior::event::{Event, ProcessKey};
use cordon_behavior::story::Story;
use cordon_behavior::{Behavior, Limits, Trigger};

use crate::recent::Recent;

/// Processes whose last story is remembered.
const REMEMBERED: usize = 8192;

/// The process graph, and what was told of it.
#[derive(Debug)]
pub struct Teller {
    behavior: Behavior,
    told: Recent<ProcessKey, u64>,
}

impl Default for Teller {
    fn default() -> Self {
        Self {
            behavior: Behavior::new(Limits::default()),
            told: Recent::new(REMEMBERED),
        }
    }
}

impl Teller {
    /// The stories that an event changed in a way worth judging; one that did not grow is told once.
    pub fn tell(&mut self, event: &Event) -> Vec<Story> {
        let triggers = self.behavior.apply(event);
        self.stories(triggers)
    }

    /// The stories that were put off because their processes did much at once. For when no more events
    /// come.
    pub fn rest(&mut self) -> Vec<Story> {
        let mut stories = Vec::new();
        while self.behavior.is_waiting() {
            let triggers = self.behavior.due(u64::MAX);
            stories.extend(self.stories(triggers));
        }
        stories
    }

    fn stories(&mut self, triggers: Vec<Trigger>) -> Vec<Story> {
        let mut stories = Vec::new();
        for trigger in triggers {
            let Some(mut story) = self.behavior.story(trigger.process) else {
                continue;
            };
            if let Some(root) = self.behavior.tree_root(trigger.process) {
                story.tree = format!("{}-{}", root.pid, root.start_ns);
            }
            let hash = hash_of(&story);
            if self.told.get(&trigger.process) != Some(&hash) {
                self.told.put(trigger.process, hash);
                stories.push(story);
            }
        }
        stories
    }
}

fn hash_of(story: &Story) -> u64 {
    let mut hasher = DefaultHasher::new();
    let written = serde_json::to_vec(story);
    written.unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
