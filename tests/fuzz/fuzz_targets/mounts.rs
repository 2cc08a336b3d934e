//! `cordon_sensor`: notices of mounts, and what a mount is.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok((_, used)) = cordon_sensor::decode_mount_notice(rest) {
        rest = &rest[used..];
    }
    drop(cordon_sensor::decode_statmount(bytes));
});
