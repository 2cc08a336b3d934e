//! The recorder: PID 1 of a node's own PID namespace. Starts the work, watches it with the sensor, tells what each
//! process's story was and whether it carries the attack.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Write,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use cordon_behavior::{
    Behavior, Limits,
    event::{Event, EventBody, ProcessKey},
    story::{Facts, Relative, Story},
};
use cordon_sensor::{FilesConfig, Mode, Scope, Sensor, SensorConfig, mono_ns};
use serde::Deserialize;

use super::label::{Rule, image_of};

/// Most telling stories of one variant; a build would give thousands of the same kind. Of its context as many as
/// are left of these, and at least a quarter of them.
const STORIES: usize = 60;
/// Stories of one variant that differ in numbers only and are as far along.
const ALIKE: usize = 3;
/// What the plan tells the recorder.
#[derive(Debug, Deserialize)]
struct Orders {
    #[serde(flatten)]
    rule: Rule,
    decoys: Vec<std::path::PathBuf>,
    linger_ms: u64,
    limit_ms: u64,
    init: bool,
}

/// What is known while watching.
struct Watch {
    orders: Orders,
    behavior: Behavior,
    depths: HashMap<ProcessKey, u32>,
    stories: Vec<(String, Story)>,
    seen: BTreeSet<String>,
    alike: BTreeMap<String, usize>,
    told: BTreeSet<ProcessKey>,
}

/// Records one node; `orders` is the plan's file. Lines go to standard output.
pub fn watch(orders: &std::path::Path) -> Result<()> {
    let text = std::fs::read(orders).with_context(|| format!("read {}", orders.display()))?;
    let orders: Orders = serde_json::from_slice(&text).context("parse orders")?;
    let (sender, events) = mpsc::sync_channel::<Event>(65_536);
    let config = SensorConfig {
        scope: Scope::PidNamespace,
        mode: Mode::Auto,
        files: FilesConfig {
            decoys: orders.decoys.clone(),
            ..FilesConfig::default()
        },
        ..SensorConfig::default()
    };
    // A full channel would stall the sensor: what does not fit is missed here and noticed as a short recording.
    let sensor = Sensor::start(config, move |event| drop(sender.try_send(event)))
        .context("start the sensor")?;
    let deadline = Instant::now() + Duration::from_millis(orders.limit_ms);
    let linger = Duration::from_millis(orders.linger_ms);
    let mut child = Command::new("/run/.peer/start")
        .env_remove("_I")
        .current_dir("/")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .context("start the work")?;
    let mut watch = Watch::new(orders);
    let mut ended: Option<Instant> = None;
    loop {
        match events.recv_timeout(Duration::from_millis(20)) {
            Ok(event) => watch.take(&event, child.id()),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                watch.tell_put_off(mono_ns());
                if ended.is_none() && child.try_wait().context("wait for the work")?.is_some() {
                    ended = Some(Instant::now());
                }
                if ended.is_some_and(|at| at.elapsed() > linger) {
                    break;
                }
            }
        }
        if Instant::now() > deadline {
            break;
        }
    }
    watch.last_looks();
    let counters = sensor.counters();
    if counters.lost > 0 {
        eprintln!(
            "{} of {} events were lost",
            counters.lost,
            counters.seen + counters.lost
        );
    }
    watch.write()
}

impl Watch {
    fn new(orders: Orders) -> Self {
        Self {
            orders,
            behavior: Behavior::new(Limits::default()),
            depths: HashMap::new(),
            stories: Vec::new(),
            seen: BTreeSet::new(),
            alike: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    fn take(&mut self, event: &Event, root: u32) {
        match &event.body {
            EventBody::Fork { child } => self.found(*child, Some(event.process), root),
            EventBody::Exec(exec) => self.found(event.process, exec.parent, root),
            _ => {}
        }
        for trigger in self.behavior.apply(event) {
            self.tell(trigger.process);
        }
        // The first dozens of files of a storm, whether or not they are worth judging yet: a model has to know both.
        if matches!(event.body, EventBody::FileRates(_)) {
            self.tell(event.process);
        }
    }

    /// What happened too often to be told at once, as the agent's judge is told it.
    fn tell_put_off(&mut self, now_ns: u64) {
        for trigger in self.behavior.due(now_ns) {
            self.tell(trigger.process);
        }
    }

    /// Learns how deep below the recorder's child a process is; by who forked it, so that a daemon keeps its place.
    fn found(&mut self, process: ProcessKey, parent: Option<ProcessKey>, root: u32) {
        if self.depths.contains_key(&process) {
            return;
        }
        if process.pid == root {
            self.depths.insert(process, 0);
        } else if let Some(depth) = parent.and_then(|parent| self.depths.get(&parent)) {
            self.depths.insert(process, depth + 1);
        }
    }

    fn tell(&mut self, process: ProcessKey) {
        let Some(depth) = self.depths.get(&process).copied() else {
            return;
        };
        let Some(mut story) = self.behavior.story(process) else {
            return;
        };
        if depth == 0 || is_ours(&image_of(&story)) {
            return;
        }
        scrub(&mut story, self.orders.init);
        let label = self.orders.rule.label(&story, depth);
        story.id = String::new();
        let Ok(text) = serde_json::to_string(&story) else {
            return;
        };
        let alike = self.alike.entry(shape_of(&story)).or_default();
        if *alike >= ALIKE || !self.seen.insert(text) {
            return;
        }
        *alike += 1;
        self.told.insert(process);
        self.stories.push((label, story));
    }

    /// A process whose story grew since it was told is told once more when all is over.
    fn last_looks(&mut self) {
        while self.behavior.is_waiting() {
            self.tell_put_off(u64::MAX);
        }
        let mut all: Vec<ProcessKey> = self.told.iter().copied().collect();
        all.sort_by_key(|key| key.start_ns);
        for process in all {
            self.tell(process);
        }
    }

    fn write(self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let (context, telling): (Vec<_>, Vec<_>) = self
            .stories
            .iter()
            .partition(|(label, _)| label == "context");
        let room = STORIES.saturating_sub(telling.len()).max(STORIES / 4);
        for line in thinned(&telling, STORIES).chain(thinned(&context, room)) {
            serde_json::to_writer(&mut out, line).context("write a story")?;
            out.write_all(b"\n").context("write a story")?;
        }
        out.flush().context("write the stories")
    }
}

/// At most `most` of them, evenly from beginning to end.
fn thinned<T>(lines: &[T], most: usize) -> impl Iterator<Item = &T> {
    lines.iter().step_by(lines.len().div_ceil(most).max(1))
}

/// What a story says without its numbers, and how far along it is: work on a hundred files is told a few times
/// only, and so is each step of its growth.
fn shape_of(story: &Story) -> String {
    let argv = story.process.iter().flat_map(|own| &own.argv);
    let words = argv.flat_map(|argument| argument.chars().chain(Some(' ')));
    let words: String = words
        .filter(|character| !character.is_ascii_digit())
        .collect();
    let step = |count: usize| usize::BITS - count.leading_zeros();
    let changed = story.facts.file_rates.as_ref().map_or(0, |rates| {
        (rates.written + rates.renamed + rates.unlinked) as usize
    });
    let facts = Facts {
        file_rates: None,
        ..story.facts.clone()
    };
    let steps = [
        story.children.len(),
        story.connections.len(),
        story.dns.len(),
        story.files.len(),
        changed,
        usize::from(!facts.is_empty()),
    ];
    format!("{words}{:?}", steps.map(step))
}

/// What belongs to the recording itself.
fn is_ours(exe: &str) -> bool {
    exe.starts_with("/run/.p")
}

/// Takes the recorder out of the lineage; half of the recordings start at an init system, as hosts do, half show
/// nothing above the first daemon, as containers do.
fn scrub(story: &mut Story, init: bool) {
    if let Some(ours) = story
        .ancestors
        .iter()
        .position(|ancestor| is_ours(&ancestor.exe))
    {
        story.ancestors.truncate(ours);
        let at_init = story
            .ancestors
            .last()
            .is_some_and(|top| top.exe.ends_with("/systemd"))
            || image_of(story).ends_with("/systemd");
        if init && !at_init {
            story.ancestors.push(Relative {
                exe: "/usr/lib/systemd/systemd".to_owned(),
                argv: vec!["/sbin/init".to_owned()],
                uid: Some(0),
            });
        }
    }
}
