//! The socket by which root at the machine talks to the daemon: one line of JSON asks, one answers.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cordon_contain::Block;
use cordon_proto::id::{HostId, IsolationId};
use cordon_proto::record::{IsolationReport, QuarantineReport, ReleaseChallenge};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::durable::{self, DiskError};
use crate::judging::QueueStatus;
use crate::metrics::{CacheStatus, LagSummary};
use crate::proposals::Waits;
use crate::release_codes::Permit;
use crate::rules::RulesStatus;

const MAX_LINE: u64 = 64 << 10;
const CONNECTIONS: usize = 8;
const QUESTION_LIMIT: Duration = Duration::from_secs(5);
/// Longest that a command waits for the daemon: an isolation with its proof takes about two seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// How things stand.
    Status,
    /// Cut this host off.
    Isolate {
        /// Why.
        reason: String,
        /// The policy's when absent; 0: only a release opens it.
        lease_seconds: Option<u64>,
    },
    /// Open this host.
    Release {
        /// Why.
        reason: String,
    },
    /// Open this host, by the leave of somebody who holds a release key.
    ReleaseBy {
        /// The answer to the challenge that [`Status`] shows.
        permit: Permit,
    },
    /// Let go on every process that is frozen.
    Thaw {
        /// Why.
        reason: String,
    },
    /// Cut a process and what descends from it off the network.
    CutOff {
        /// Which.
        pid: u32,
        /// Why.
        reason: String,
    },
    /// Let every process that is cut off back to the network.
    Rejoin {
        /// Why.
        reason: String,
    },
    /// Report what root did to a file by himself: the daemon may write nowhere but to its own folders.
    Quarantined {
        /// What.
        report: Box<QuarantineReport>,
    },
    /// Stop the agent.
    Stop {
        /// Why; needed where root may do it with no more than that.
        reason: String,
        /// A stop code, for the challenge of [`Answer::NeedsCode`].
        code: Option<String>,
        /// Undo first what the agent did to the host: it is taken off it.
        removes: bool,
    },
    /// Let a remote end be reached again.
    Unblock {
        /// Its address.
        address: IpAddr,
        /// Why.
        reason: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Box<Status>),
    /// It is done.
    Done {
        /// What was proved.
        detail: String,
        /// The isolation that was made or ended.
        isolation: Option<IsolationId>,
    },
    /// It is not done: it takes a code.
    NeedsCode {
        /// What a code is to answer.
        challenge: ReleaseChallenge,
        /// Who makes it, and how.
        detail: String,
    },
    /// It is not done.
    Failed {
        /// Why.
        detail: String,
    },
}

/// How the daemon stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// This host.
    pub host: HostId,
    /// Site and group.
    pub site: String,
    /// Group in the site.
    pub group: String,
    /// `HOST:PORT`.
    pub controller: String,
    /// There is a session with the controller.
    pub connected: bool,
    /// Why there is none.
    pub last_uplink_error: Option<String>,
    /// Anything is dropped, or about to be.
    pub isolated: bool,
    /// What was last reported of it.
    pub isolation: Option<IsolationReport>,
    /// Processes that the agent froze and nobody thawed.
    #[serde(default)]
    pub frozen: usize,
    /// Processes that are cut off the network.
    #[serde(default)]
    pub cut_off: usize,
    /// Addresses that are blocked.
    #[serde(default)]
    pub blocked: Vec<Block>,
    /// What waits for a yes.
    #[serde(default)]
    pub proposals: Vec<Waits>,
    /// 0 when there is none.
    pub policy_version: u64,
    /// Past its expiry since then; it stays in force.
    pub policy_stale_since: Option<Timestamp>,
    /// `ebpf`, `proc`, `none` or `starting`.
    pub sensor_mode: String,
    /// Events handed over.
    pub events_seen: u64,
    /// Events known to be missing.
    pub events_lost: u64,
    /// Events handed over, by class.
    pub events_by_class: BTreeMap<String, u64>,
    /// Events known to be missing, by source; a source that lost none is not there.
    pub losses: BTreeMap<String, u64>,
    /// Stories judged.
    pub stories_judged: u64,
    /// From the kernel's stamp of an event to the judge's having its story.
    pub judge_lag: LagSummary,
    /// Stories that wait for the network, were caught up with, and were shed.
    #[serde(default)]
    pub judge_queue: QueueStatus,
    /// How full each cache is.
    pub caches: Vec<CacheStatus>,
    /// The model, `none` or `starting`.
    pub model: String,
    /// Rules, indicators and exceptions.
    #[serde(default)]
    pub rules: RulesStatus,
    /// Records that wait for the controller.
    pub spool_records: u64,
    /// Their bytes.
    pub spool_bytes: u64,
    /// When the host's certificate ends.
    pub certificate_until: Timestamp,
    /// Resident memory.
    pub rss_bytes: u64,
    /// CPU time since the start.
    pub cpu_micros: u64,
    /// Threads of the daemon.
    pub threads: u64,
    /// What does not work, each with its remedy.
    pub degraded: Vec<String>,
}

/// A question on its way to the engine.
pub struct Request {
    /// What is asked.
    pub question: Question,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// Answers. Whoever asked may be gone; then the answer is for nobody.
pub(crate) fn reply(to: oneshot::Sender<Answer>, answer: Answer) {
    if to.send(answer).is_err() {
        tracing::debug!("nobody waits for the answer any more");
    }
}

/// Why the daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Nobody listens.
    #[error(
        "the agent is not running (nobody listens on {0}): start it with `systemctl start cordon-agent`"
    )]
    NotRunning(PathBuf),
    /// The socket is not for this user.
    #[error("not allowed to talk to the agent on {0}: run as root")]
    NotAllowed(PathBuf),
    /// The conversation failed.
    #[error("talking to the agent on {path} failed", path = path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It said something else.
    #[error("the agent's answer is not understood: are daemon and command of one version?")]
    Answer(#[source] serde_json::Error),
}

/// Binds the socket, mode 0600, in place of one that a killed daemon left. The caller holds the daemon's lock.
pub fn bind(path: &Path) -> Result<UnixListener, DiskError> {
    durable::remove(path)?;
    let listener = UnixListener::bind(path).map_err(DiskError::of("listen on", path))?;
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, owner_only).map_err(DiskError::of("protect", path))?;
    Ok(listener)
}

/// Serves questions until the engine is gone.
pub async fn serve(listener: UnixListener, engine: mpsc::Sender<Request>) {
    let slots = std::sync::Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(slot) = std::sync::Arc::clone(&slots).acquire_owned().await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = engine.closed() => return,
        };
        let Ok((stream, _)) = accepted else {
            continue;
        };
        let engine = engine.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &engine).await {
                tracing::warn!(%error, "a local command was not served");
            }
            drop(slot);
        });
    }
}

async fn converse(stream: UnixStream, engine: &mpsc::Sender<Request>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = tokio::io::BufReader::new(read.take(MAX_LINE));
    tokio::time::timeout(QUESTION_LIMIT, reader.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice(&line) {
        Ok(question) => ask_engine(question, engine).await,
        Err(error) => Answer::Failed {
            detail: format!("not a question: {error}"),
        },
    };
    let mut json = serde_json::to_vec(&answer)?;
    json.push(b'\n');
    write.write_all(&json).await
}

async fn ask_engine(question: Question, engine: &mpsc::Sender<Request>) -> Answer {
    let (answer, answered) = oneshot::channel();
    let stopping = || Answer::Failed {
        detail: "the agent is stopping".to_owned(),
    };
    if engine.send(Request { question, answer }).await.is_err() {
        return stopping();
    }
    answered.await.unwrap_or_else(|_| stopping())
}

/// Asks the daemon.
pub fn ask(socket: &Path, question: &Question) -> Result<Answer, LocalError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
            LocalError::NotRunning(socket.to_owned())
        }
        std::io::ErrorKind::PermissionDenied => LocalError::NotAllowed(socket.to_owned()),
        _ => LocalError::Io {
            path: socket.to_owned(),
            source,
        },
    };
    let line = exchange(socket, question).map_err(failed)?;
    serde_json::from_str(&line).map_err(LocalError::Answer)
}

fn exchange(socket: &Path, question: &Question) -> std::io::Result<String> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut json = serde_json::to_vec(question)?;
    json.push(b'\n');
    stream.write_all(&json)?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut line)?;
    Ok(line)
}
