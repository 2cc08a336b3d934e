//! Quiet hours: days, midnight, zones and the two Sundays on which clocks change.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_proto::policy::QuietHours;
use cordon_respond::quiet_at;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

fn window(days: &[&str], from: &str, to: &str, zone: &str) -> QuietHours {
    serde_json::from_value(serde_json::json!({
        "days": days, "from": from, "to": to, "zone": zone,
    }))
    .unwrap()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn is_quiet(windows: &[QuietHours], time: &str) -> bool {
    quiet_at(windows, at(time)).is_some()
}

const WORKDAYS: [&str; 5] = ["mon", "tue", "wed", "thu", "fri"];

#[test]
fn a_window_of_a_day_begins_with_its_first_minute_and_ends_before_its_last() {
    let office = [window(&WORKDAYS, "08:00", "18:00", "UTC")];
    for (time, expected) in [
        ("2026-11-26T07:59:59Z", false), // a Thursday
        ("2026-11-26T08:00:00Z", true),
        ("2026-11-26T17:59:59Z", true),
        ("2026-11-26T18:00:00Z", false),
        ("2026-11-28T12:00:00Z", false), // Saturday
    ] {
        assert_eq!(is_quiet(&office, time), expected, "{time}");
    }
    assert!(!is_quiet(&[], "2026-11-26T12:00:00Z"));
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let night = [window(&["fri", "sun"], "22:00", "06:00", "UTC")];
    for (time, expected) in [
        ("2026-11-27T05:59:00Z", false), // Friday: Thursday is none of the days
        ("2026-11-27T21:59:59Z", false),
        ("2026-11-27T22:00:00Z", true),
        ("2026-11-28T05:59:59Z", true),
        ("2026-11-28T06:00:00Z", false),
        ("2026-11-28T22:00:00Z", false), // Saturday evening
        ("2026-11-29T23:00:00Z", true),
        ("2026-11-30T00:00:00Z", true), // over the end of the week
        ("2026-11-30T22:00:00Z", false),
    ] {
        assert_eq!(is_quiet(&night, time), expected, "{time}");
    }
    let whole = [window(&["sat"], "00:00", "24:00", "UTC")];
    assert!(is_quiet(&whole, "2026-11-28T00:00:00Z"));
    assert!(is_quiet(&whole, "2026-11-28T23:59:59Z"));
    assert!(!is_quiet(&whole, "2026-11-29T00:00:00Z"));
}

#[test]
fn days_and_hours_are_those_of_the_zone() {
    let shanghai = [window(&["mon"], "09:00", "18:00", "Asia/Shanghai")];
    assert!(is_quiet(&shanghai, "2026-11-30T01:00:00Z"));
    assert!(!is_quiet(&shanghai, "2026-11-30T10:00:00Z"));
    let early = [window(&["mon"], "00:00", "08:00", "Asia/Shanghai")];
    assert!(
        is_quiet(&early, "2026-11-29T16:00:00Z"),
        "Monday there, Sunday here"
    );
    let two = [
        shanghai[0].clone(),
        window(&["tue"], "00:00", "24:00", "UTC"),
    ];
    let found = quiet_at(&two, at("2026-12-01T12:00:00Z")).unwrap();
    assert_eq!(found.to_string(), "tue 00:00-24:00 UTC");
}

/// Zurich: clocks go from 02:00 to 03:00 on 2026-03-29, and from 03:00 to 02:00 on 2026-10-25.
#[test]
fn what_a_change_of_clocks_leaves_out_is_in_no_window_and_what_it_repeats_is_in_twice() {
    let zone = "Europe/Zurich";
    let sunday = [window(&["sun"], "02:00", "03:00", zone)];
    for minute in 0..180 {
        let time = at("2026-03-29T00:00:00Z") + SignedDuration::from_mins(minute);
        assert_eq!(quiet_at(&sunday, time), None, "{time}");
    }
    let quiet = (0..300).filter(|minute| {
        let time = at("2026-10-24T22:00:00Z") + SignedDuration::from_mins(*minute);
        quiet_at(&sunday, time).is_some()
    });
    assert_eq!(quiet.count(), 120);
    // A night is an hour shorter and longer, and begins and ends by the wall.
    let night = [window(&["sat"], "22:00", "06:00", zone)];
    for (time, expected) in [
        ("2026-03-28T20:59:00Z", false),
        ("2026-03-28T21:00:00Z", true),
        ("2026-03-29T03:59:00Z", true),
        ("2026-03-29T04:00:00Z", false),
        ("2026-10-24T20:00:00Z", true),
        ("2026-10-25T04:59:00Z", true),
        ("2026-10-25T05:00:00Z", false),
    ] {
        assert_eq!(is_quiet(&night, time), expected, "{time}");
    }
}

proptest! {
    /// A window and the one that fills the rest of the same day are never on together, and one of them always is.
    #[test]
    fn a_window_and_its_rest_are_a_whole_day(
        from in 0u16..1440, to in 0u16..1440, minutes in 0i64..2_000_000, zone in 0usize..3,
    ) {
        prop_assume!(from != to);
        let zone = ["Europe/Zurich", "Asia/Kathmandu", "America/St_Johns"][zone];
        let text = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let one = window(&days, &text(from), &text(to), zone);
        let rest = window(&days, &text(to), &text(from), zone);
        let time = at("2026-01-01T00:00:00Z") + SignedDuration::from_mins(minutes);
        let on = |window: &QuietHours| quiet_at(std::slice::from_ref(window), time).is_some();
        prop_assert_ne!(on(&one), on(&rest));
        let there = time.to_zoned(TimeZone::get(zone).unwrap());
        let minute = there.hour() as u16 * 60 + there.minute() as u16;
        let expected = if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to };
        prop_assert_eq!(on(&one), expected);
    }
}
