//! Running other programs: each is named when it fails.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Why an xtask stopped, in words for the person who ran it.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
        .to_owned()
}

/// Where the shell would find `program`, if anywhere.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// What cargo tells the program that it runs about that program's own package. Handed on to a cargo of
/// ours it would pass for a change of everything that depends on it (ring does), and be built again.
fn is_about_this_package(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// One program to run. Its standard output goes to ours unless [`Step::quiet`] says otherwise.
pub struct Step {
    program: OsString,
    command: Command,
}

impl Step {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref().to_owned();
        let mut command = Command::new(&program);
        command.current_dir(root()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if is_about_this_package(&name) {
                command.env_remove(name);
            }
        }
        Self { program, command }
    }

    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn within(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(root().join(folder));
        self
    }

    /// Sends what the program prints to standard error: `--json` owns standard output.
    pub fn quiet(mut self) -> Self {
        self.command.stdout(std::io::stderr());
        self
    }

    pub fn run(mut self) -> Result<(), Failure> {
        let status = self.command.status().map_err(|e| self.not_started(&e))?;
        self.succeeded(status)
    }

    /// Runs it and returns what it prints to standard output, when it succeeds.
    pub fn read(mut self) -> Result<String, Failure> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let output = self.command.output().map_err(|e| self.not_started(&e))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        self.succeeded(output.status)
            .map_err(|failure| Failure::new(format!("{failure}; it printed: {}", text.trim())))?;
        Ok(text)
    }

    /// Becomes the program. Returns only when it could not be started.
    pub fn replace(mut self) -> Failure {
        self.command.stdin(Stdio::inherit());
        let error = self.command.exec();
        self.not_started(&error)
    }

    fn succeeded(&self, status: ExitStatus) -> Result<(), Failure> {
        if status.success() {
            return Ok(());
        }
        let shown = self.program.to_string_lossy();
        Err(Failure::new(format!("{shown} failed: {status}")))
    }

    fn not_started(&self, error: &std::io::Error) -> Failure {
        let shown = self.program.to_string_lossy();
        Failure::new(format!("cannot start {shown}: {error}"))
    }
}
