//! Who descends from whom.

use super::{Behavior, key_of};
use crate::event::ProcessKey;

impl Behavior {
    /// Everybody who descends from a process and is not known to have ended, whoever between them has, and whoever took
    /// them up since: a double fork is told like any other.
    pub fn living_below(&self, process: ProcessKey) -> Vec<ProcessKey> {
        let below = self.descendants(process, usize::MAX, self.len());
        let keys = below.into_iter().map(|(key, _)| key);
        let lives = |key: &ProcessKey| {
            let node = self.nodes.get(key);
            node.is_some_and(|node| node.ended_ns.is_none())
        };
        keys.filter(lives).collect()
    }

    /// Descendants with their depth, breadth first, newest first among brothers.
    pub(crate) fn descendants(
        &self,
        process: ProcessKey,
        depth: usize,
        most: usize,
    ) -> Vec<(ProcessKey, usize)> {
        let mut found = vec![(process, 0)];
        let mut next = 0;
        while next < found.len() && found.len() <= most {
            let (parent, at) = found[next];
            next += 1;
            let Some(node) = self.nodes.get(&parent) else {
                continue;
            };
            if at < depth {
                let room = most + 1 - found.len();
                let children = node.children.iter().rev().map(key_of).take(room);
                found.extend(children.map(|child| (child, at + 1)));
            }
        }
        found.remove(0);
        found
    }
}
