//! `cordon_sensor`: perf's side band.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok((_, used)) = cordon_sensor::decode_sideband(rest) {
        rest = &rest[used..];
    }
});
