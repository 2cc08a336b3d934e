//! Lines in, items out.

use cordon_behavior::event::Event;
use cordon_behavior::story::Story;

use crate::audit::Audit;
use crate::keys::Keys;
use crate::order::Window;
use crate::seen::Seen;
use crate::{Damage, Format, laurel, ocsf, own, sysmon};

/// What a history tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Somebody did something.
    Event(Box<Event>),
    /// A whole story, as it was recorded.
    Story(Box<Story>),
    /// What the recording says is missing in it.
    Loss {
        /// Ring or source and type.
        source: String,
        /// How many.
        count: u64,
    },
}

/// Reads one file, line by line. Holds at most some 40 MB, whatever the lines are.
pub struct History {
    format: Option<Format>,
    audit: Audit,
    window: Window,
    keys: Keys,
    seen: Vec<Seen>,
}

impl History {
    /// Before the first line. Without a format the first line that looks like one decides.
    pub fn new(format: Option<Format>) -> Self {
        Self {
            format,
            audit: Audit::default(),
            window: Window::default(),
            keys: Keys::default(),
            seen: Vec::new(),
        }
    }

    /// What the file is, once that is known.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// Takes the next line, without its line end; adds what is known now to `out`. An error says why
    /// this line gives nothing; the next one may follow.
    pub fn line(&mut self, line: &[u8], out: &mut Vec<Item>) -> Result<(), Damage> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        if self.format.is_none() {
            self.format = Format::of_line(line);
        }
        let read = match self.format {
            None => return Err(Damage::Unrecognised),
            Some(Format::Stories) => return own::story(line).map(|item| out.push(item)),
            Some(Format::Events) => return own::event(line).map(|item| out.push(item)),
            Some(Format::Audit) => self.audit.line(line, &mut self.seen),
            Some(Format::Laurel) => laurel::line(line, &mut self.seen),
            Some(Format::Sysmon) => sysmon::line(line, &mut self.seen),
            Some(Format::Ocsf) => ocsf::line(line, &mut self.seen),
        };
        for seen in self.seen.drain(..) {
            self.window.put(seen);
        }
        while let Some(seen) = self.window.take() {
            self.keys.tell(seen, out);
        }
        read
    }

    /// There are no more lines: adds what was held back.
    pub fn end(&mut self, out: &mut Vec<Item>) {
        self.audit.end(&mut self.seen);
        for seen in self.seen.drain(..) {
            self.window.put(seen);
        }
        while let Some(seen) = self.window.take_last() {
            self.keys.tell(seen, out);
        }
    }
}
