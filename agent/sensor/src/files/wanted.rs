//! Which paths are wanted: the configuration's, the defaults, and those in each account's home.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use super::defaults::{HOME, SYSTEM};
use super::tell::Tell;
use crate::FilesConfig;

/// A name in a path; those of the tables are not copied.
pub(super) type Name = Cow<'static, str>;

/// Most accounts whose homes are watched.
const HOMES: usize = 512;
const PASSWD: &str = "/etc/passwd";
/// An /etc/passwd of more than this is not read on.
const PASSWD_BYTES: u64 = 4 << 20;
/// What accounts of the system have for a home though it is none.
const NO_HOMES: [&str; 12] = [
    "/", "/bin", "/sbin", "/dev", "/usr", "/proc", "/sys", "/etc", "/run", "/var/run", "/tmp",
    "/boot",
];

/// A path to watch, that need not exist.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// A directory that is taken as it is.
    pub base: PathBuf,
    /// The names below it; the last is what is watched.
    pub parts: Vec<Name>,
    pub tell: Tell,
    /// Symbolic links on the way are followed. Not below a home: its owner could point the agent at a
    /// file system that never answers.
    pub follow: bool,
}

impl Wanted {
    /// The same path, with its base taken apart too.
    pub(super) fn whole(&self) -> Option<Self> {
        let mut all = of_path(self.tell, &self.base)?;
        all.parts.extend(self.parts.iter().cloned());
        Some(Self {
            follow: self.follow,
            ..all
        })
    }
}

/// All that is wanted now.
pub(super) fn all(config: &FilesConfig) -> Vec<Wanted> {
    let mut all = Vec::new();
    if config.defaults {
        all.extend(SYSTEM.iter().map(|(tell, path)| of_table(*tell, path)));
        let homes = homes();
        all.extend(homes.iter().flat_map(|home| below(home)));
    }
    for (paths, tell) in [
        (&config.watched, Tell::WATCHED),
        (&config.secrets, Tell::SECRET),
        (&config.decoys, Tell::DECOY),
    ] {
        all.extend(paths.iter().filter_map(|path| of_path(tell, path)));
    }
    all
}

fn of_table(tell: Tell, path: &'static str) -> Wanted {
    let parts = path.split('/').filter(|part| !part.is_empty());
    Wanted {
        base: "/".into(),
        parts: parts.map(Name::from).collect(),
        tell,
        follow: true,
    }
}

fn of_path(tell: Tell, path: &Path) -> Option<Wanted> {
    let parts: Vec<Name> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned().into()),
            _ => None,
        })
        .collect();
    (!parts.is_empty()).then_some(Wanted {
        base: "/".into(),
        parts,
        tell,
        follow: true,
    })
}

/// The home itself is on the way of the first, so that one made later is watched for.
fn below(home: &Path) -> impl Iterator<Item = Wanted> + '_ {
    HOME.iter().map(move |(tell, path)| Wanted {
        base: home.to_owned(),
        parts: path.split('/').map(Name::from).collect(),
        tell: *tell,
        follow: false,
    })
}

/// The homes of all accounts here, root's first.
fn homes() -> Vec<PathBuf> {
    let mut text = String::new();
    let read = std::fs::File::open(PASSWD).and_then(|file| {
        use std::io::Read;
        file.take(PASSWD_BYTES).read_to_string(&mut text)
    });
    if let Err(error) = read {
        tracing::warn!(%error, "cannot read {PASSWD}: homes are not watched");
    }
    homes_in(&text)
}

fn homes_in(passwd: &str) -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> = Vec::new();
    for line in passwd.lines() {
        let Some(home) = line.split(':').nth(5).map(Path::new) else {
            continue;
        };
        let is_none = NO_HOMES.iter().any(|none| Path::new(none) == home)
            || home.starts_with("/usr")
            || home.starts_with("/nonexistent");
        let is_plain = home.is_absolute()
            && home
                .components()
                .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if is_plain && !is_none && homes.len() < HOMES && !homes.iter().any(|known| known == home) {
            homes.push(home.to_owned());
        }
    }
    homes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_a_place_of_an_accounts_own() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbin:x:2:2:bin:/bin:/sbin/nologin\n\
                      nobody:x:65534:65534::/nonexistent:/sbin/nologin\nbad\n\
                      ann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1000::/home/ann:/bin/sh\n\
                      pg:x:70:70::/var/lib/postgresql:/bin/sh\nz:x:9:9::relative:/bin/sh\n\
                      y:x:9:9::/home/../etc:/bin/sh\n";
        let wanted = ["/root", "/home/ann", "/var/lib/postgresql"];
        assert_eq!(homes_in(passwd), wanted.map(PathBuf::from));
    }

    #[test]
    fn the_configurations_paths_come_on_top_of_the_defaults() {
        let mut config = FilesConfig {
            decoys: vec!["/srv/backup/passwords.txt".into(), "/".into()],
            ..FilesConfig::default()
        };
        let is_decoy = |wanted: &Wanted| wanted.tell == Tell::DECOY;
        let with = all(&config);
        assert!(with.len() > SYSTEM.len() && with.iter().filter(|it| is_decoy(it)).count() == 1);
        config.defaults = false;
        let without = all(&config);
        assert_eq!(without.len(), 1);
        assert_eq!(without[0].parts, ["srv", "backup", "passwords.txt"]);
    }
}
