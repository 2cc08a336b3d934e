//! Files of rules and indicators on this machine, with the bounds that agents have.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use cordon_rules::{Indicators, IndicatorsBuilder, Problem, ProblemKind, RuleSet, RuleSetBuilder};
use serde_json::{Value, json};

use super::CtlError;

/// How many folders deep below one that was named.
const DEEPEST: usize = 4;
/// Most files.
const MOST_FILES: usize = 10_000;
/// Most bytes that are read of one: one more than the readers take, so that they say what is wrong.
const MOST_BYTES: u64 = (16 << 20) + 1;

/// The rules in `paths`, upon those that come with Cordon where `embedded` says so.
pub(super) fn rules(paths: &[PathBuf], embedded: bool) -> Result<RuleSet, CtlError> {
    let mut rules = RuleSetBuilder::new();
    if embedded {
        rules = rules.embedded();
    }
    rules.next_layer();
    for path in files(paths, is_rule)? {
        let name = path.display().to_string();
        match read(&path) {
            Ok(bytes) => rules.file(&name, &bytes),
            Err(why) => rules.unreadable(&name, &why),
        }
    }
    Ok(rules.build())
}

/// The indicators in `paths`.
pub(super) fn indicators(paths: &[PathBuf]) -> Result<Indicators, CtlError> {
    let mut indicators = IndicatorsBuilder::new();
    for path in files(paths, |_| true)? {
        let name = path.display().to_string();
        match read(&path) {
            Ok(bytes) => indicators.list(&name, &bytes),
            Err(why) => indicators.unreadable(&name, &why),
        }
    }
    Ok(indicators.build())
}

/// What does not count: a list for programs.
pub(super) fn problems_json(problems: &[Problem]) -> Value {
    let all = problems.iter().map(|one| {
        json!({
            "kind": one.kind.name(), "file": one.file, "line": one.line, "name": one.name, "why": one.why,
        })
    });
    all.collect()
}

/// How many of them are mistakes, not things that Cordon does not do.
pub(super) fn broken(problems: &[Problem]) -> usize {
    let broken = problems.iter();
    broken.filter(|one| one.kind == ProblemKind::Broken).count()
}

fn is_rule(path: &Path) -> bool {
    let is_named_so = path
        .extension()
        .is_some_and(|ending| ending == "yml" || ending == "yaml");
    // Beside rules, as in /etc/cordon/rules, lie lists of indicators.
    is_named_so && !path.starts_with("indicators")
}

/// What was named, and what is wanted of the folders that were: in the order of their names, hidden ones left out.
fn files(paths: &[PathBuf], is_wanted: fn(&Path) -> bool) -> Result<Vec<PathBuf>, CtlError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            below(path, path, 0, is_wanted, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    if found.len() > MOST_FILES {
        return Err(CtlError::Usage(format!(
            "{} files are more than the {MOST_FILES} that an agent reads",
            found.len()
        )));
    }
    Ok(found)
}

fn below(
    place: &Path,
    folder: &Path,
    depth: usize,
    is_wanted: fn(&Path) -> bool,
    found: &mut Vec<PathBuf>,
) -> Result<(), CtlError> {
    let unreadable = |source| CtlError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(unreadable)?;
    paths.retain(|path| !is_hidden(path));
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if depth < DEEPEST {
                below(place, &path, depth + 1, is_wanted, found)?;
            }
        } else if path.strip_prefix(place).is_ok_and(is_wanted) {
            found.push(path);
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name();
    name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// A regular file: a pipe or device would be waited for.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let words = |error: std::io::Error| error.to_string();
    if !fs::metadata(path).map_err(words)?.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(words)?;
    file.take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .map_err(words)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_what_an_agent_would_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.yml",
            "a/1/2/3/z.yaml",
            "a/1/2/3/4/deep.yml",
            "readme.md",
            ".hidden.yml",
            "indicators/feed.yml",
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "203.0.113.9\n").unwrap();
        }
        let named = folder.path().join("readme.md");
        let found = files(&[folder.path().to_owned(), named], is_rule).unwrap();
        let below: Vec<&Path> = found
            .iter()
            .map(|path| path.strip_prefix(folder.path()).unwrap())
            .collect();
        assert_eq!(
            below,
            ["a/1/2/3/z.yaml", "b.yml", "readme.md"].map(Path::new)
        );
        let lists = indicators(&[folder.path().join("indicators")]).unwrap();
        assert_eq!(lists.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_told_by_name() {
        let missing = PathBuf::from("/nowhere/x.yml");
        let rules = rules(&[missing, PathBuf::from("/dev/zero")], false).unwrap();
        assert_eq!(broken(rules.problems()), 2);
        let told = problems_json(rules.problems());
        assert_eq!(told[0]["file"], "/nowhere/x.yml");
        assert_eq!(told[1]["why"], "it is no regular file");
    }
}
