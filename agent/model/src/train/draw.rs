//! Seeded choices of training: the same seed draws the same values.

use std::fmt::Write as _;

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

/// Every hole that a text may have.
const HOLES: [&str; 36] = [
    "{a}", "{a2}", "{a3}", "{h}", "{h2}", "{h3}", "{d}", "{d2}", "{d3}", "{p}", "{p2}", "{p3}",
    "{w}", "{w2}", "{w3}", "{f}", "{f2}", "{f3}", "{t}", "{t2}", "{t3}", "{u}", "{u2}", "{u3}",
    "{n}", "{n2}", "{n3}", "{k}", "{k2}", "{k3}", "{x}", "{x2}", "{x3}", "{s}", "{s2}", "{s3}",
];

/// A source of choices.
pub struct Draw(StdRng);

impl Draw {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Another source that this one decides.
    pub(super) fn another(&mut self) -> Self {
        Self::new(self.0.random())
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

    /// `text` with its alternatives chosen and its holes filled in. A hole is a letter in braces, perhaps with a 2 or 3
    /// for another value; it has one value wherever it stands: `a` address, `h` host, `d` domain, `p` port, `w` word,
    /// `f` path, `t` path in a world-writable place, `u` user, `n` number, `k` base64, `x` bytes as `\x41`, `s` password.
    pub fn fill(&mut self, text: &str) -> String {
        let mut filled = self.choose(text);
        for hole in HOLES {
            if filled.contains(hole) {
                let kind = hole.as_bytes()[1];
                let value = self.value(kind);
                filled = filled.replace(hole, &value);
            }
        }
        filled
    }

    fn value(&mut self, kind: u8) -> String {
        match kind {
            b'a' => self.address(),
            b'h' => self.host(),
            b'd' => self.host_name(),
            b'p' => self.port().to_string(),
            b'w' => self.word(),
            b'f' => self.path(),
            b't' => self.temporary(),
            b'u' => self.user().to_owned(),
            b'n' => self.number().to_string(),
            b'k' => self.base64(),
            b'x' => self.escaped(),
            _ => self.password(),
        }
    }

    /// A path in a place where anybody may write.
    fn temporary(&mut self) -> String {
        let place = self.pick(&[
            "/tmp",
            "/var/tmp",
            "/dev/shm",
            "/tmp",
            "/tmp/.x",
            "/run/user/1000",
        ]);
        format!("{place}/{}", self.file())
    }

    /// Of one to six digits, each as likely.
    fn number(&mut self) -> u32 {
        let digits = self.between(1, 6);
        self.between(10u32.pow(digits - 1), 10u32.pow(digits) - 1)
    }

    /// What random bytes are in base64, shorter ones more often.
    fn base64(&mut self) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let most = *self.one(&[48, 120, 400]);
        let quads = self.between(6, most / 4);
        let mut text: String = (0..quads * 4)
            .map(|_| char::from(*self.one(LETTERS)))
            .collect();
        if self.chance(0.4) {
            text.truncate(text.len() - 1);
            text.push('=');
        }
        text
    }

    /// Bytes as a shell or an interpreter reads them.
    fn escaped(&mut self) -> String {
        let bytes = self.between(4, 32);
        (0..bytes).fold(String::new(), |mut text, _| {
            let _written = write!(text, "\\x{:02x}", self.below(256));
            text
        })
    }

    fn password(&mut self) -> String {
        let (word, number) = (self.word(), self.between(1, 9999));
        let sign = self.pick(&["", "!", "@", "#", "_", "."]);
        if self.chance(0.5) {
            let mut letters = word.chars();
            let head: String = letters
                .next()
                .into_iter()
                .flat_map(char::to_uppercase)
                .collect();
            return format!("{head}{}{sign}{number}", letters.as_str());
        }
        format!("{word}{number}{sign}")
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
    fn each_kind_of_hole_has_a_value_and_keeps_it() {
        let mut draw = Draw::new(11);
        for hole in HOLES {
            let text = draw.fill(&format!("{hole} {hole}"));
            let (one, other) = text.split_at(text.len() / 2);
            assert_eq!(one, other.trim_start(), "{hole}");
            assert!(
                !one.is_empty() && !one.contains(['{', '}']),
                "{hole}: {one}"
            );
        }
        assert_eq!(draw.fill("${HOME} {} {q}"), "${HOME} {} {q}");
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let line = |seed| Draw::new(seed).fill("{w} {a} {t} {p}");
        assert_eq!(line(5), line(5));
        assert_ne!(line(5), line(6));
    }
}
