//! Files of exceptions: read as agents read them, and added to.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cordon_rules::Exceptions;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::super::CtlError;
use super::super::client::read_file;

/// Everybody on a host may know what is excepted there.
const MODE: u32 = 0o644;

/// What an agent makes of it.
pub(super) fn read(path: &Path) -> Result<Exceptions, CtlError> {
    let bytes = read_file(path)?;
    let mut exceptions = Exceptions::default();
    exceptions.file(&path.display().to_string(), &bytes);
    Ok(exceptions)
}

/// Adds an exception to a file, which is made where it is missing. What is in it has to be without a mistake, before and
/// afterwards; the file changes as a whole or not at all.
pub(super) fn add(path: &Path, exception: &Value) -> Result<(), CtlError> {
    let mut file = if path.exists() {
        refuse_problems(path, &read(path)?)?;
        let bytes = read_file(path)?;
        serde_json::from_slice(&bytes).map_err(|error| unusable(path, &error.to_string()))?
    } else {
        json!({ "version": 1, "exceptions": [] })
    };
    let list = file["exceptions"].as_array_mut();
    let list = list.ok_or_else(|| unusable(path, "it has no list of exceptions"))?;
    list.push(exception.clone());
    let text = format!("{file:#}\n");
    let mut read = Exceptions::default();
    read.file(&path.display().to_string(), text.as_bytes());
    refuse_problems(path, &read)?;
    write(path, text.as_bytes()).map_err(|source| CtlError::Write {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    let mode = match fs::metadata(path) {
        Ok(known) => known.permissions(),
        Err(_) => fs::Permissions::from_mode(MODE),
    };
    file.as_file().set_permissions(mode)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

fn refuse_problems(path: &Path, read: &Exceptions) -> Result<(), CtlError> {
    match read.problems().first() {
        None => Ok(()),
        Some(problem) => Err(unusable(path, &problem.to_string())),
    }
}

fn unusable(path: &Path, why: &str) -> CtlError {
    CtlError::Document {
        path: path.to_owned(),
        source: why.into(),
    }
}
