//! Times on the command line.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// `90s`, `30m`, `4h`, `2d`, or seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write 90s, 30m, 4h or 2d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(unit).ok_or_else(wrong)?;
    if seconds == 0 {
        return Err(wrong());
    }
    Ok(Duration::from_secs(seconds))
}

/// A [`duration`], or zero for `none`.
pub(super) fn lease(text: &str) -> Result<Duration, String> {
    if text == "none" {
        return Ok(Duration::ZERO);
    }
    duration(text)
}

/// A moment: a date (its first second, UTC), a time with its zone, or so long ago.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    moment(text, "so long ago", Timestamp::checked_sub)
}

/// A moment: a date (its first second, UTC), a time with its zone, or for so long.
pub(super) fn until(text: &str) -> Result<Timestamp, String> {
    moment(text, "for how long", Timestamp::checked_add)
}

fn moment(
    text: &str,
    what: &str,
    from: impl Fn(Timestamp, SignedDuration) -> Result<Timestamp, jiff::Error>,
) -> Result<Timestamp, String> {
    let wrong = || {
        format!("{text:?} is no time: write 2026-11-01, 2026-11-01T08:00:00Z, or {what}: 12h, 30d")
    };
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    if let Ok(day) = text.parse::<Date>() {
        let start = day.to_zoned(TimeZone::UTC).map_err(|_| wrong())?;
        return Ok(start.timestamp());
    }
    let time = SignedDuration::try_from(duration(text).map_err(|_| wrong())?);
    from(Timestamp::now(), time.map_err(|_| wrong())?).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [
            ("90s", 90),
            ("90", 90),
            ("30m", 1_800),
            ("4h", 14_400),
            ("2d", 172_800),
        ] {
            assert_eq!(duration(text).unwrap().as_secs(), seconds);
        }
        for bad in ["", "h", "4w", "-1h", "0s", "1.5h", "99999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(lease("none").unwrap(), Duration::ZERO);
    }

    #[test]
    fn moments_are_read() {
        let wanted: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        for text in ["2026-11-01", "2026-11-01T01:00:00+01:00"] {
            assert_eq!(since(text).unwrap(), wanted);
        }
        let hour_ago = Timestamp::now().duration_since(since("1h").unwrap());
        assert!((3_590..3_610).contains(&hour_ago.as_secs()));
        let in_an_hour = until("1h").unwrap().duration_since(Timestamp::now());
        assert!((3_590..3_610).contains(&in_an_hour.as_secs()));
        assert_eq!(until("2026-11-01").unwrap(), wanted);
        for bad in ["", "yesterday", "2026-13-01", "-1h", "999999999999d"] {
            let why = since(bad).unwrap_err();
            assert!(why.contains("is no time"), "{why}");
        }
    }
}
