//! `cordon_proto`: the signed documents, once their envelope is open.
#![no_main]

use cordon_proto::order::Order;
use cordon_proto::policy::Policy;
use cordon_proto::record::Record;
use serde_json::from_slice;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(from_slice::<Policy>(bytes));
    drop(from_slice::<Order>(bytes));
    drop(from_slice::<Record>(bytes));
});
