//! The configuration file: read once, checked once.
//!
//! Every key has a default, so an empty file is a good one. `docs/agent.md` has the table.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use cordon_sensor::{FilesConfig, Mode, Scope, SensorConfig};
use serde::Deserialize;

use crate::durable::{self, DiskError};

/// Where the configuration lies unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/cordon/agent.toml";
const VERSION: u32 = 1;
const MAX_BYTES: u64 = 1 << 20;
/// Most paths in one of the lists of files; the sensor marks each in the kernel.
const MAX_PATHS: usize = 1024;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What must outlive a reboot: identity, policy, isolation, spool. Default `/var/lib/cordon`.
    pub state_dir: PathBuf,
    /// The daemon's socket and lock. Default `/run/cordon`.
    pub run_dir: PathBuf,
    /// What to watch, and how.
    pub sensor: SensorConfig,
    /// The model artifact. Default `/usr/share/cordon/model`.
    pub model_dir: PathBuf,
    /// Whether only a model counts that the site has signed. Default no: a model that came with the package has no
    /// signature. One that is there must hold either way.
    pub model_signed: bool,
    /// Most that the network may take of one core over time, percent. Default 50.
    pub judge_cpu_percent: u8,
    /// Rules, indicators and exceptions. Default `/etc/cordon/rules`.
    pub rules_dir: PathBuf,
    /// The rules that come with Cordon count. Default true.
    pub rules_embedded: bool,
    /// Most bytes of records that wait for the controller. Default 64 MiB.
    pub spool_max_bytes: u64,
    /// Between two signs of life. Default 5 s.
    pub heartbeat: Duration,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration: {0}")]
    Disk(#[source] DiskError),
    /// `--config` names a file that is not there.
    #[error("configuration {0} does not exist")]
    Missing(PathBuf),
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("configuration {path}, line {line}: {why}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// The parser's complaint: for an unknown key also which keys there are.
        why: String,
    },
    /// A value that makes no sense.
    #[error("configuration {path}: {key} {why}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    version: u32,
    state_dir: PathBuf,
    run_dir: PathBuf,
    sensor: RawSensor,
    model: RawModel,
    judge: RawJudge,
    rules: RawRules,
    spool: RawSpool,
    uplink: RawUplink,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            version: VERSION,
            state_dir: "/var/lib/cordon".into(),
            run_dir: "/run/cordon".into(),
            sensor: RawSensor::default(),
            model: RawModel::default(),
            judge: RawJudge::default(),
            rules: RawRules::default(),
            spool: RawSpool::default(),
            uplink: RawUplink::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSensor {
    scope: String,
    mode: RawMode,
    ring_bytes: u32,
    files: RawFiles,
}

impl Default for RawSensor {
    fn default() -> Self {
        Self {
            scope: "host".to_owned(),
            mode: RawMode::Auto,
            ring_bytes: SensorConfig::default().ring_bytes,
            files: RawFiles::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawFiles {
    defaults: bool,
    watched: Vec<PathBuf>,
    secrets: Vec<PathBuf>,
    decoys: Vec<PathBuf>,
}

impl Default for RawFiles {
    fn default() -> Self {
        Self {
            defaults: true,
            watched: Vec::new(),
            secrets: Vec::new(),
            decoys: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawMode {
    Auto,
    Ebpf,
    Proc,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawModel {
    dir: PathBuf,
    signed: bool,
}

impl Default for RawModel {
    fn default() -> Self {
        Self {
            dir: "/usr/share/cordon/model".into(),
            signed: false,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawJudge {
    cpu_percent: u64,
}

impl Default for RawJudge {
    fn default() -> Self {
        Self { cpu_percent: 50 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRules {
    dir: PathBuf,
    embedded: bool,
}

impl Default for RawRules {
    fn default() -> Self {
        Self {
            dir: "/etc/cordon/rules".into(),
            embedded: true,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSpool {
    max_bytes: u64,
}

impl Default for RawSpool {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawUplink {
    heartbeat_seconds: u64,
}

impl Default for RawUplink {
    fn default() -> Self {
        Self {
            heartbeat_seconds: 5,
        }
    }
}

impl Config {
    /// Reads the file that `--config` names; without it the default one, which may be missing.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let at = path.unwrap_or(Path::new(DEFAULT_PATH));
        match durable::read(at, MAX_BYTES).map_err(ConfigError::Disk)? {
            Some(bytes) => Self::parse(at, &String::from_utf8_lossy(&bytes)),
            None if path.is_none() => Self::parse(at, ""),
            None => Err(ConfigError::Missing(at.to_owned())),
        }
    }

    /// Checks a file's content; `path` is for error messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text).map_err(|error| ConfigError::Malformed {
            path: path.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            why: error.message().to_owned(),
        })?;
        raw.check().map_err(|(key, why)| ConfigError::Invalid {
            path: path.to_owned(),
            key,
            why,
        })
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("agent.sock")
    }
}

impl Default for Config {
    fn default() -> Self {
        Raw::default().check().expect("the defaults are valid")
    }
}

type Complaint = (&'static str, String);

impl Raw {
    fn check(self) -> Result<Config, Complaint> {
        if self.version != VERSION {
            let why = format!("is {}, this agent reads version {VERSION}", self.version);
            return Err(("version", why));
        }
        let state_dir = absolute("state_dir", self.state_dir)?;
        Ok(Config {
            run_dir: absolute("run_dir", self.run_dir)?,
            sensor: SensorConfig {
                state_dir: Some(state_dir.clone()),
                ..self.sensor.check()?
            },
            state_dir,
            model_dir: absolute("model.dir", self.model.dir)?,
            model_signed: self.model.signed,
            judge_cpu_percent: within("judge.cpu_percent", self.judge.cpu_percent, 1, 100)? as u8,
            rules_dir: absolute("rules.dir", self.rules.dir)?,
            rules_embedded: self.rules.embedded,
            spool_max_bytes: within("spool.max_bytes", self.spool.max_bytes, 1 << 20, 1 << 34)?,
            heartbeat: Duration::from_secs(within(
                "uplink.heartbeat_seconds",
                self.uplink.heartbeat_seconds,
                1,
                300,
            )?),
        })
    }
}

impl RawSensor {
    fn check(self) -> Result<SensorConfig, Complaint> {
        let ring = within(
            "sensor.ring_bytes",
            self.ring_bytes.into(),
            1 << 16,
            1 << 28,
        )?;
        Ok(SensorConfig {
            scope: scope(&self.scope)?,
            mode: match self.mode {
                RawMode::Auto => Mode::Auto,
                RawMode::Ebpf => Mode::Ebpf,
                RawMode::Proc => Mode::Proc,
            },
            ring_bytes: ring as u32,
            files: self.files.check()?,
            ..SensorConfig::default()
        })
    }
}

impl RawFiles {
    fn check(self) -> Result<FilesConfig, Complaint> {
        Ok(FilesConfig {
            defaults: self.defaults,
            watched: paths("sensor.files.watched", self.watched)?,
            secrets: paths("sensor.files.secrets", self.secrets)?,
            decoys: paths("sensor.files.decoys", self.decoys)?,
        })
    }
}

/// Paths to watch: each below the root, and written as the kernel will name it.
fn paths(key: &'static str, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, Complaint> {
    if paths.len() > MAX_PATHS {
        let why = format!("has {} paths, wanted at most {MAX_PATHS}", paths.len());
        return Err((key, why));
    }
    for path in &paths {
        let mut parts = path.components();
        let is_rooted = parts.next() == Some(Component::RootDir);
        let names = parts.filter(|part| matches!(part, Component::Normal(_)));
        if !is_rooted
            || names.count() == 0
            || path.components().any(|part| part == Component::ParentDir)
        {
            let why = format!(
                "has {:?}, wanted absolute paths below / without ..",
                path.display().to_string()
            );
            return Err((key, why));
        }
    }
    Ok(paths)
}

fn scope(text: &str) -> Result<Scope, Complaint> {
    parse_scope(text).map_err(|why| ("sensor.scope", why))
}

/// Reads `host`, `pidns` or `cgroup:PATH`; says what is wrong.
pub(crate) fn parse_scope(text: &str) -> Result<Scope, String> {
    match (text, text.strip_prefix("cgroup:")) {
        ("host", _) => Ok(Scope::Host),
        ("pidns", _) => Ok(Scope::PidNamespace),
        (_, Some(path)) if !path.is_empty() => Ok(Scope::Cgroup(path.into())),
        _ => Err(format!(
            "is {text:?}, wanted \"host\", \"pidns\" or \"cgroup:PATH\""
        )),
    }
}

fn absolute(key: &'static str, path: PathBuf) -> Result<PathBuf, Complaint> {
    if path.is_absolute() {
        return Ok(path);
    }
    let why = format!("is {}, wanted an absolute path", path.display());
    Err((key, why))
}

fn within(key: &'static str, value: u64, least: u64, most: u64) -> Result<u64, Complaint> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err((key, format!("is {value}, wanted {least} to {most}")))
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}
