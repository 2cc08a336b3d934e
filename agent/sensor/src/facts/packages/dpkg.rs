//! dpkg: `info/*.list`, a file of paths for each package, and `diversions`.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::Builder;
use super::bytes::DatabaseError;

const INFO: &str = "var/lib/dpkg/info";
const DIVERSIONS: &str = "var/lib/dpkg/diversions";
/// Longest list that is read, bytes; a large package has one of 2 MB.
const LIST_BYTES: u64 = 64 << 20;

/// The files whose change means that packages changed.
pub(super) fn watched() -> impl Iterator<Item = String> {
    [INFO, "var/lib/dpkg/status", DIVERSIONS]
        .into_iter()
        .map(str::to_owned)
}

/// The directories in which they are.
pub(super) fn directories() -> [&'static str; 2] {
    ["var/lib/dpkg", INFO]
}

/// Reads the database below `root`; false when there is none.
pub(super) fn load(root: &Path, builder: &mut Builder) -> Result<bool, DatabaseError> {
    let entries = match fs::read_dir(root.join(INFO)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let diversions = match read(&root.join(DIVERSIONS), &mut Vec::new()) {
        Ok(text) => Diversions::parse(&String::from_utf8_lossy(text)),
        Err(_) => Diversions::default(),
    };
    let mut text = Vec::new();
    let mut found = false;
    for entry in entries {
        let file = entry?.file_name();
        let Some(name) = file.to_str().and_then(|name| name.strip_suffix(".list")) else {
            continue;
        };
        // `libc6:amd64.list`
        let name = name.split(':').next().unwrap_or(name);
        match read(&root.join(INFO).join(&file), &mut text) {
            Ok(text) => list(name, text, &diversions, builder),
            // It was removed while they were listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        found = true;
    }
    Ok(found)
}

fn read<'a>(path: &Path, text: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    text.clear();
    fs::File::open(path)?.take(LIST_BYTES).read_to_end(text)?;
    Ok(text)
}

fn list(name: &str, text: &[u8], diversions: &Diversions, builder: &mut Builder) {
    let package = builder.package(name);
    for path in text.split(|byte| *byte == b'\n') {
        if path.starts_with(b"/") && path != b"/." {
            builder.path(package, diversions.place(name, path));
        }
    }
}

/// Where files go whose path another package, or the administrator, has taken.
#[derive(Debug, Default, PartialEq)]
struct Diversions(HashMap<Vec<u8>, Diversion>);

#[derive(Debug, PartialEq)]
struct Diversion {
    to: Vec<u8>,
    /// Who keeps the path; empty when nobody does.
    by: String,
}

impl Diversions {
    /// Three lines each: the path, where it goes, and for which package (`:` for the administrator).
    fn parse(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let diversions = lines.chunks_exact(3).map(|lines| {
            let by = lines[2].trim_start_matches(':').to_owned();
            let to = lines[1].as_bytes().to_vec();
            (lines[0].as_bytes().to_vec(), Diversion { to, by })
        });
        Self(diversions.collect())
    }

    fn place<'a>(&'a self, package: &str, path: &'a [u8]) -> &'a [u8] {
        match self.0.get(path) {
            Some(diversion) if diversion.by != package => &diversion.to,
            _ => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diverted_path_belongs_to_who_diverted_it() {
        let diversions = Diversions::parse(
            "/bin/sh\n/bin/sh.distrib\ndash\n/usr/bin/x\n/usr/bin/x.real\n:\n/cut\n",
        );
        let place = |package: &str, path: &'static str| {
            let place = diversions.place(package, path.as_bytes()).to_vec();
            String::from_utf8(place).unwrap()
        };
        assert_eq!(place("dash", "/bin/sh"), "/bin/sh");
        assert_eq!(place("bash", "/bin/sh"), "/bin/sh.distrib");
        assert_eq!(place("any", "/usr/bin/x"), "/usr/bin/x.real");
        assert_eq!(place("any", "/cut"), "/cut");
    }
}
