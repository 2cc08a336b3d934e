//! What is said beside the stories.

use std::io::{self, Write};

use cordon_history::Format;
use serde_json::json;

use crate::cli::output::plain;

/// Damaged lines that are told of one by one on standard error; all are counted.
const TOLD: u64 = 20;

/// Counts, and how they are told: as JSON among the answers, or as text on standard error.
#[derive(Default)]
pub(super) struct Report {
    json: bool,
    pub lines: u64,
    pub events: u64,
    pub stories: u64,
    pub malicious: u64,
    pub suspicious: u64,
    /// Lines that gave nothing.
    pub bad: u64,
    /// Events that the recording says are missing in it.
    pub lost: u64,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            ..Self::default()
        }
    }

    pub(super) fn bad(&mut self, out: &mut impl Write, line: u64, why: &str) -> io::Result<()> {
        self.bad += 1;
        if self.json {
            return writeln!(out, "{}", json!({ "error": why, "line": line }));
        }
        if self.bad <= TOLD {
            eprintln!("line {line}: {}", plain(why));
        } else if self.bad == TOLD + 1 {
            eprintln!("more bad lines are counted and not shown; --json shows all");
        }
        Ok(())
    }

    pub(super) fn lost(
        &mut self,
        out: &mut impl Write,
        source: &str,
        count: u64,
    ) -> io::Result<()> {
        self.lost = self.lost.saturating_add(count);
        if self.json {
            return writeln!(
                out,
                "{}",
                json!({ "loss": { "source": source, "count": count } })
            );
        }
        eprintln!("missing in the recording: {count} of {}", plain(source));
        Ok(())
    }

    pub(super) fn close(
        &self,
        out: &mut impl Write,
        format: Option<Format>,
        judged: bool,
    ) -> io::Result<()> {
        let format = format.map_or("nothing", Format::name);
        if self.json {
            let summary = json!({
                "format": format, "lines": self.lines, "events": self.events,
                "stories": self.stories, "malicious": judged.then_some(self.malicious),
                "suspicious": judged.then_some(self.suspicious),
                "bad_lines": self.bad, "lost": self.lost,
            });
            return writeln!(out, "{}", json!({ "summary": summary }));
        }
        out.flush()?;
        let verdicts = if judged {
            format!(
                ", {} malicious, {} suspicious",
                self.malicious, self.suspicious
            )
        } else {
            String::new()
        };
        eprintln!(
            "{format}: {} lines, {} stories{verdicts}, {} bad lines, {} events lost",
            self.lines, self.stories, self.bad, self.lost
        );
        Ok(())
    }
}
