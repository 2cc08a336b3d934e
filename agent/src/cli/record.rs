//! `cordon-agent record`: what happens on this host, as stories or events in files.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cordon_history::LossLine;
use cordon_sensor::{Event, EventBody, Scope, Sensor, SensorConfig};
use jiff::Timestamp;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::output::Output;
use crate::config::{self, Config};
use crate::recording::{Keep, Recording, Written};
use crate::telling::Teller;

/// Events between sensor and recording: a start-up snapshot of a large host, or most of a second at 20,000 a second.
const EVENTS: usize = 16_384;
/// What is recorded is on its way to the disk after at most this long.
const FLUSH: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(100);

/// What to record, and how much of it to keep.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Folder of the files; made when it is missing.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Record the raw events instead of stories.
    #[arg(long)]
    events: bool,
    /// Begin another file when one has this many bytes.
    #[arg(long, value_name = "N", default_value_t = 64 << 20, value_parser = clap::value_parser!(u64).range(4096..))]
    max_bytes: u64,
    /// Files to keep; the oldest go first.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    keep: u16,
    /// Stop after this many seconds; without it, at Ctrl-C or SIGTERM.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// host, pidns or cgroup:PATH, in place of the configured one.
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    scope: Option<Scope>,
}

fn scope(text: &str) -> Result<Scope, String> {
    config::parse_scope(text)
}

pub(super) fn run(options: &Options, config: &Config, out: &Output) -> Result<ExitCode> {
    let kind = if options.events { "events" } else { "stories" };
    let keep = Keep {
        file_bytes: options.max_bytes,
        files: options.keep.into(),
    };
    // Before anything is attached to the kernel: a folder that will not do is told at once.
    let recording = Recording::begin(&options.output, kind, keep)?;
    let stop = stop_signal().context("cannot watch for Ctrl-C")?;
    let (sender, events) = sync_channel(EVENTS);
    let overflow = Arc::new(AtomicU64::new(0));
    let overflowed = Arc::clone(&overflow);
    let sensor = Sensor::start(sensor_config(options, config), move |event| {
        if sender.try_send(event).is_err() {
            overflowed.fetch_add(1, Ordering::Relaxed);
        }
    })?;
    announce(&sensor, options);
    let mut session = Session {
        recording,
        teller: (!options.events).then(Teller::default),
        overflow,
        lost: 0,
    };
    let until = options
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let is_over =
        || stop.load(Ordering::Relaxed) || until.is_some_and(|until| Instant::now() >= until);
    session.record(&events, is_over)?;
    // The way to the recording closes with it; what is under way is still taken.
    drop(sensor);
    session.record(&events, || false)?;
    session.rest(Timestamp::now())?;
    let (lost, written) = (session.lost, session.recording.end(Timestamp::now())?);
    tell(out, &written, lost, options)
}

fn sensor_config(options: &Options, config: &Config) -> SensorConfig {
    let configured = config.sensor.clone();
    SensorConfig {
        scope: options.scope.clone().unwrap_or(configured.scope),
        // What was seen on this host is the daemon's to remember.
        state_dir: None,
        ..configured
    }
}

fn announce(sensor: &Sensor, options: &Options) {
    let folder = options.output.display();
    eprintln!("recording into {folder} by {}", sensor.mode());
    if let Some(why) = sensor.fallback_reason() {
        eprintln!(
            "warning: without eBPF much is not seen ({why}): `cordon-agent doctor` says what"
        );
    }
}

fn tell(out: &Output, written: &Written, lost: u64, options: &Options) -> Result<ExitCode> {
    let kind = if options.events { "events" } else { "stories" };
    let object = json!({ "recorded": kind, "written": written, "lost": lost });
    out.say(&object, || {
        let Written {
            lines,
            files,
            bytes,
        } = written;
        format!("{lines} lines of {kind} in {files} files, {bytes} bytes; {lost} events lost")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Set by SIGINT or SIGTERM.
fn stop_signal() -> std::io::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stopped.store(true, Ordering::Relaxed);
    };
    std::thread::Builder::new()
        .name("cordon-signal".to_owned())
        .spawn(wait)?;
    Ok(stop)
}

struct Session {
    recording: Recording,
    /// None: the events themselves are recorded.
    teller: Option<Teller>,
    overflow: Arc<AtomicU64>,
    lost: u64,
}

impl Session {
    /// Records until it is over, or until there can be no more events.
    fn record(&mut self, events: &Receiver<Event>, is_over: impl Fn() -> bool) -> Result<()> {
        let mut flushed = Instant::now();
        loop {
            let next = events.recv_timeout(LOOK);
            let now = Timestamp::now();
            match next {
                Ok(event) => self.take(&event, now)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.overflowed(now),
            }
            if flushed.elapsed() >= FLUSH {
                self.overflowed(now)?;
                self.recording.flush(now)?;
                flushed = Instant::now();
            }
            if is_over() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, event: &Event, now: Timestamp) -> Result<()> {
        let loss = match &event.body {
            EventBody::Loss { source, count } => Some((source, *count)),
            _ => None,
        };
        self.lost += loss.map_or(0, |(_, count)| count);
        let Some(teller) = &mut self.teller else {
            return Ok(self.recording.line(event, now)?);
        };
        if let Some((source, count)) = loss {
            let line = LossLine::new(event.wall_ns, source, count);
            return Ok(self.recording.line(&line, now)?);
        }
        for story in teller.tell(event) {
            self.recording.line(&story, now)?;
        }
        Ok(())
    }

    /// Writes down the stories that were put off.
    fn rest(&mut self, now: Timestamp) -> Result<()> {
        for story in self.teller.iter_mut().flat_map(Teller::rest) {
            self.recording.line(&story, now)?;
        }
        Ok(())
    }

    /// Writes down what found no room on its way here.
    fn overflowed(&mut self, now: Timestamp) -> Result<()> {
        let count = self.overflow.swap(0, Ordering::Relaxed);
        if count == 0 {
            return Ok(());
        }
        let wall_ns = now.as_nanosecond().max(0) as u64;
        let loss = EventBody::Loss {
            source: "record/queue".to_owned(),
            count,
        };
        let event = Event {
            mono_ns: 0,
            wall_ns,
            process: cordon_sensor::ProcessKey::NONE,
            cgroup_id: 0,
            container: None,
            body: loss,
        };
        self.take(&event, now)
    }
}
