//! Whether a policy's quiet hours are on.

use cordon_proto::policy::{Day, QuietHours};
use jiff::Timestamp;
use jiff::civil::Weekday;

/// The first window that `now` lies in, by what a clock on the wall of the window's zone shows: an hour that a change of
/// clocks leaves out is in none, one that it repeats is in twice.
pub fn quiet_at(windows: &[QuietHours], now: Timestamp) -> Option<&QuietHours> {
    windows.iter().find(|window| is_on(window, now))
}

/// A zone that is not known is none in a policy that was accepted; a broken brake must not become a broken protection.
fn is_on(window: &QuietHours, now: Timestamp) -> bool {
    let Some(zone) = window.time_zone() else {
        return false;
    };
    let there = now.to_zoned(zone);
    let minute =
        u16::from(there.hour().unsigned_abs()) * 60 + u16::from(there.minute().unsigned_abs());
    let begins_on = |weekday: Weekday| {
        let is_it = |day: &Day| Weekday::from(*day) == weekday;
        window.days.iter().any(is_it)
    };
    let (from, to) = (window.from.minutes(), window.to.minutes());
    let today = there.weekday();
    if from < to {
        return begins_on(today) && (from..to).contains(&minute);
    }
    let began_yesterday = begins_on(today.previous()) && minute < to;
    began_yesterday || begins_on(today) && minute >= from
}
