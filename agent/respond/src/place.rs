//! A place among the hosts of a group that may be isolated at one time, where the policy caps them.
//!
//! One host cannot know how many others are isolated, and a rule that is wrong is wrong on all of them in the same second:
//! so each asks the controller, which counts, before it isolates itself. Who gets no answer acts as if there was no cap.

use std::fmt;

/// Most characters that are kept of who has the places.
const LONGEST: usize = 200;

/// Whether this host has a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nobody was asked.
    #[default]
    NotAsked,
    /// The controller gave it one.
    Granted,
    /// Others have all of them.
    Refused(Taken),
    /// The controller did not say in time, or is out of reach.
    Unknown,
}

/// Who has the places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many hosts.
    pub count: u32,
    /// Some of their names; empty when none was told. From the network, within bounds and without control characters.
    pub by: String,
}

impl Taken {
    /// As the controller says it.
    pub fn new(count: u32, names: &[String]) -> Self {
        let by = names.join(", ");
        let plain = by.chars().filter(|c| !c.is_control());
        Self {
            count,
            by: plain.take(LONGEST).collect(),
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, by } = self;
        write!(f, "{count} isolated hosts of the group")?;
        match by.as_str() {
            "" => Ok(()),
            by => write!(f, " ({by})"),
        }
    }
}
