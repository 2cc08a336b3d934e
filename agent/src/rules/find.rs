//! The files of folders, with bounds. What is beyond a bound is told, like what cannot be listed.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Most files of all places together, and most entries of one folder.
const MOST: usize = 10_000;
/// How many folders deep below a place.
const DEEPEST: usize = 4;

/// A file; or the reason why it, or something in that folder, does not count.
pub(super) type Found = (PathBuf, Option<String>);

/// The files of `places`, those of a folder in the order of their names. Of a folder only those count whose path below
/// it `is_wanted`, and none that is hidden; what is no folder is a file and counts.
pub(super) fn files(places: &[PathBuf], is_wanted: fn(&Path) -> bool) -> Vec<Found> {
    let mut finder = Finder {
        is_wanted,
        found: Vec::new(),
        has_told_depth: false,
    };
    for place in places {
        if place.is_dir() {
            finder.below(place, place, 0);
        } else {
            finder.put(place, None);
        }
    }
    finder.found
}

struct Finder {
    is_wanted: fn(&Path) -> bool,
    found: Vec<Found>,
    has_told_depth: bool,
}

impl Finder {
    fn below(&mut self, place: &Path, folder: &Path, depth: usize) {
        let (mut paths, why) = match fs::read_dir(folder) {
            Ok(entries) => listed(entries.map(|entry| Ok(entry?.path()))),
            Err(error) => (Vec::new(), Some(cannot_list(&error))),
        };
        if why.is_some() {
            self.put(folder, why);
        }
        paths.retain(|path| !is_hidden(path));
        paths.sort();
        for path in paths {
            if self.found.len() > MOST {
                return;
            }
            if path.is_dir() {
                self.folder(place, &path, depth + 1);
            } else if path.strip_prefix(place).is_ok_and(self.is_wanted) {
                self.put(&path, None);
            }
        }
    }

    fn folder(&mut self, place: &Path, folder: &Path, depth: usize) {
        if depth <= DEEPEST {
            return self.below(place, folder, depth);
        }
        // Once: there may be thousands of them, and they would take the room of files.
        if !self.has_told_depth {
            self.has_told_depth = true;
            let why = format!("it, and all else more than {DEEPEST} folders deep, is not read");
            self.put(folder, Some(why));
        }
    }

    /// The first one for which there is no room says so in its place.
    fn put(&mut self, path: &Path, why: Option<String>) {
        let full = || format!("it, and all after it, is not read: at most {MOST} files are");
        let why = match self.found.len() {
            MOST => Some(full()),
            ..MOST => why,
            _ => return,
        };
        self.found.push((path.to_owned(), why));
    }
}

/// The entries of a folder, and why not all of them.
fn listed(entries: impl Iterator<Item = io::Result<PathBuf>>) -> (Vec<PathBuf>, Option<String>) {
    let (mut paths, mut why) = (Vec::new(), None);
    for entry in entries {
        match entry {
            Ok(_) if paths.len() >= MOST => {
                why = Some(format!(
                    "it has more than {MOST} entries: the others are not read"
                ));
                break;
            }
            Ok(path) => paths.push(path),
            Err(error) => why = Some(cannot_list(&error)),
        }
    }
    (paths, why)
}

fn cannot_list(error: &io::Error) -> String {
    format!("cannot list all of it: {error}")
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name();
    name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_text(path: &Path) -> bool {
        path.extension().is_some_and(|ending| ending == "txt") && !path.starts_with("left")
    }

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn wanted_files_are_found_in_order_and_what_is_too_deep_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.txt",
            "a/1/2/3/z.txt",
            "a/1/2/3/4/deep.txt",
            "a/1/2/3/5/deep.txt",
            "c.md",
            "left/no.txt",
            "a/left/yes.txt",
            ".hidden/no.txt",
            ".no.txt",
        ] {
            touch(&folder.path().join(name));
        }
        let given = folder.path().join("c.md");
        let found = files(&[folder.path().to_owned(), given], is_text);
        let below = found.iter().map(|(path, why)| {
            let path = path.strip_prefix(folder.path()).unwrap();
            (path.to_str().unwrap(), why.is_none())
        });
        let wanted = [
            ("a/1/2/3/4", false),
            ("a/1/2/3/z.txt", true),
            ("a/left/yes.txt", true),
            ("b.txt", true),
            ("c.md", true),
        ];
        assert_eq!(below.collect::<Vec<_>>(), wanted);
        assert!(found[0].1.as_ref().unwrap().contains("4 folders deep"));
    }

    #[test]
    fn what_is_too_much_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=MOST {
            touch(
                &folder
                    .path()
                    .join(format!("{}/{number:05}.txt", number % 2)),
            );
        }
        let found = files(&[folder.path().to_owned()], is_text);
        assert_eq!(found.len(), MOST + 1);
        assert!(found[..MOST].iter().all(|(_, why)| why.is_none()));
        let (path, why) = &found[MOST];
        assert!(path.ends_with("1/09999.txt"), "{}", path.display());
        assert!(why.as_ref().unwrap().contains("at most 10000 files are"));
    }

    #[test]
    fn a_folder_that_is_not_listed_whole_says_so_and_the_rest_counts() {
        let path = |number: usize| Ok(PathBuf::from(number.to_string()));
        let broken = || Err(io::Error::other("the disk is gone"));
        let (paths, why) = listed([path(1), broken(), path(2)].into_iter());
        assert_eq!(paths.len(), 2);
        assert_eq!(why.unwrap(), "cannot list all of it: the disk is gone");
        assert_eq!(listed((0..MOST).map(path)).1, None);
        let (paths, why) = listed((0..=MOST).map(path));
        assert_eq!(paths.len(), MOST);
        assert!(why.unwrap().contains("more than 10000 entries"));
    }
}
