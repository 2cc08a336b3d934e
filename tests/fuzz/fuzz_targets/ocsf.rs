//! `cordon_history`: ocsf.
#![no_main]

use cordon_fuzz::history;
use cordon_history::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| history(Some(Format::Ocsf), bytes));
