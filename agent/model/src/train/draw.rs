//! Seeded choices of training: the same seed draws the same values.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const WORDS: [&str; 88] = [
    "agent",
    "alpha",
    "api",
    "app",
    "archive",
    "assets",
    "backend",
    "batch",
    "beta",
    "billing",
    "build",
    "cache",
    "catalog",
    "client",
    "collect",
    "common",
    "config",
    "core",
    "daily",
    "data",
    "db",
    "delta",
    "demo",
    "deploy",
    "docs",
    "export",
    "feed",
    "frontend",
    "gateway",
    "helper",
    "images",
    "import",
    "index",
    "infra",
    "ingest",
    "job",
    "legacy",
    "lib",
    "main",
    "media",
    "metrics",
    "monitor",
    "node",
    "notes",
    "orders",
    "panel",
    "parser",
    "project",
    "proxy",
    "queue",
    "release",
    "report",
    "schema",
    "search",
    "service",
    "shop",
    "stage",
    "store",
    "sync",
    "task",
    "test",
    "update",
    "user",
    "worker",
    "apache2",
    "auditd",
    "avahi",
    "cron",
    "cups",
    "dbus",
    "docker",
    "hwclock",
    "kernel",
    "kworker",
    "mysql",
    "network",
    "nginx",
    "postgresql",
    "redis",
    "rsyslog",
    "snapd",
    "sshd",
    "systemd",
    "udev",
    "unbound",
    "watchdog",
    "xorg",
    "zabbix",
];
const EXTENSIONS: [&str; 14] = [
    "txt", "sh", "py", "log", "conf", "json", "tar.gz", "bin", "dat", "csv", "yml", "zip", "c",
    "out",
];
const USERS: [&str; 10] = [
    "ann", "ben", "carla", "deploy", "ubuntu", "admin", "jenkins", "app", "ops", "mika",
];

/// A source of choices.
pub struct Draw(StdRng);

impl Draw {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.0.random_bool(p)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        self.0.random_range(low..=high)
    }

    /// From 0 to below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f32 {
        self.0.random_range(0.0..1.0)
    }

    /// Normally distributed with deviation `deviation` (by the sum of uniform numbers).
    pub fn normal(&mut self, deviation: f32) -> f32 {
        let sum: f32 = (0..12).map(|_| self.unit()).sum();
        (sum - 6.0) * deviation
    }

    /// One of `choices`, which is not empty.
    pub fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// One of `choices`, which is not empty.
    pub fn one<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// In random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }

    /// A word as people name things, or a random one.
    pub fn word(&mut self) -> String {
        match self.below(4) {
            0 => {
                let letters = self.between(4, 9);
                (0..letters)
                    .map(|_| (b'a' + self.below(26) as u8) as char)
                    .collect()
            }
            1 => format!("{}{}", self.pick(&WORDS), self.between(1, 99)),
            2 => format!("{}-{}", self.pick(&WORDS), self.pick(&WORDS)),
            _ => self.pick(&WORDS).to_owned(),
        }
    }

    /// A file name.
    pub fn file(&mut self) -> String {
        if self.chance(0.3) {
            self.word()
        } else {
            format!("{}.{}", self.word(), self.pick(&EXTENSIONS))
        }
    }

    /// A user's name.
    pub fn user(&mut self) -> &'static str {
        self.pick(&USERS)
    }

    /// A path somewhere.
    pub fn path(&mut self) -> String {
        let file = self.file();
        match self.below(10) {
            0 => format!("/home/{}/{file}", self.user()),
            1 => format!("/home/{}/{}/{file}", self.user(), self.word()),
            2 => format!("/srv/{}/{file}", self.word()),
            3 => format!("/opt/{}/{file}", self.word()),
            4 => format!("/tmp/{file}"),
            5 => format!("/var/lib/{}/{file}", self.word()),
            6 => format!("/root/{file}"),
            7 => format!("./{file}"),
            8 => format!("{}/{file}", self.word()),
            _ => file,
        }
    }

    /// An IPv4 address, private as often as public.
    pub fn address(&mut self) -> String {
        let (b, c, d) = (
            self.between(0, 255),
            self.between(0, 255),
            self.between(1, 254),
        );
        match self.below(8) {
            0 | 1 => format!("10.{b}.{c}.{d}"),
            2 => format!("192.168.{c}.{d}"),
            3 => format!("172.{}.{c}.{d}", self.between(16, 31)),
            4 => format!("203.0.113.{d}"),
            _ => format!("{}.{b}.{c}.{d}", self.between(23, 99)),
        }
    }

    /// A host's name.
    pub fn host_name(&mut self) -> String {
        let tld = self.pick(&[
            "com", "net", "org", "io", "internal", "local", "de", "cn", "ru", "xyz",
        ]);
        format!("{}.{}.{tld}", self.word(), self.word())
    }

    /// A name or an address.
    pub fn host(&mut self) -> String {
        if self.chance(0.5) {
            self.address()
        } else {
            self.host_name()
        }
    }

    /// A port: a usual one or any.
    pub fn port(&mut self) -> u16 {
        if self.chance(0.4) {
            *self.one(&[443, 80, 8080, 8443, 53, 22, 4444, 9001, 1337, 5432])
        } else {
            self.between(1024, 65_000) as u16
        }
    }

    /// `text` with its `{a}`, `{h}`, `{p}`, `{w}`, `{f}`, `{t}` and `{u}` filled in: address, host, port, word, path,
    /// path in a world-writable place, user. One value each, wherever it stands.
    pub fn fill(&mut self, text: &str) -> String {
        let chosen = self.choose(text);
        let text = chosen.as_str();
        if !text.contains('{') {
            return chosen;
        }
        let place = self.pick(&[
            "/tmp",
            "/var/tmp",
            "/dev/shm",
            "/tmp",
            "/tmp/.x",
            "/run/user/1000",
        ]);
        let temporary = format!("{place}/{}", self.file());
        text.replace("{a}", &self.address())
            .replace("{h}", &self.host())
            .replace("{p}", &self.port().to_string())
            .replace("{w}", &self.word())
            .replace("{f}", &self.path())
            .replace("{t}", &temporary)
            .replace("{u}", self.user())
    }

    /// One of the alternatives of each `«one¦other»` in `text`; they may hold alternatives themselves.
    fn choose(&mut self, text: &str) -> String {
        let mut chosen = text.to_owned();
        // The innermost first: the last opening mark before the first closing one.
        while let Some(close) = chosen.find('»')
            && let Some(open) = chosen[..close].rfind('«')
        {
            let inner: Vec<&str> = chosen[open + '«'.len_utf8()..close].split('¦').collect();
            let one = (*self.one(&inner)).to_owned();
            chosen.replace_range(open..close + '»'.len_utf8(), &one);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_are_chosen_also_within_each_other() {
        let mut draw = Draw::new(3);
        for _ in 0..50 {
            let line = draw.fill("a «b¦c «d¦e»»f");
            assert!(
                ["a bf", "a c df", "a c ef"].contains(&line.as_str()),
                "{line}"
            );
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let line = |seed| Draw::new(seed).fill("{w} {a} {t} {p}");
        assert_eq!(line(5), line(5));
        assert_ne!(line(5), line(6));
    }
}
