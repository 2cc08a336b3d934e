//! Starting and stopping, in the order that leaves no gap.
//!
//! An isolation on disk comes first, and is guarded from then on: before the network, the model and the sensor, which
//! take seconds on a busy host. The sensor is attached before the controller hears of this host, so a host that is
//! online is a host that is watched.

mod alone;
mod overdue;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use alone::{Own, limited};
use anyhow::{Context as _, Result};
use cordon_contain::{Blocks, Containment, IsolationSpec, Recovered};
use cordon_judge::{Cascade, Judge};
use cordon_proto::AGENT_SOCKET_MARK;
use cordon_proto::id::HostId;
use cordon_proto::policy::Thresholds;
use cordon_proto::record::RecordBody;
use cordon_sensor::{Coverage, Mode, Sensor};
use cordon_spool::{Options, Spool};
use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::{Notify, mpsc, watch};

use crate::blocking::Blocker;
use crate::config::Config;
use crate::durable::{self, DiskError};
use crate::engine::{Caps, End, Engine, Inbox, Parts};
use crate::filing::Filer;
use crate::guard::{self, Guard, Life};
use crate::hands::Hands;
use crate::host::HostFacts;
use crate::identity::Identity;
use crate::isolation::{Isolation, keep_time};
use crate::judging::{self, Counts, Finding, Kin};
use crate::last_word;
use crate::local;
use crate::model_trust;
use crate::orders::Orders;
use crate::pins::Pins;
use crate::policy_store::PolicyStore;
use crate::prevention::Prevention;
use crate::privileges;
use crate::proposals::{Proposals, clocks};
use crate::recorder::Recorder;
use crate::release_codes::ReleaseCodes;
use crate::rules::{self, Places};
use crate::signals;
use crate::stop_codes::StopCodes;
use crate::stopping::Stopper;
use crate::uplink::{Presence, Uplink};
use crate::vitals::{Vitals, Watching};

const DOWNLINK: usize = 16;
const REQUESTS: usize = 16;
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Runs the daemon until it is told to end. An isolation in force stays in force when it does.
///
/// `config_file` is where the configuration was read: whoever changes it changes the agent.
pub fn run(config: &Config, config_file: &Path) -> Result<End> {
    let own = alone::begin(config, config_file)?;
    let _lock = claim(&config.run_dir)?;
    let ran = run_claimed(config, own);
    if ran.is_err() {
        overdue::open(&config.state_dir);
    }
    ran
}

fn run_claimed(config: &Config, own: Own) -> Result<End> {
    durable::make_folder(&config.state_dir)?;
    let containment = Containment::open(&config.state_dir, AGENT_SOCKET_MARK)?;
    let recovered = recover(&containment);
    let identity = Identity::load(&config.state_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(serve(config, identity, containment, recovered, own));
    runtime.shutdown_timeout(FLUSH_LIMIT);
    served
}

/// What there was of an isolation at the start.
pub struct Found {
    /// How the kernel and the disk were found.
    pub recovered: Recovered,
    /// The isolation in force.
    pub spec: Option<IsolationSpec>,
}

/// Puts an isolation on disk back into the kernel. What fails here is tried again by the engine.
pub fn recover(containment: &Containment) -> Found {
    match containment.recover() {
        Ok(recovered) => {
            tracing::info!(?recovered, "isolation at the start");
            let spec = match &recovered {
                Recovered::Adopted(spec)
                | Recovered::Reapplied(spec, _)
                | Recovered::FromKernel(spec) => Some(spec.clone()),
                _ => None,
            };
            let spec = spec.map(|spec| keep_time(containment, spec));
            Found { recovered, spec }
        }
        Err(error) => {
            tracing::error!(error = %crate::chain(&error), "isolation could not be recovered, trying again");
            let spec = containment.current();
            let recovered = spec.clone().map_or(Recovered::Open, Recovered::Adopted);
            Found { recovered, spec }
        }
    }
}

async fn serve(
    config: &Config,
    identity: Identity,
    containment: Containment,
    found: Found,
    own: Own,
) -> Result<End> {
    let facts = HostFacts::read().context("cannot read the boot id: mount /proc")?;
    let spool = Arc::new(open_spool(config, &facts)?);
    let written = Arc::new(Notify::new());
    let recorder = Recorder::start(Arc::clone(&spool), &config.state_dir, Arc::clone(&written))?;
    let life = begin(config, &facts, identity.host, &recorder);
    let guard = Guard::start(own.files.clone(), identity.host, recorder.clone())?;
    let policy = PolicyStore::load(&config.state_dir, &identity);
    let (thresholds, judge_by) = watch::channel(policy.policy().and_then(|p| p.thresholds));
    let (out, findings) = judging::channel();
    let counts = Arc::new(Counts::default());
    let vitals = Arc::new(Vitals::new(
        Arc::clone(&counts),
        Arc::clone(&spool),
        config.spool_max_bytes,
    ));
    let (hands, outcomes) = Hands::start(containment)?;
    let kin = Arc::new(OnceLock::new());
    let (told, known) = (recorder.clone(), facts.clone());
    let stopper = Stopper::start(&config.state_dir, known, told, Arc::clone(&kin))?;
    let (told, known) = (recorder.clone(), facts.clone());
    let prevention = Prevention::start(told, stopper.clone(), Arc::clone(&counts), known)?;
    let blocker = Blocker::start(Blocks::open(&config.state_dir)?, recorder.clone())?;
    let pins = Arc::new(Pins::load(&config.state_dir, &identity.controller));
    let (presence, presence_seen) = watch::channel(Presence::default());
    let (places, wanted_places) = watch::channel(None);
    let (down, downlink) = mpsc::channel(DOWNLINK);
    let (asking, requests) = mpsc::channel(REQUESTS);
    let parts = Parts {
        orders: Orders::load(&config.state_dir, identity.host, &identity.key)?,
        release_codes: ReleaseCodes::load(&config.state_dir, identity.host),
        isolation: Isolation::restart(found.spec.as_ref(), hands, Timestamp::now()),
        stop_codes: StopCodes::load(&config.state_dir, identity.host),
        proposals: Proposals::load(&config.state_dir, &facts.boot_id, clocks(Timestamp::now())),
        stopper,
        blocker,
        filer: Filer::new(&config.state_dir, recorder.clone()),
        prevention: prevention.clone(),
        guard: guard.clone(),
        caps: Caps::load(&config.state_dir),
        facts: facts.clone(),
        identity: identity.clone(),
        policy,
        recorder: recorder.clone(),
        pins: Arc::clone(&pins),
        presence,
        places,
        thresholds,
        vitals: Arc::clone(&vitals),
    };
    let signals = signals::watch(own.signals).context("cannot listen for signals")?;
    let inbox = Inbox::new(outcomes, findings, downlink, requests, signals);
    let mut engine = Engine::new(parts, inbox, &found.recovered);
    let uplink = Uplink {
        state_dir: config.state_dir.clone(),
        presence: presence_seen,
        places: wanted_places,
        downlink: down,
        heartbeat: config.heartbeat,
        identity,
        facts,
        pins,
        spool,
        written,
        vitals,
    };
    tokio::spawn(local::serve(local::bind(&config.socket())?, asking));
    let mut watched = config.clone();
    watched.sensor.files.watched.extend(own.files.watched());
    let start = Start {
        config: watched,
        guard: guard.clone(),
        degraded: own.degraded,
        judge_by,
        counts,
        out,
        kin,
        prevention,
        identity: uplink.identity.clone(),
    };
    let vitals = Arc::clone(&uplink.vitals);
    let watched = Arc::clone(&vitals);
    let watching = tokio::task::spawn_blocking(move || watched.watches(start.watching()));
    let uplink = tokio::spawn(async move {
        // It cannot fail but by a panic, which ends the daemon.
        drop(watching.await);
        uplink.run().await;
    });
    let end = engine.run().await;
    guard.forget();
    life.end();
    last_words(&recorder, &vitals).await;
    // The session with the controller ends with the engine.
    drop(engine);
    uplink.abort();
    tracing::info!("stopped");
    Ok(end)
}

/// What is still to be told is on disk, and with the controller if that takes no time.
async fn last_words(recorder: &Recorder, vitals: &Vitals) {
    if !recorder.flush(FLUSH_LIMIT) {
        tracing::error!("stopping with records that are not on disk");
    }
    last_word::wait_for_delivery(vitals).await;
}

/// From here on a start sees whether this daemon was cut short, as this one sees it of the one before.
fn begin(config: &Config, facts: &HostFacts, host: HostId, recorder: &Recorder) -> Life {
    let (life, was_cut_short) = Life::begin(&config.state_dir, &facts.boot_id);
    let left = cordon_sensor::signals_left_at(&guard::pin_of(host));
    if was_cut_short {
        let report = guard::cut_short(&left);
        tracing::warn!(what = report.what, "the agent before this one");
        recorder.record(RecordBody::Tamper(report));
    }
    life
}

/// The outbox of this boot.
pub(crate) fn open_spool(config: &Config, facts: &HostFacts) -> Result<Spool> {
    let options = Options {
        max_bytes: config.spool_max_bytes,
    };
    let spool = Spool::open(&spool_dir(config), &facts.boot_id, options)?;
    tracing::info!(opened = ?spool.opened(), stats = ?spool.stats(), "outbox");
    Ok(spool)
}

/// Where the outbox lies.
pub fn spool_dir(config: &Config) -> std::path::PathBuf {
    config.state_dir.join("spool")
}

/// What it takes to begin to watch.
struct Start {
    config: Config,
    judge_by: watch::Receiver<Option<Thresholds>>,
    counts: Arc<Counts>,
    out: mpsc::Sender<Finding>,
    /// Where the graph can be asked, from when there is one.
    kin: Arc<OnceLock<Kin>>,
    prevention: Prevention,
    guard: Guard,
    /// What is known so far not to work.
    degraded: Vec<String>,
    /// Exceptions may be for this host or its group.
    identity: Identity,
}

impl Start {
    /// Loads the model, starts the judge and attaches the sensor. What is missing is named and the rest goes on: an
    /// agent without a model still isolates when it is ordered to.
    fn watching(mut self) -> Watching {
        let mut degraded = std::mem::take(&mut self.degraded);
        let missing = privileges::missing().into_iter();
        degraded
            .extend(missing.map(|(capability, lost)| format!("{capability} is missing: {lost}")));
        let judge = load_judge(&self.config, &self.identity)
            .map_err(|why| degraded.push(why))
            .ok();
        let model = judge.as_ref().map(|judge| judge.model_id().to_owned());
        let rules = load_rules(&self.config);
        degraded.extend(rules.degraded());
        for problem in rules.problems() {
            tracing::warn!(%problem, "rules");
        }
        let identity = &self.identity;
        let floor = rules.floor(&identity.host.to_string(), &identity.audience.group);
        let rules = rules.status();
        let sensor = self
            .sensor(Cascade::new(judge, Some(floor)))
            .map_err(|why| degraded.push(why))
            .ok();
        degraded.extend(limited(privileges::deny_calls()));
        if let Some(sensor) = sensor.as_ref().filter(|sensor| sensor.mode() != Mode::Ebpf) {
            degraded.extend(sensor.coverage().iter().filter_map(lacks));
        }
        if let Err(error) = cordon_contain::supported() {
            degraded.push(format!(
                "this host cannot be isolated: {}",
                crate::chain(&error)
            ));
        }
        for what in &degraded {
            tracing::error!(what, "degraded");
        }
        let mode = sensor
            .as_ref()
            .map_or("none".to_owned(), |s| s.mode().to_string());
        tracing::info!(
            sensor = mode,
            model = model.as_deref().unwrap_or("none"),
            "watching"
        );
        Watching {
            sensor,
            model,
            rules,
            degraded,
        }
    }

    fn sensor(self, judge: Cascade) -> Result<Sensor, String> {
        let percent = self.config.judge_cpu_percent;
        let intake = judging::start(Some(judge), percent, self.judge_by, &self.counts, self.out);
        let intake =
            intake.map_err(|error| format!("the judging thread did not start: {error}"))?;
        let intake = Arc::new(intake);
        self.kin.get_or_init(|| intake.kin());
        let resting = Arc::clone(&intake);
        let (prevention, guard) = (self.prevention.clone(), self.guard.clone());
        let take = move |event| {
            guard.note(&event);
            prevention.note(&event);
            intake.take(event);
        };
        let sensor = Sensor::start_with_rest(self.config.sensor, take, move || resting.rest());
        let mut sensor = sensor.map_err(|error| error.chain())?;
        self.prevention.gate(sensor.take_exec_gate());
        self.guard.watch(sensor.take_guard());
        Ok(sensor)
    }
}

/// A class that the mode at hand does not see, or not in full.
fn lacks(coverage: &Coverage) -> Option<String> {
    let why = coverage.why.as_ref()?;
    let is_here = coverage.covered || coverage.class == "connect";
    is_here.then(|| {
        let remedy = coverage.remedy.as_ref();
        let remedy = remedy.map_or(String::new(), |remedy| format!("; {remedy}"));
        format!("sensor, {}: {why}{remedy}", coverage.class)
    })
}

/// What the configuration says of rules.
pub fn load_rules(config: &Config) -> rules::Loaded {
    rules::load(&Places::of_folder(&config.rules_dir, config.rules_embedded))
}

fn load_judge(config: &Config, identity: &Identity) -> Result<Judge, String> {
    let (model, is_signed) = model_trust::load(config, identity)
        .map_err(|error| format!("nothing is judged but by rules: {}", crate::chain(&error)))?;
    tracing::info!(model = model.id(), is_signed, "model");
    Ok(Judge::new(
        Arc::new(model),
        cordon_judge::Options::default(),
    ))
}

/// One daemon a run directory, or one command that keeps others from starting.
pub fn claim(run_dir: &Path) -> Result<Flock<File>> {
    durable::make_folder(run_dir)?;
    let path = run_dir.join("agent.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(DiskError::of("open", &path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        anyhow::anyhow!(
            "another cordon-agent is running (it holds {}): stop it first",
            path.display()
        )
    })
}
