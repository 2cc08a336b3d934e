//! `cordon_proto`: what people type, and what comes on a stick, to open a host without the controller.
#![no_main]

use cordon_proto::release::{Challenge, Code, ReleaseFile};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let typed = String::from_utf8_lossy(bytes);
    if let Ok(challenge) = typed.parse::<Challenge>() {
        assert_eq!(challenge.to_string().parse(), Ok(challenge));
    }
    if let Ok(code) = typed.parse::<Code>() {
        assert_eq!(code.to_string().parse(), Ok(code));
    }
    drop(serde_json::from_slice::<ReleaseFile>(bytes));
});
