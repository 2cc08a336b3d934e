//! `cordon_rules`: a file of exceptions. None may except whom it does not name.
#![no_main]

use cordon_rules::{Exceptions, Scope, Subject};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut exceptions = Exceptions::default();
    exceptions.file("x.json", bytes);
    let nobody = Subject::default();
    for at in [0, 1_780_000_000].map(|second| jiff::Timestamp::from_second(second).unwrap_or_default()) {
        for scope in [Scope::Model, Scope::Rule("r1".to_owned())] {
            assert!(exceptions.excepting(&scope, &nobody, at).is_none());
        }
    }
});
