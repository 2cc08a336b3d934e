//! `cordon-agent replay`: what a recording or another tool's log tells, as stories or verdicts.

mod input;
mod report;

use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use cordon_behavior::story::Story;
use cordon_history::{Format, History, Item};
use cordon_proto::verdict::VerdictKind;

use super::BAD_LINES;
use super::judge::InOrder;
use super::lines::{self, Lines};
use crate::telling::Teller;
use input::Input;
use report::Report;

pub(super) const FORMATS: &str = "\
Formats:
  stories  what `cordon-agent record` writes
  events   what `cordon-agent record --events` writes
  audit    /var/log/audit/audit.log, raw or enriched, x86-64 and aarch64
  laurel   laurel's JSON lines of the same
  sysmon   Sysmon for Linux, XML events in syslog's lines
  ocsf     OCSF 1.x JSON lines: process, network, DNS, file and authentication activity";

/// Lines of no known format after which there is no use in reading on.
const UNRECOGNISED: u64 = 100;
const BUFFER: usize = 256 * 1024;

pub(super) fn run(
    file: &Path,
    format: Option<Format>,
    judge: Option<InOrder>,
    json: bool,
) -> Result<ExitCode> {
    let input = Input::open(file)?;
    let mut replay = Replay {
        history: History::new(format),
        teller: Teller::default(),
        judge,
        out: BufWriter::with_capacity(BUFFER, io::stdout().lock()),
        report: Report::new(json),
    };
    match replay.read(file, input) {
        // Whoever reads has enough: `replay ... | head`.
        Err(error) if is_broken_pipe(&error) => return Ok(ExitCode::SUCCESS),
        done => done?,
    }
    let bad = replay.report.bad;
    Ok(ExitCode::from(if bad == 0 { 0 } else { BAD_LINES }))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

struct Replay<W: Write> {
    history: History,
    teller: Teller,
    judge: Option<InOrder>,
    out: W,
    report: Report,
}

impl<W: Write> Replay<W> {
    fn read(&mut self, file: &Path, input: Input) -> Result<()> {
        let is_compressed = input.is_compressed();
        let mut lines = Lines::new(BufReader::with_capacity(BUFFER, input));
        let mut items = Vec::new();
        loop {
            let line = match lines.next(|| self.out.flush()) {
                Ok(Some(line)) => line,
                Ok(None) => break,
                // What comes after the damage cannot be read any more; what came before is told.
                Err(error) if is_compressed && error.raw_os_error().is_none() => {
                    let why = format!("the compressed data is damaged or cut off here: {error}");
                    self.report.bad(&mut self.out, lines.number() + 1, &why)?;
                    break;
                }
                Err(error) => return Err(error).with_context(|| cannot_read(file)),
            };
            let read = match line.text {
                Some(text) => self
                    .history
                    .line(text, &mut items)
                    .map_err(|why| why.to_string()),
                None => Err(lines::too_long()),
            };
            let number = line.number;
            if let Err(why) = read {
                self.report.bad(&mut self.out, number, &why)?;
            }
            if self.history.format().is_none() && self.report.bad >= UNRECOGNISED {
                break;
            }
            self.tell(&mut items)?;
        }
        self.history.end(&mut items);
        self.tell(&mut items)?;
        for story in self.teller.rest() {
            tell_story(&story, &mut self.judge, &mut self.report, &mut self.out)?;
        }
        self.report.lines = lines.number();
        self.close(file)
    }

    fn close(&mut self, file: &Path) -> Result<()> {
        let format = self.history.format();
        if format.is_none() && self.report.bad > 0 {
            self.out.flush()?;
            bail!(
                "cannot tell the format of {}: give --format stories, events, audit, laurel, sysmon or ocsf",
                file.display()
            );
        }
        self.report
            .close(&mut self.out, format, self.judge.is_some())?;
        Ok(self.out.flush()?)
    }

    fn tell(&mut self, items: &mut Vec<Item>) -> Result<()> {
        for item in items.drain(..) {
            match item {
                Item::Story(story) => {
                    tell_story(&story, &mut self.judge, &mut self.report, &mut self.out)?;
                }
                Item::Loss { source, count } => self.report.lost(&mut self.out, &source, count)?,
                Item::Event(event) => {
                    self.report.events += 1;
                    for story in self.teller.tell(&event) {
                        tell_story(&story, &mut self.judge, &mut self.report, &mut self.out)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn tell_story(
    story: &Story,
    judge: &mut Option<InOrder>,
    report: &mut Report,
    out: &mut impl Write,
) -> io::Result<()> {
    report.stories += 1;
    match judge {
        None => serde_json::to_writer(&mut *out, story)?,
        Some(judge) => {
            let verdict = judge.verdict(story, None);
            report.malicious += u64::from(verdict.verdict == VerdictKind::Malicious);
            report.suspicious += u64::from(verdict.verdict == VerdictKind::Suspicious);
            serde_json::to_writer(&mut *out, &verdict)?;
        }
    }
    out.write_all(b"\n")
}

fn cannot_read(file: &Path) -> String {
    if file == Path::new("-") {
        "cannot read standard input".to_owned()
    } else {
        format!("cannot read {}", file.display())
    }
}
