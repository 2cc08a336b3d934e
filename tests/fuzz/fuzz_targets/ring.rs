//! `cordon_sensor`: what the eBPF programs write into the ring.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Bytes that are no record are an answer like any other.
    drop(cordon_sensor::decode(bytes, 0));
});
