//! Names of processes, as records have them and orders give them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digits of a boot id that tell boots of one host apart.
pub const BOOT_DIGITS: usize = 8;

/// A process, over reboots and over pid reuse: `BOOT:PID:START`. Whoever is given the pid later started later, and has
/// another name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProcessName {
    boot: String,
    pid: u32,
    start_ns: u64,
}

/// Text that names no process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no process: wanted BOOT:PID:START, as an incident's detection, or `cordonctl events`, has it"
)]
pub struct NoProcess(String);

impl ProcessName {
    /// Of a process of the boot with this id, by when it started: nanoseconds since boot.
    pub fn new(boot_id: &str, pid: u32, start_ns: u64) -> Self {
        Self {
            boot: boot_id.get(..BOOT_DIGITS).unwrap_or(boot_id).to_owned(),
            pid,
            start_ns,
        }
    }

    /// Whether it ran in the boot with this id.
    pub fn is_of_boot(&self, boot_id: &str) -> bool {
        boot_id.get(..BOOT_DIGITS) == Some(self.boot.as_str())
    }

    /// Pid as the host's owner sees it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When it started: nanoseconds since boot.
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.boot, self.pid, self.start_ns)
    }
}

impl FromStr for ProcessName {
    type Err = NoProcess;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut parts = text.split(':');
            let boot = parts.next()?;
            let pid: u32 = number(parts.next()?)?;
            let start_ns = number(parts.next()?)?;
            let is_boot =
                boot.len() == BOOT_DIGITS && boot.bytes().all(|byte| byte.is_ascii_hexdigit());
            (is_boot && pid > 0 && parts.next().is_none()).then(|| Self {
                boot: boot.to_owned(),
                pid,
                start_ns,
            })
        };
        read().ok_or_else(|| NoProcess(text.chars().take(80).collect()))
    }
}

/// In one form only: no sign, no leading zero.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

impl Serialize for ProcessName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProcessName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "0f3c9a1e-7b1d-4c55-9d0e-1f2a3b4c5d6e";

    #[test]
    fn a_name_is_read_as_it_is_written_and_belongs_to_one_boot() {
        let name = ProcessName::new(BOOT, 412, 3_210_000_000);
        assert_eq!(name.to_string(), "0f3c9a1e:412:3210000000");
        assert_eq!(name.to_string().parse(), Ok(name.clone()));
        assert!(name.is_of_boot(BOOT));
        assert!(!name.is_of_boot("1f3c9a1e-7b1d-4c55-9d0e-1f2a3b4c5d6e"));
        assert!(!name.is_of_boot(""));
    }

    #[test]
    fn what_is_not_written_so_names_nobody() {
        for text in [
            "",
            "412",
            "0f3c9a1e:412",
            "0f3c9a1e:412:1:2",
            "0f3c9a1e:0:1",
            "0f3c9a1e:+1:1",
            "0f3c9a1e:01:1",
            "0f3c9a1e:-1:1",
            "0f3c9a1e:4294967296:1",
            "0f3c9a1:412:1",
            "0f3c9a1g:412:1",
            "0f3c9a1e:412:x",
            "0f3c9a1e:412:18446744073709551616",
        ] {
            assert!(text.parse::<ProcessName>().is_err(), "{text}");
        }
    }
}
