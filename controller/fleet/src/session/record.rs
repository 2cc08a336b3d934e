//! Pure: what a batch's bytes say, and whether the host may say it.

use cordon_proto::id::HostId;
use cordon_proto::order::{OrderState, Receipt};
use cordon_proto::pb::{Batch, WireRecord};
use cordon_proto::record::{Record, RecordBody};
use cordon_store::{IncomingRecord, Reading};
use ed25519_dalek::VerifyingKey;
use tonic::Status;

use super::MAX_BATCH_RECORDS;
use crate::bounds;
use crate::failure::chain;

/// Whether a batch keeps the protocol's bounds. What its records say is another matter: a record
/// that cannot be read is kept.
pub(super) fn check_batch(batch: &Batch) -> Result<(), Status> {
    if !bounds::is_boot_id(&batch.boot_id) {
        return Err(Status::invalid_argument("a batch's boot id is not a UUID"));
    }
    if batch.records.len() > MAX_BATCH_RECORDS {
        return Err(Status::invalid_argument(format!(
            "a batch of {} records is larger than {MAX_BATCH_RECORDS}",
            batch.records.len()
        )));
    }
    let countable = |record: &WireRecord| i64::try_from(record.sequence).is_ok();
    if !batch.records.iter().all(countable) {
        return Err(Status::invalid_argument(
            "a record's sequence is out of range",
        ));
    }
    Ok(())
}

/// Reads records that came from `host`; receipts must be signed with one of `keys`.
pub(super) fn read_all(
    records: Vec<WireRecord>,
    host: HostId,
    keys: &[VerifyingKey],
) -> Vec<IncomingRecord> {
    let read_one = |record: WireRecord| IncomingRecord {
        sequence: record.sequence,
        reading: read(&record.json, host, keys),
        json: record.json,
    };
    records.into_iter().map(read_one).collect()
}

fn read(json: &[u8], host: HostId, keys: &[VerifyingKey]) -> Reading {
    let record: Record = match serde_json::from_slice(json) {
        Ok(record) => record,
        Err(error) => {
            return Reading::Unreadable {
                why: bounds::text(&error.to_string()),
            };
        }
    };
    let RecordBody::Receipt(envelope) = record.body else {
        return Reading::Record(Box::new(record));
    };
    let opened = envelope.open::<Receipt>(keys).map_err(|e| chain(&e));
    match opened.and_then(|receipt| check_receipt(receipt, host)) {
        Ok(receipt) => Reading::Receipt {
            at: record.at,
            receipt,
            envelope,
        },
        Err(why) => Reading::ForgedReceipt {
            at: record.at,
            why: bounds::text(&why),
        },
    }
}

fn check_receipt(receipt: Receipt, host: HostId) -> Result<Receipt, String> {
    use OrderState::{Done, Failed, Refused, Started};
    if receipt.host != host {
        return Err(format!("the receipt is of host {}", receipt.host));
    }
    if !matches!(receipt.state, Started | Done | Failed | Refused) {
        return Err(format!(
            "{:?} is not a state that a host may report",
            receipt.state
        ));
    }
    Ok(receipt)
}

#[cfg(test)]
mod tests {
    use cordon_proto::envelope::sign;
    use cordon_proto::id::OrderId;
    use ed25519_dalek::SigningKey;
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn receipt_record(state: OrderState, host: HostId, signer: &SigningKey) -> Vec<u8> {
        let receipt = Receipt {
            order: OrderId::generate(),
            host,
            state,
            at: Timestamp::UNIX_EPOCH,
            detail: String::new(),
            isolation: None,
        };
        let record = Record {
            at: Timestamp::UNIX_EPOCH,
            body: RecordBody::Receipt(sign(&receipt, signer)),
        };
        serde_json::to_vec(&record).unwrap()
    }

    #[test]
    fn only_the_hosts_own_word_in_its_own_states_is_a_receipt() {
        let (host, other) = (HostId::generate(), HostId::generate());
        let check = |state, about, signer| {
            let json = receipt_record(state, about, &key(signer));
            let reading = read(&json, host, &[key(1).verifying_key()]);
            matches!(reading, Reading::Receipt { .. })
        };
        assert!(check(OrderState::Done, host, 1));
        assert!(!check(OrderState::Done, host, 2), "another's signature");
        assert!(!check(OrderState::Done, other, 1), "another's receipt");
        assert!(
            !check(OrderState::Expired, host, 1),
            "not the host's to say"
        );
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_kept_as_unreadable(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let reading = read(&bytes, HostId::generate(), &[key(1).verifying_key()]);
            let kept = matches!(reading, Reading::Unreadable { .. });
            prop_assert!(kept);
        }
    }
}
