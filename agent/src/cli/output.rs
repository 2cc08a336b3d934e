//! What a command prints.

use std::io::{self, Write as _};

use serde::Serialize;

/// Text for people, or JSON.
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints one answer.
    pub(super) fn say(
        &self,
        object: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut stdout, object)?;
            writeln!(stdout)?;
        } else {
            writeln!(stdout, "{}", text())?;
        }
        stdout.flush()
    }
}

/// Text from elsewhere, safe for a terminal: no control characters, no bidirectional marks.
pub(super) fn plain(text: &str) -> String {
    let is_safe = |c: char| !c.is_control() && !is_bidirectional(c);
    text.chars()
        .map(|c| if is_safe(c) { c } else { '\u{fffd}' })
        .collect()
}

fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
