//! The Linux audit daemon, from Debian, with a configuration and rules of the bench's own.
//!
//! The kernel has one audit system and one daemon for it: where somebody else's is in use the bench leaves it
//! alone and says so.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::guard::{Duty, Guard};
use super::process::{self, Process};
use crate::wait;

const READY: Duration = Duration::from_secs(20);
/// Records that may wait in the kernel: enough that auditd loses none at the sweep's rates.
const BACKLOG: u64 = 65_536;

/// The kernel's audit settings that the bench changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    enabled: u64,
    backlog_limit: u64,
}

impl Settings {
    /// As they are; an error when the audit system is in use.
    fn unused() -> Result<Self> {
        ensure!(
            Path::new("/usr/sbin/auditd").exists(),
            "auditd is not installed: `cargo xtask bench sensor` installs it"
        );
        let status = auditctl(&["-s"])?;
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|rest| rest.trim().parse::<u64>().ok());
            number.with_context(|| format!("auditctl -s does not say {key}: {status}"))
        };
        let pid = value("pid ")?;
        ensure!(
            pid == 0,
            "an audit daemon is running (pid {pid}); the bench leaves it alone"
        );
        let rules = auditctl(&["-l"])?;
        ensure!(
            rules.trim() == "No rules",
            "there are audit rules already; the bench leaves them alone"
        );
        Ok(Self {
            enabled: value("enabled ")?,
            backlog_limit: value("backlog_limit ")?,
        })
    }
}

fn auditctl(arguments: &[&str]) -> Result<String> {
    process::read("/usr/sbin/auditctl", arguments)
}

/// Removes the rules and sets what was set before.
pub fn restore(settings: &Settings) -> Result<()> {
    auditctl(&["-D"])?;
    auditctl(&["-b", &settings.backlog_limit.to_string()])?;
    auditctl(&["-e", &settings.enabled.to_string()])?;
    Ok(())
}

/// A running audit daemon with rules for programs, connections and files.
pub struct Auditd<'a> {
    daemon: Option<Process<'a>>,
    costs: Vec<i32>,
    log: PathBuf,
    settings: Settings,
    guard: &'a Guard,
}

impl<'a> Auditd<'a> {
    /// Starts it in `folder`; `watched` is where files are told of. With laurel as its plugin if so asked.
    pub fn start(guard: &'a Guard, folder: &Path, watched: &Path, laurel: bool) -> Result<Self> {
        let settings = Settings::unused()?;
        if laurel {
            ensure!(
                Path::new("/usr/sbin/laurel").exists(),
                "laurel is not installed: `cargo xtask bench sensor` installs it"
            );
        }
        let log = configure(folder, laurel)?;
        guard.undo(Duty::Audit(settings.clone()))?;
        let mut auditd = Self {
            daemon: None,
            costs: Vec::new(),
            log,
            settings,
            guard,
        };
        auditctl(&["-b", &BACKLOG.to_string()])?;
        let mut command = Command::new("/usr/sbin/auditd");
        command.args(["-n", "-c"]).arg(folder);
        let complaints = folder.join("auditd.err");
        let mut daemon = Process::start(guard, &mut command, &complaints, Stdio::null())?;
        let pid = daemon.pid();
        wait::until("auditd", READY, || {
            daemon.still_runs()?;
            let status = auditctl(&["-s"])?;
            let registered = format!("\npid {pid}\n");
            Ok(status.contains(&registered).then_some(()))
        })
        .with_context(|| fs::read_to_string(&complaints).unwrap_or_default())?;
        auditd.costs.push(pid);
        auditd.daemon = Some(daemon);
        auditd.costs.extend(process::kernel_thread("kauditd"));
        if laurel {
            let found = || Ok(process::child_named(pid, "laurel"));
            auditd.costs.push(wait::until("laurel", READY, found)?);
        }
        load_rules(folder, watched)?;
        Ok(auditd)
    }

    /// The processes whose CPU time is the tool's: the daemon, the kernel's thread that feeds it, laurel.
    pub fn costs(&self) -> &[i32] {
        &self.costs
    }

    /// How many of the run's programs are in its log, by the argument that counts them.
    pub fn programs_logged(&self, run: &str) -> Result<u64> {
        let mark = format!("a1=\"cordon-bench-{run}-");
        let mut count = 0;
        for path in logs(&self.log)? {
            let text = fs::read(&path)?;
            let text = String::from_utf8_lossy(&text);
            count += text
                .lines()
                .filter(|line| line.starts_with("type=EXECVE") && line.contains(&mark))
                .count() as u64;
        }
        Ok(count)
    }

    /// Removes the rules first, so that nothing is recorded while it ends.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        auditctl(&["-D"])?;
        if let Some(daemon) = self.daemon.take() {
            daemon.stop()?;
        }
        restore(&self.settings)
    }
}

impl Drop for Auditd<'_> {
    fn drop(&mut self) {
        let ended = self.end();
        if ended
            .and_then(|()| self.guard.done(Duty::Audit(self.settings.clone())))
            .is_err()
        {
            eprintln!("cordon-bench: the audit system is left to the guard");
        }
    }
}

fn logs(first: &Path) -> Result<Vec<PathBuf>> {
    let folder = first.parent().context("the log has a folder")?;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("audit.log") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Raw records to a file, as Debian sets it up but for the format and the places.
fn configure(folder: &Path, laurel: bool) -> Result<PathBuf> {
    let (plugins, logs) = (folder.join("plugins.d"), folder.join("log"));
    for path in [&plugins, &logs] {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o750))?;
    }
    let log = logs.join("audit.log");
    let settings = format!(
        "local_events = yes\nwrite_logs = yes\nlog_file = {log}\nlog_group = root\nlog_format = RAW\n\
         flush = INCREMENTAL_ASYNC\nfreq = 50\nmax_log_file = 512\nnum_logs = 5\nmax_log_file_action = ROTATE\n\
         priority_boost = 4\nname_format = NONE\nspace_left = 75\nspace_left_action = IGNORE\n\
         admin_space_left = 50\nadmin_space_left_action = IGNORE\ndisk_full_action = IGNORE\n\
         disk_error_action = IGNORE\nq_depth = 20000\noverflow_action = IGNORE\nmax_restarts = 1\n\
         plugin_dir = {plugins}\nend_of_event_timeout = 2\n",
        log = log.display(),
        plugins = plugins.display(),
    );
    write_private(&folder.join("auditd.conf"), &settings)?;
    if laurel {
        configure_laurel(folder, &plugins)?;
    }
    Ok(log)
}

fn configure_laurel(folder: &Path, plugins: &Path) -> Result<()> {
    let out = folder.join("laurel");
    fs::create_dir_all(&out)?;
    let settings = format!(
        "directory = {:?}\nstatusreport-period = 0\n[auditlog]\nfile = \"audit.log\"\nsize = 500000000\n\
         generations = 2\n[transform]\nexecve-argv = [ \"array\" ]\n[translate]\nuniversal = true\n\
         user-db = true\n[enrich]\npid = true\nexecve-env = [ \"LD_PRELOAD\", \"LD_LIBRARY_PATH\" ]\n\
         container = true\nscript = true\n",
        out.display().to_string()
    );
    let path = folder.join("laurel.toml");
    write_private(&path, &settings)?;
    let plugin = format!(
        "active = yes\ndirection = out\npath = /usr/sbin/laurel\ntype = always\nargs = --config {}\nformat = string\n",
        path.display()
    );
    write_private(&plugins.join("laurel.conf"), &plugin)
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o640),
    )?)
}

fn load_rules(folder: &Path, watched: &Path) -> Result<()> {
    let rules = folder.join("bench.rules");
    fs::write(&rules, rules_of(watched))?;
    let path = rules.to_string_lossy();
    auditctl(&["-R", &path]).map(drop)
}

/// What an administrator would watch to see what Cordon's sensor sees: starts, connections, file changes.
fn rules_of(watched: &Path) -> String {
    format!(
        "-a always,exit -F arch=b64 -S execve,execveat -k exec\n\
         -a always,exit -F arch=b64 -S connect -k connect\n\
         -a always,exit -F arch=b64 -F dir={} -F perm=wa -k files\n",
        watched.display()
    )
}

/// Whether the audit system is as it was: nobody registered, no rules.
pub fn is_unused() -> Result<()> {
    if !Path::new("/usr/sbin/auditctl").exists() {
        return Ok(());
    }
    match Settings::unused() {
        Ok(_) => Ok(()),
        Err(error) => bail!("the audit system is in use: {error:#}"),
    }
}
