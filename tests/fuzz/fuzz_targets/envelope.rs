//! `cordon_proto`: the signed envelope (DSSE).
#![no_main]

use cordon_proto::envelope::Envelope;
use cordon_proto::policy::Policy;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(envelope) = Envelope::from_json(bytes) else {
        return;
    };
    assert!(envelope.open::<Policy>(&[]).is_err(), "nobody is trusted");
    let again = Envelope::from_json(&envelope.to_json());
    assert_eq!(again.map(|it| it.sha256()).ok(), Some(envelope.sha256()));
});
