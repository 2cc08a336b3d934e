//! `cordon_sensor`: DNS messages, cut short or not.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(cordon_sensor::read_dns(bytes));
});
