//! One bounded run of `nft`.
//!
//! Rule sets are built with the `nftables` crate's types and sent as one JSON batch, which `nft` makes
//! one kernel transaction: all or nothing. The crate's own runner waits for ever and does not tell a
//! missing program from a refusing kernel, so the process is run here.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nftables::schema::Nftables;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::error::ContainError;

/// A transaction takes milliseconds; a machine under the worst load gets this long.
const LIMIT: Duration = Duration::from_secs(10);
/// More than any table of ours lists to; a table swollen by somebody else is not ours any more.
const MAX_OUTPUT_BYTES: u64 = 16 << 20;

/// Applies `batch` as one transaction.
pub(crate) fn apply(batch: &Nftables<'_>, act: &'static str) -> Result<(), ContainError> {
    let json = serde_json::to_vec(batch).expect("rule sets have string keys only");
    run(&["-j", "-f", "-"], &json, act).map(drop)
}

/// Lets the kernel check `batch` and throw it away.
pub(crate) fn check(batch: &Nftables<'_>, act: &'static str) -> Result<(), ContainError> {
    let json = serde_json::to_vec(batch).expect("rule sets have string keys only");
    run(&["-c", "-j", "-f", "-"], &json, act).map(drop)
}

/// Lists one table as JSON; `None` when there is no such table.
pub(crate) fn list_table(family: &str, name: &str) -> Result<Option<Vec<u8>>, ContainError> {
    let listed = run(&["-j", "list", "table", family, name], b"", "list a table");
    match listed {
        Ok(json) => Ok(Some(json)),
        Err(ContainError::NftRefused { stderr, .. }) if stderr.contains("No such file") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Applies rules that the JSON of `nft` cannot say, as one transaction.
pub(crate) fn apply_text(rules: &str, act: &'static str) -> Result<(), ContainError> {
    run(&["-f", "-"], rules.as_bytes(), act).map(drop)
}

/// Lists one table as text; `None` when there is no such table.
pub(crate) fn list_as_text(family: &str, name: &str) -> Result<Option<String>, ContainError> {
    let listed = run(&["-s", "list", "table", family, name], b"", "list a table");
    match listed {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(ContainError::NftRefused { stderr, .. }) if stderr.contains("No such file") => Ok(None),
        Err(error) => Err(error),
    }
}

fn run(args: &[&str], input: &[u8], act: &'static str) -> Result<Vec<u8>, ContainError> {
    let deadline = Instant::now() + LIMIT;
    // Memory files instead of pipes for input and errors: neither side can block on the other.
    let stdin = memory_file(input).map_err(ContainError::NftPipe)?;
    let mut stderr = memory_file(b"").map_err(ContainError::NftPipe)?;
    let stderr_of_child = stderr.try_clone().map_err(ContainError::NftPipe)?;
    let mut child = Command::new("nft")
        .args(args)
        .env("LC_ALL", "C")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(stderr_of_child)
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => ContainError::NftMissing,
            _ => ContainError::NftStart(error),
        })?;
    let stdout = read_until_closed(&mut child, deadline);
    let status = wait_until(&mut child, deadline).map_err(ContainError::NftPipe)?;
    let Some(status) = status else {
        return Err(ContainError::NftTimeout { act, limit: LIMIT });
    };
    if status.success() {
        return stdout.map_err(ContainError::NftPipe);
    }
    let stderr = one_line(&mut stderr).map_err(ContainError::NftPipe)?;
    Err(ContainError::NftRefused { act, stderr })
}

fn memory_file(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("cordon-nft", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

fn read_until_closed(child: &mut Child, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    let Some(mut stdout) = child.stdout.take() else {
        return Ok(output);
    };
    let mut buffer = [0; 16 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(
            &mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)],
            timeout,
        ) {
            Ok(0) => return Err(ErrorKind::TimedOut.into()),
            Err(nix::Error::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
            Ok(_) => {}
        }
        match stdout.read(&mut buffer)? {
            0 => return Ok(output),
            n if output.len() as u64 + n as u64 > MAX_OUTPUT_BYTES => {
                return Err(io::Error::other("nft listed more than 16 MiB"));
            }
            n => output.extend_from_slice(&buffer[..n]),
        }
    }
}

/// `None`: it was still there at the deadline and was killed.
fn wait_until(
    child: &mut Child,
    deadline: Instant,
) -> io::Result<Option<std::process::ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        // Its output is closed, so it is at its very end: this is rarely reached twice.
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn one_line(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut text = Vec::new();
    file.take(4096).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty());
    Ok(line.unwrap_or("no reason given").trim().to_owned())
}
