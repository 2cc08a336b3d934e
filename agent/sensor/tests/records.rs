//! Whatever bytes the ring holds, decoding them answers and never panics.

use cordon_sensor::decode;
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, offset: i64) {
        let _answer = decode(&bytes, offset);
    }

    /// Right kind, wrong everything else: reaches past the first check.
    #[test]
    fn any_body_of_a_known_kind_is_answered(
        kind in 1u32..17,
        body in proptest::collection::vec(any::<u8>(), 0..6000),
        offset: i64,
    ) {
        let mut bytes = kind.to_ne_bytes().to_vec();
        bytes.extend(body);
        let _answer = decode(&bytes, offset);
    }
}
