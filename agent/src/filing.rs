//! Files taken out of reach and put back, for people at the machine and for orders.
//!
//! The daemon's unit lets it write to its own folders alone, and `/tmp` is another one to it. So what an order asks for is
//! done by a process of its own with other rights, which systemd starts for one file and which only root can reach
//! (`cordon-agent-quarantine.socket`). Where there is none, in a container or without systemd, the daemon does it itself.

mod stays;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cordon_contain::{Facts, Held, Quarantine, QuarantineError, Wanted};
use cordon_proto::record::{QuarantineAct, QuarantineReport, RecordBody};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::local::{Answer, reply};
use crate::ordered::By;
use crate::recorder::Recorder;
pub use stays::Stays;

/// Where systemd listens for those who want a file taken or put back.
pub const HELPER: &str = "/run/cordon-quarantine.sock";
/// Longest that one file takes: the largest, on a slow disk.
const PATIENCE: Duration = Duration::from_mins(5);
const MAX_LINE: u64 = 64 << 10;

/// A file that is held, as far as it must be known to say later whether it is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldFile {
    /// Where it was, and where it is put back.
    pub path: PathBuf,
    /// SHA-256 of its content, hex.
    pub sha256: String,
}

/// What is to be done to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case", deny_unknown_fields)]
pub enum FileJob {
    /// Take it out of reach.
    Take {
        /// Name under which it is held.
        id: String,
        /// Which.
        path: PathBuf,
        /// What it must hold, where that is known.
        sha256: Option<String>,
        /// Why.
        reason: String,
    },
    /// Put it back.
    Restore {
        /// Name under which it is held.
        id: String,
        /// What was held by it when the order was begun, by the agent's own note.
        file: Option<HeldFile>,
        /// Why.
        reason: String,
    },
}

/// What was done, or why it was not.
pub type Filed = Result<QuarantineReport, String>;

/// Takes files and puts them back for orders.
#[derive(Clone)]
pub struct Filer {
    state_dir: PathBuf,
    recorder: Recorder,
}

impl Filer {
    /// For the files of this agent.
    pub fn new(state_dir: &Path, recorder: Recorder) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            recorder,
        }
    }

    /// What is held under a name, or why nothing is.
    pub fn held(&self, id: &str) -> Result<HeldFile, String> {
        let held = Quarantine::held(&self.state_dir, id);
        let held = held.map_err(|error| crate::chain(&error))?;
        Ok(HeldFile {
            path: held.path,
            sha256: held.sha256,
        })
    }

    /// Does it on a thread of its own, and answers when it is known what came of it.
    pub fn obey(&self, job: FileJob, by: By, protected: Vec<String>, to: oneshot::Sender<Answer>) {
        let own = self.clone();
        tokio::task::spawn_blocking(move || {
            let filed = match UnixStream::connect(HELPER) {
                Ok(helper) => ask(helper, &job),
                Err(_) => carry_out(&own.state_dir, &job, &Stays::new(protected, false)),
            };
            reply(to, own.conclude(&job, filed, by));
        });
    }

    fn conclude(&self, job: &FileJob, filed: Filed, by: By) -> Answer {
        let report = match filed {
            Ok(report) => report,
            Err(detail) => return Answer::Failed { detail },
        };
        let detail = proof(job, &report);
        tracing::warn!(act = ?report.act, path = ?report.path, reason = %by.reason, "file");
        self.recorder
            .record(RecordBody::Quarantine(Box::new(QuarantineReport {
                reason: by.reason,
                ordered: Some(by.ordered),
                ..report
            })));
        Answer::Done {
            detail,
            isolation: None,
        }
    }
}

fn proof(job: &FileJob, report: &QuarantineReport) -> String {
    let QuarantineReport {
        id,
        path,
        sha256,
        bytes,
        ..
    } = report;
    match job {
        FileJob::Take { .. } => format!(
            "{path} is held as {id} (SHA-256 {sha256}, {bytes} bytes), and nothing has its name now"
        ),
        FileJob::Restore { .. } => {
            format!("{path} is back, and was read again (SHA-256 {sha256}, {bytes} bytes)")
        }
    }
}

/// One question and one answer, a line of JSON each.
fn ask(mut helper: UnixStream, job: &FileJob) -> Filed {
    let talk = || -> std::io::Result<Filed> {
        helper.set_read_timeout(Some(PATIENCE))?;
        let mut json = serde_json::to_vec(job)?;
        json.push(b'\n');
        helper.write_all(&json)?;
        let mut line = String::new();
        BufReader::new(helper.take(MAX_LINE)).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    talk().unwrap_or_else(|error| {
        Err(format!(
            "the process that takes files does not answer ({error}): `journalctl -t cordon-agent` says why, `cordon-agent quarantine` does it at the machine"
        ))
    })
}

/// Answers one question for the daemon: `cordon-agent quarantine serve`.
pub fn serve(config: &Config) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(std::io::stdin().take(MAX_LINE)).read_line(&mut line)?;
    let filed = match serde_json::from_str(&line) {
        Ok(job) => carry_out(&config.state_dir, &job, &Stays::read(config, false)),
        Err(error) => Err(format!("not a question: {error}")),
    };
    let mut json = serde_json::to_vec(&filed)?;
    json.push(b'\n');
    std::io::stdout().write_all(&json)
}

/// Does it, and looks at it afterwards. To do it again changes nothing.
pub fn carry_out(state_dir: &Path, job: &FileJob, stays: &Stays) -> Filed {
    let quarantine = Quarantine::open(state_dir).map_err(|error| crate::chain(&error))?;
    match job {
        FileJob::Take {
            id,
            path,
            sha256,
            reason,
        } => {
            let wanted = Wanted {
                id,
                path,
                sha256: sha256.as_deref(),
                reason,
            };
            let must_stay = |path: &Path, facts: &Facts| stays.why(path, facts);
            let held = quarantine.take_as(&wanted, &must_stay, Timestamp::now());
            let held = held.map_err(|error| advised(&error, "add"))?;
            match fs::symlink_metadata(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                _ => {
                    return Err(format!(
                        "{} is held as {id}, but something has its name again: order it anew, or stop who makes it",
                        path.display()
                    ));
                }
            }
            Ok(told(&held, QuarantineAct::Taken, reason))
        }
        FileJob::Restore { id, file, reason } => match quarantine.restore(id) {
            Ok(held) if digest(&held.path).is_ok_and(|found| found == held.sha256) => {
                Ok(told(&held, QuarantineAct::Restored, reason))
            }
            Ok(held) => Err(format!(
                "{} was put back, and holds something else by now",
                held.path.display()
            )),
            // Done before the agent was started anew.
            Err(error) => match file {
                Some(file) if matches!(error, QuarantineError::Unknown(_)) => {
                    back_already(id, file, reason)
                }
                _ => Err(advised(&error, "restore")),
            },
        },
    }
}

fn back_already(id: &str, file: &HeldFile, reason: &str) -> Filed {
    let path = file.path.display().to_string();
    let metadata = fs::symlink_metadata(&file.path);
    match (digest(&file.path), metadata) {
        (Ok(sha256), Ok(is)) if sha256 == file.sha256 => Ok(QuarantineReport {
            act: QuarantineAct::Restored,
            id: id.to_owned(),
            path,
            sha256,
            bytes: is.len(),
            uid: is.uid(),
            reason: reason.to_owned(),
            ordered: None,
        }),
        _ => Err(format!(
            "nothing is held as {id} any more, and {path} is not what was held: somebody destroyed it, or changed it since"
        )),
    }
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            length => hash.update(&piece[..length]),
        }
    }
}

/// With what to do where this process may not write.
fn advised(error: &QuarantineError, act: &str) -> String {
    let said = crate::chain(error);
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind);
        if matches!(
            kind,
            Some(ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
        ) {
            return format!(
                "{said}: this process may not write there. `systemctl start cordon-agent-quarantine.socket` lets orders do it, `cordon-agent quarantine {act}` does it at the machine"
            );
        }
        cause = error.source();
    }
    said
}

/// What is reported of a held file.
pub fn told(held: &Held, act: QuarantineAct, reason: &str) -> QuarantineReport {
    QuarantineReport {
        act,
        id: held.id.clone(),
        path: held.path.display().to_string(),
        sha256: held.sha256.clone(),
        bytes: held.facts.bytes,
        uid: held.facts.uid,
        reason: reason.to_owned(),
        ordered: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> (tempfile::TempDir, PathBuf, Stays) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::write(root.join("dropper"), "content").unwrap();
        let stays = Stays::new(Vec::new(), true);
        (dir, root, stays)
    }

    const ID: &str = "01890000000070008000000000000001";

    #[test]
    fn what_was_done_before_a_restart_is_done_when_it_is_asked_for_again() {
        let (_dir, root, stays) = stage();
        let (state, path) = (root.join("state"), root.join("dropper"));
        let take = FileJob::Take {
            id: ID.into(),
            path: path.clone(),
            sha256: Some(hex::encode(Sha256::digest("content"))),
            reason: "a dropper".into(),
        };
        let taken = carry_out(&state, &take, &stays).unwrap();
        assert_eq!(carry_out(&state, &take, &stays).unwrap(), taken);
        assert!(!path.exists());
        let back = FileJob::Restore {
            id: ID.into(),
            file: Some(HeldFile {
                path: path.clone(),
                sha256: taken.sha256.clone(),
            }),
            reason: "a false alarm".into(),
        };
        let restored = carry_out(&state, &back, &stays).unwrap();
        assert_eq!(restored.act, QuarantineAct::Restored);
        assert_eq!(carry_out(&state, &back, &stays).unwrap(), restored);
        fs::write(&path, "another").unwrap();
        let changed = carry_out(&state, &back, &stays).unwrap_err();
        assert!(changed.contains("is not what was held"), "{changed}");
    }

    #[test]
    fn a_changed_file_stays_and_one_that_is_made_again_is_told() {
        let (_dir, root, stays) = stage();
        let (state, path) = (root.join("state"), root.join("dropper"));
        let take = |sha256: Option<&str>| FileJob::Take {
            id: ID.into(),
            path: path.clone(),
            sha256: sha256.map(Into::into),
            reason: "a dropper".into(),
        };
        let other = hex::encode(Sha256::digest("other"));
        let refused = carry_out(&state, &take(Some(&other)), &stays).unwrap_err();
        assert!(refused.contains("was meant"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "content");
        carry_out(&state, &take(None), &stays).unwrap();
        fs::write(&path, "made again").unwrap();
        let again = carry_out(&state, &take(None), &stays).unwrap_err();
        assert!(again.contains("has its name again"), "{again}");
    }
}
