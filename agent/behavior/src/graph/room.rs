//! Keeping the graph within its bytes: accounting, and what is forgotten first.

use std::sync::Arc;

use super::node::Worth;
use super::{Behavior, Image, Node, key_of};
use crate::event::ProcessKey;

/// Logins of the host are forgotten after half a day.
const KEEP_LOGINS_NS: u64 = 12 * 60 * 60 * 1_000_000_000;

impl Behavior {
    /// Forgets the processes that ended long enough ago and that nobody descends from. Every event
    /// does so too, by its own time.
    pub fn forget_exited(&mut self, now_mono_ns: u64) {
        let deadline = now_mono_ns.saturating_sub(self.limits.keep_ended_ns);
        while let Some(&(Worth::EndedLeaf, _, key)) = self.order.first() {
            // The order is by last touch, and little touches an ended leaf: oldest end first, but
            // for the few whose connections are told of late.
            if self.nodes[&key].ended_ns.is_none_or(|end| end >= deadline) {
                break;
            }
            self.remove(key);
        }
        self.logins
            .forget_before(now_mono_ns.saturating_sub(KEEP_LOGINS_NS));
    }

    pub(super) fn make_room(&mut self) {
        while self.bytes() > self.limits.bytes {
            let Some(&(_, _, key)) = self.order.first() else {
                break;
            };
            self.remove(key);
        }
    }

    pub(super) fn insert(&mut self, key: ProcessKey, mut node: Node) {
        self.touches += 1;
        node.touched = self.touches;
        self.order.insert((node.worth(), node.touched, key));
        self.bytes += node.bytes();
        self.nodes.insert(key, node);
    }

    /// The only way in which a node changes: keeps its place in the order and the bytes right.
    pub(super) fn edit<R>(
        &mut self,
        key: ProcessKey,
        change: impl FnOnce(&mut Node) -> R,
    ) -> Option<R> {
        let node = self.nodes.get_mut(&key)?;
        let before = node.bytes();
        self.order.remove(&(node.worth(), node.touched, key));
        let result = change(node);
        self.touches += 1;
        node.touched = self.touches;
        self.order.insert((node.worth(), node.touched, key));
        self.bytes = self.bytes - before + node.bytes();
        Some(result)
    }

    /// The children of a forgotten process become its parent's, so that lineages stay whole.
    fn remove(&mut self, key: ProcessKey) {
        let Some(node) = self.nodes.remove(&key) else {
            return;
        };
        self.order.remove(&(node.worth(), node.touched, key));
        self.bytes -= node.bytes();
        if self.by_pid.get(&key.pid) == Some(&key) {
            self.by_pid.remove(&key.pid);
        }
        let heir = node.parent.filter(|parent| self.nodes.contains_key(parent));
        for child in node.children.iter().map(key_of) {
            self.edit(child, |orphan| orphan.parent = heir);
        }
        if let Some(heir) = heir {
            self.edit(heir, |parent| {
                parent.children.remove(&(key.start_ns, key.pid));
                parent.children.extend(&node.children);
            });
        }
        for image in node.image.into_iter().chain(node.previous) {
            self.drop_image(image);
        }
        if let Some(container) = node.container {
            self.containers.release(container);
        }
        if let Some(doings) = &node.doings {
            self.cancel(key, &doings.pace);
        }
    }

    /// A shared image is paid for until its last holder lets go.
    pub(super) fn drop_image(&mut self, image: Arc<Image>) {
        if let Some(image) = Arc::into_inner(image) {
            self.bytes -= image.bytes();
        }
    }
}
