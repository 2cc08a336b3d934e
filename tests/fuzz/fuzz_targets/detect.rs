//! `cordon_history`: a file of any format.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cordon_fuzz::history(None, bytes));
