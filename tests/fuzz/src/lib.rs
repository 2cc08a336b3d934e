//! What the targets share.
#![forbid(unsafe_code)]

use cordon_history::{Format, History, Item};

/// Most lines of one input: more of them reach nothing that fewer do not.
const LINES: usize = 64;

/// Reads the input as a file of one format, or of one that it looks like. The time of what it tells must not go back.
pub fn history(format: Option<Format>, bytes: &[u8]) {
    let mut history = History::new(format);
    let mut items = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').take(LINES) {
        // Damage is an answer like any other.
        drop(history.line(line, &mut items));
    }
    history.end(&mut items);
    if history.format() == Some(Format::Events) {
        return;
    }
    let mut before = 0;
    for item in items {
        if let Item::Event(event) = item {
            assert!(event.mono_ns >= before, "time goes back");
            before = event.mono_ns;
        }
    }
}
