//! Tells a person what happens while it happens, with the time since the start.

use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Instant;

/// Writes one line an event.
pub struct Narrator {
    started: Instant,
    out: Mutex<Box<dyn Write + Send>>,
}

impl Narrator {
    /// For people on a terminal.
    pub fn to_stdout() -> Self {
        Self::to(Box::new(io::stdout()))
    }

    /// When standard output belongs to a program.
    pub fn to_stderr() -> Self {
        Self::to(Box::new(io::stderr()))
    }

    fn to(out: Box<dyn Write + Send>) -> Self {
        Self {
            started: Instant::now(),
            out: Mutex::new(out),
        }
    }

    /// A step begins.
    pub fn step(&self, title: &str) {
        self.line(&format!("\n[{:6.2} s] {title}", self.elapsed()));
    }

    /// Something happened within the step.
    pub fn note(&self, text: &str) {
        self.line(&format!("[{:6.2} s]   {text}", self.elapsed()));
    }

    /// A fact that was checked, with the answer.
    pub fn check(&self, text: &str, holds: bool) {
        let mark = if holds { "ok" } else { "FAILED" };
        self.note(&format!("{mark:<6} {text}"));
    }

    /// Lines without a time.
    pub fn plain(&self, text: &str) {
        self.line(text);
    }

    fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn line(&self, text: &str) {
        let Ok(mut out) = self.out.lock() else { return };
        // Nobody may be listening any more; the work goes on.
        drop(writeln!(out, "{text}").and_then(|()| out.flush()));
    }
}
