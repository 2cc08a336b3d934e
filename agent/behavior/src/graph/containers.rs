//! One description of each container, shared by all of its processes.

use std::collections::HashSet;
use std::sync::Arc;

use super::doings::cut;
use crate::event::Container;

/// Most bytes kept of an id, a runtime or an image's name.
const TEXT_BYTES: usize = 256;

/// Those that a process of the graph is in.
#[derive(Debug, Default)]
pub(super) struct Containers {
    known: HashSet<Arc<Container>>,
    pub(super) bytes: usize,
}

impl Containers {
    /// The graph's own description: the sensor's may be another for each event.
    pub(super) fn share(&mut self, container: &Container) -> Arc<Container> {
        if let Some(known) = self.known.get(container) {
            return Arc::clone(known);
        }
        let short = |text: &str| cut(text, TEXT_BYTES).to_owned();
        let own = Container {
            id: short(&container.id),
            runtime: short(&container.runtime),
            image: short(&container.image),
        };
        if let Some(known) = self.known.get(&own) {
            return Arc::clone(known);
        }
        let own = Arc::new(own);
        self.bytes += bytes(&own);
        self.known.insert(Arc::clone(&own));
        own
    }

    /// Gives back what [`Self::share`] gave.
    pub(super) fn release(&mut self, container: Arc<Container>) {
        // The set's and this one: nobody else has it.
        if Arc::strong_count(&container) == 2 {
            self.known.remove(&container);
            self.bytes -= bytes(&container);
        }
        drop(container);
    }
}

fn bytes(container: &Container) -> usize {
    let text = container.id.len() + container.runtime.len() + container.image.len();
    // The counts of the `Arc`, and its slot in a set at a load of one half.
    size_of::<Container>() + text + 16 + 2 * (size_of::<usize>() + 1)
}
