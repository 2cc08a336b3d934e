//! `cordon_rules`: a plain list of indicators. None of them may match what is this host's own.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cordon_fuzz::indicators(bytes);
});
