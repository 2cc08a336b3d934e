//! `cordon_sensor`: records of utmp and lines of the login log.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(cordon_sensor::decode_utmp(bytes, true));
    drop(cordon_sensor::parse_login_line(bytes));
});
