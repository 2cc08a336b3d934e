//! Hours in which no host is isolated without anybody having been asked.

use std::fmt;

use jiff::civil::Weekday;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// Most windows that a policy names.
pub const MOST_QUIET_HOURS: usize = 32;

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl From<Day> for Weekday {
    fn from(day: Day) -> Self {
        match day {
            Day::Mon => Self::Monday,
            Day::Tue => Self::Tuesday,
            Day::Wed => Self::Wednesday,
            Day::Thu => Self::Thursday,
            Day::Fri => Self::Friday,
            Day::Sat => Self::Saturday,
            Day::Sun => Self::Sunday,
        }
    }
}

/// What a clock on the wall shows, to the minute: `00:00` to `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// Minutes since midnight, at most 1440.
    pub fn minutes(self) -> u16 {
        self.0
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time of day: write 00:00 to 24:00");
        let digits = |part: &str| {
            let is_good = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            is_good.then(|| part.parse::<u16>().ok()).flatten()
        };
        let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
        let (hours, minutes) = digits(hours).zip(digits(minutes)).ok_or_else(wrong)?;
        match (hours, minutes) {
            (0..=23, 0..=59) | (24, 0) => Ok(Self(hours * 60 + minutes)),
            _ => Err(wrong()),
        }
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A window that comes again every week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// The days on which it begins; each once.
    pub days: Vec<Day>,
    /// When it begins.
    pub from: TimeOfDay,
    /// When it ends, itself not included; on the next day when it is before `from`.
    pub to: TimeOfDay,
    /// IANA name of the time zone in which all that is meant, for example `Europe/Zurich`.
    pub zone: String,
}

impl QuietHours {
    /// The zone, by the rules that are built into the program: every host and the controller read a policy alike,
    /// whether they have `/usr/share/zoneinfo` or not. `None`: there is none of that name.
    pub fn time_zone(&self) -> Option<TimeZone> {
        TimeZoneDatabase::bundled().get(&self.zone).ok()
    }
}

/// As a person would say it.
impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self
            .days
            .iter()
            .map(|day| format!("{day:?}").to_lowercase());
        let days: Vec<String> = days.collect();
        let Self { from, to, zone, .. } = self;
        write!(f, "{} {from}-{to} {zone}", days.join(","))
    }
}

pub(super) fn check(all: &[QuietHours]) -> Result<(), String> {
    if all.len() > MOST_QUIET_HOURS {
        let count = all.len();
        return Err(format!(
            "quiet_hours: {count} windows are more than {MOST_QUIET_HOURS}"
        ));
    }
    all.iter()
        .try_for_each(|window| check_one(window).map_err(|why| format!("quiet_hours: {why}")))
}

fn check_one(window: &QuietHours) -> Result<(), String> {
    let QuietHours {
        days,
        from,
        to,
        zone,
    } = window;
    if days.is_empty() {
        return Err("a window without days never comes: leave it out".to_owned());
    }
    let is_double = |index: usize| days[..index].contains(&days[index]);
    if let Some(index) = (0..days.len()).find(|index| is_double(*index)) {
        return Err(format!("{:?} is named twice in a window", days[index]));
    }
    if from == to || from.minutes() == 24 * 60 {
        return Err(format!(
            "from {from} to {to} is no window: write 00:00 to 24:00 for a whole day"
        ));
    }
    if window.time_zone().is_none() {
        return Err(format!(
            "zone {zone:?} is not known: write its IANA name, for example Europe/Zurich or UTC"
        ));
    }
    Ok(())
}
