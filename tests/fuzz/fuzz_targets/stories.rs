//! `cordon_history`: Cordon's own recordings, stories and events.
#![no_main]

use cordon_fuzz::history;
use cordon_history::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    history(Some(Format::Stories), bytes);
    history(Some(Format::Events), bytes);
});
