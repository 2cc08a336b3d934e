//! Who starts work: drawn lineages, and those that honest work was recorded under.
//!
//! A service that only honest recordings have would excuse whatever is below it. So composed stories of both labels stand
//! below every service that an honest recording has.

use std::collections::BTreeMap;

use cordon_behavior::story::{Relative, Story};

use super::data::{Body, Item, Side};
use super::draw::Draw;
use super::dress;

/// Lineages of the honest recordings that are fitted, each family as likely as every other.
pub struct Lineages<'a> {
    families: Vec<Vec<&'a Story>>,
}

impl<'a> Lineages<'a> {
    /// Of `items`.
    pub fn of(items: &'a [Item]) -> Self {
        let mut families: BTreeMap<&str, Vec<&Story>> = BTreeMap::new();
        for item in items {
            if item.side == Side::Train
                && !item.malicious
                && let Body::Story(story) = &item.body
                && story.process.is_some()
                && !story.ancestors.is_empty()
            {
                families.entry(&item.source).or_default().push(story);
            }
        }
        Self {
            families: families.into_values().collect(),
        }
    }

    /// One lineage, nearest first: as often drawn from the table of [`dress`] as recorded. Of a recorded story its own
    /// process is the nearest as often as it is left out.
    pub fn one(&self, draw: &mut Draw) -> Vec<Relative> {
        if self.families.is_empty() || draw.chance(0.5) {
            return dress::drawn_lineage(draw);
        }
        let family = draw.below(self.families.len());
        let story = *draw.one(&self.families[family]);
        let own = story.process.as_ref().filter(|_| draw.chance(0.5));
        let nearest = own.map(|own| Relative {
            exe: own.exe.clone(),
            argv: own.argv.clone(),
            uid: own.uid,
        });
        nearest
            .into_iter()
            .chain(story.ancestors.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(exe: &str, malicious: bool, side: Side) -> Item {
        let json = format!(
            r#"{{"id":"1","process":{{"exe":"{exe}","argv":["{exe}"]}},"ancestors":[{{"exe":"{exe}-maker","argv":[]}}]}}"#
        );
        Item {
            body: Body::Story(Box::new(Story::from_json(json.as_bytes()).unwrap())),
            malicious,
            technique: None,
            source: format!("recorded:{exe}"),
            subject: None,
            side,
        }
    }

    #[test]
    fn lineages_are_those_of_fitted_honest_recordings_and_of_the_table() {
        let items = [
            recorded("/usr/bin/spool", false, Side::Train),
            recorded("/usr/bin/wall", false, Side::Test),
            recorded("/usr/bin/crowbar", true, Side::Train),
        ];
        let lineages = Lineages::of(&items);
        let mut draw = Draw::new(7);
        let drawn: Vec<Vec<String>> = (0..200)
            .map(|_| lineages.one(&mut draw))
            .map(|links| links.into_iter().map(|link| link.exe).collect())
            .collect();
        let count = |nearest: &str| {
            let is_it = |links: &&Vec<String>| links.first().is_some_and(|exe| exe == nearest);
            drawn.iter().filter(is_it).count()
        };
        let (own, above) = (count("/usr/bin/spool"), count("/usr/bin/spool-maker"));
        assert!(own > 20 && above > 20, "{own} {above}");
        assert!(drawn.len() - own - above > 60, "{own} {above}");
        let mut all = drawn.iter().flatten();
        assert!(!all.any(|exe| exe.contains("wall") || exe.contains("crowbar")));
    }
}
