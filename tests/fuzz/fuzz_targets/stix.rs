//! `cordon_rules`: a STIX bundle, and the input as the pattern of an indicator.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cordon_fuzz::indicators(&[b"{", bytes].concat());
    let pattern = serde_json::json!({"type": "bundle", "objects": [
        {"type": "indicator", "id": "i", "pattern": String::from_utf8_lossy(bytes), "pattern_type": "stix"}]});
    cordon_fuzz::indicators(pattern.to_string().as_bytes());
});
