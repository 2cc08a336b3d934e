//! Running other programs: each is named when it fails, and says why it was run.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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
        Self { program, command }
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn within(mut self, folder: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(root().join(folder));
        self
    }

    /// Sends what the program prints to standard error: `--json` owns standard output.
    pub fn quiet(mut self) -> Self {
        self.command.stdout(std::io::stderr());
        self
    }

    pub fn run(mut self) -> Result<(), Failure> {
        let shown = self.program.to_string_lossy().into_owned();
        let status = self
            .command
            .status()
            .map_err(|error| Failure::new(format!("cannot start {shown}: {error}")))?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::new(format!("{shown} failed: {status}")))
        }
    }

    /// Whether the program ran and succeeded; prints nothing.
    pub fn succeeds(mut self) -> bool {
        self.command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}
