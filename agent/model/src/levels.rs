//! What a sensor counted and measured of a story, on coarse scales.
//!
//! A count is read as the number of its binary digits, a measure in eighths or so: an agent that has sent one byte more
//! is not a new question to the judge, and no exact number can become an answer. Facts and fingerprints are made of
//! these same levels, so what is not in them is not read.

use cordon_behavior::story::{Connection, FileOperation, FileRates, Process, Story};

use crate::reads::Reads;

/// Names of the levels, in order, each with the level that counts as full.
pub const LEVELS: [(&str, u8); COUNT] = [
    ("argv_truncated", 1),
    ("script", 1),
    ("env_loader", 4),
    ("package_owned", 1),
    ("package_none", 1),
    ("first_seen", 1),
    ("seen_before", 1),
    ("world_writable", 1),
    ("by_descriptor", 1),
    ("uid_raised", 1),
    ("capabilities_gained", 6),
    ("namespaces", 4),
    ("login_session", 1),
    ("container", 1),
    ("bytes_sent", 34),
    ("bytes_received", 34),
    ("sent_far_more", 1),
    ("connected_again", 12),
    ("longest_connection", 24),
    ("udp_ends", 8),
    ("listens", 6),
    ("decoys", 6),
    ("secrets", 6),
    ("watched_changed", 8),
    ("rate_written", 16),
    ("rate_created", 16),
    ("rate_renamed", 16),
    ("rate_unlinked", 16),
    ("rate_per_second", 12),
    ("rate_directories", 10),
    ("entropy", 32),
    ("entropy_high", 1),
    ("beacons", 6),
    ("beacon_times", 12),
    ("beacon_regular", 8),
    ("executable_memory", 6),
    ("anonymous_code", 1),
    ("ptraced", 4),
    ("modules", 3),
    ("bpf", 4),
    ("mounts", 6),
    ("raw_sockets", 3),
    ("logins_failed", 10),
    ("login_remote", 1),
];

/// How many levels there are.
pub const COUNT: usize = 44;

/// The levels of a story.
pub type Levels = [u8; COUNT];

/// What `reads` lets through of `story`; nothing but zeros when it reads no facts.
pub fn of(story: &Story, reads: &Reads) -> Levels {
    let mut writer = Writer {
        levels: [0; COUNT],
        at: 0,
    };
    if !reads.facts() {
        return writer.levels;
    }
    process(story.process.as_ref(), &mut writer);
    connections(story, reads, &mut writer);
    files(reads.files(story), &mut writer);
    rates(story.facts.file_rates.as_ref(), &mut writer);
    rest(story, &mut writer);
    debug_assert_eq!(writer.at, COUNT);
    writer.levels
}

/// Writes level after level, each at most its full one.
struct Writer {
    levels: Levels,
    at: usize,
}

impl Writer {
    fn put(&mut self, level: u8) {
        if let (Some(slot), Some((_, full))) = (self.levels.get_mut(self.at), LEVELS.get(self.at)) {
            *slot = level.min(*full);
        }
        self.at += 1;
    }

    fn set(&mut self, is: bool) {
        self.put(u8::from(is));
    }

    /// The number of binary digits of `count`: 0 is 0, 1 is 1, 2 and 3 are 2, up to 64.
    fn count(&mut self, count: u64) {
        self.put((u64::BITS - count.leading_zeros()) as u8);
    }

    fn len<T>(&mut self, list: &[T]) {
        self.count(list.len() as u64);
    }

    /// `value` in steps of `1 / steps`; what is negative or not a number is 0.
    fn measure(&mut self, value: f32, steps: f32) {
        self.put((value * steps).clamp(0.0, 255.0) as u8);
    }
}

/// Variables that make another program's code run.
fn is_loader(name: &str) -> bool {
    name.starts_with("LD_")
        || matches!(
            name,
            "PYTHONPATH"
                | "PYTHONSTARTUP"
                | "NODE_OPTIONS"
                | "BASH_ENV"
                | "ENV"
                | "PERL5LIB"
                | "PERL5OPT"
                | "RUBYOPT"
                | "PROMPT_COMMAND"
        )
}

fn process(own: Option<&Process>, out: &mut Writer) {
    let blank = Process::default();
    let own = own.unwrap_or(&blank);
    out.set(own.argv_truncated);
    out.set(!own.script.is_empty());
    let loaders = own.env.iter().take(64).filter(|name| is_loader(name));
    out.count(loaders.count() as u64);
    let package = own.package.as_deref();
    out.set(package.is_some_and(|name| !name.is_empty()));
    out.set(package == Some(""));
    out.set(own.first_seen == Some(true));
    out.set(own.first_seen == Some(false));
    out.set(own.world_writable == Some(true));
    out.set(own.by_descriptor);
    out.set(own.uid_raised.is_some());
    out.len(&own.capabilities_gained);
    out.len(&own.namespaces);
    out.set(own.login_uid.is_some());
    out.set(own.container.is_some());
}

/// Sent more than this, and so many times what was received: something was carried away.
const CARRIED: u64 = 64 * 1024;
const TIMES: u64 = 8;

fn connections(story: &Story, reads: &Reads, out: &mut Writer) {
    let read = || reads.connections(story).take(256);
    let sum = |part: fn(&Connection) -> Option<u64>| {
        read().filter_map(part).fold(0u64, u64::saturating_add)
    };
    let (sent, received) = (sum(|one| one.sent), sum(|one| one.received));
    out.count(sent);
    out.count(received);
    out.set(sent >= CARRIED && sent / TIMES >= received);
    out.count(read().filter_map(|one| one.times).max().unwrap_or(0).into());
    out.count(read().filter_map(|one| one.lasted_ms).max().unwrap_or(0));
    out.count(read().filter(|one| one.protocol == "udp").count() as u64);
    out.count(reads.listeners(story).take(256).count() as u64);
}

fn files(files: &[FileOperation], out: &mut Writer) {
    let count = |sensitivity: &str| {
        let first = files.iter().take(4096);
        first.filter(|file| file.sensitivity == sensitivity).count() as u64
    };
    out.count(count("decoy"));
    out.count(count("secret"));
    out.count(count("watched"));
}

/// Bits a byte: what is encrypted or compressed has more.
const HIGH_ENTROPY: f32 = 7.5;

fn rates(rates: Option<&FileRates>, out: &mut Writer) {
    let blank = FileRates::default();
    let rates = rates.unwrap_or(&blank);
    for count in [rates.written, rates.created, rates.renamed, rates.unlinked] {
        out.count(count);
    }
    out.count(rates.per_second.clamp(0.0, 1e6) as u64);
    out.count(rates.directories.into());
    let entropy = rates.entropy.unwrap_or(0.0);
    out.measure(entropy, 4.0);
    out.set(entropy >= HIGH_ENTROPY);
}

fn rest(story: &Story, out: &mut Writer) {
    let facts = &story.facts;
    let beacons = || facts.beacons.iter().take(64);
    out.len(&facts.beacons);
    out.count(beacons().map(|one| one.times).max().unwrap_or(0).into());
    let regular = beacons().map(|one| 1.0 - one.variation.clamp(0.0, 1.0));
    out.measure(regular.fold(0.0, f32::max), 8.0);
    out.len(&facts.executable_memory);
    let anonymous = |name: &String| name.starts_with("//anon") || name.starts_with("/memfd");
    out.set(facts.executable_memory.iter().take(64).any(anonymous));
    out.len(&facts.ptraced);
    out.len(&facts.modules);
    out.len(&facts.bpf);
    out.len(&facts.mounts);
    out.len(&facts.raw_sockets);
    let logins = || facts.logins.iter().take(64);
    let failed = logins().filter(|one| !one.success);
    out.count(failed.map(|one| u64::from(one.times)).sum());
    out.set(logins().any(|one| one.success && !one.from.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(json: &str) -> Story {
        Story::from_json(json.as_bytes()).unwrap()
    }

    fn level(story: &Story, name: &str) -> u8 {
        let index = LEVELS.iter().position(|(known, _)| *known == name).unwrap();
        of(story, &Reads::everything())[index]
    }

    #[test]
    fn every_level_is_written_and_under_its_own_name() {
        let whole = story(
            r#"{"id":"l","process":{"exe":"/tmp/x","first_seen":true,"package":"","env":["LD_PRELOAD","LANG"]},
            "connections":[{"direction":"out","protocol":"tcp","address":"203.0.113.4","port":443,"sent":9000000,"received":400,"lasted_ms":7000},
                           {"direction":"listen","protocol":"tcp","address":"::","port":99}],
            "files":[{"op":"write","path":"/srv/a","sensitivity":"decoy"}],
            "facts":{"file_rates":{"written":700,"renamed":690,"per_second":88.0,"entropy":7.98},
                     "beacons":[{"address":"203.0.113.4","port":443,"times":9,"every_ms":60000,"variation":0.02}],
                     "logins":[{"method":"ssh","success":false,"times":40,"from":"10.0.0.1"}]}}"#,
        );
        for (name, wanted) in [
            ("env_loader", 1),
            ("package_owned", 0),
            ("package_none", 1),
            ("first_seen", 1),
            ("sent_far_more", 1),
            ("listens", 1),
            ("decoys", 1),
            ("rate_written", 10),
            ("entropy", 31),
            ("entropy_high", 1),
            ("beacon_times", 4),
            ("beacon_regular", 7),
            ("logins_failed", 6),
            ("login_remote", 0),
        ] {
            assert_eq!(level(&whole, name), wanted, "{name}");
        }
    }

    #[test]
    fn what_is_absurd_is_full_and_what_is_no_number_is_nothing() {
        let mut absurd = story(r#"{"id":"l","command":"x"}"#);
        absurd.facts.file_rates = Some(FileRates {
            written: u64::MAX,
            per_second: f32::NAN,
            entropy: Some(f32::INFINITY),
            ..FileRates::default()
        });
        assert_eq!(level(&absurd, "rate_written"), 16);
        assert_eq!(level(&absurd, "rate_per_second"), 0);
        assert_eq!(level(&absurd, "entropy"), 32);
    }

    #[test]
    fn a_little_more_of_the_same_is_the_same() {
        let sent = |bytes: u64| {
            let json = format!(
                r#"{{"id":"l","command":"x","connections":[{{"direction":"out","protocol":"tcp","address":"203.0.113.4","port":443,"sent":{bytes}}}]}}"#
            );
            of(&story(&json), &Reads::everything())
        };
        assert_eq!(sent(5000), sent(5001));
        assert_ne!(sent(5000), sent(50_000));
    }

    #[test]
    fn who_reads_no_facts_sees_no_level() {
        let json = r#"{"id":"l","process":{"exe":"/tmp/x","first_seen":true}}"#;
        assert_eq!(of(&story(json), &Reads::new(Vec::new())), [0; COUNT]);
    }
}
