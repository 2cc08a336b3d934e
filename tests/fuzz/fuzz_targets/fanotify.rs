//! `cordon_sensor`: what a fanotify group tells of files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // It ends after the first malformed one.
    assert!(cordon_sensor::file_notices(bytes).count() <= bytes.len());
});
