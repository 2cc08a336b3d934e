//! `cordon_rules`: a file of Sigma rules, matched against a story that has something of everything.
#![no_main]

use cordon_fuzz::story;
use cordon_rules::RuleSetBuilder;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut builder = RuleSetBuilder::new();
    builder.file("x.yml", bytes);
    let set = builder.build();
    let matches = set.matches(&story());
    assert!(matches.found.len() <= set.rules().len());
});
