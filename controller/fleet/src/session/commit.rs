//! Batches to the disk, then the word that they are there.

use cordon_proto::pb::controller_message::Body as Reply;
use cordon_proto::pb::{Ack, Batch, Pace, Range};
use cordon_proto::record::RecordBody;
use cordon_store::{Committed, IncomingRecord, Reading};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::record::read_all;
use super::{End, Session};
use crate::failure::{chain, status};
use crate::pace::{Speed, pause};

impl Session<'_> {
    /// Commits one batch after the other. Ends with the queue, or when the store fails for good.
    pub(super) async fn commit_all(&self, mut batches: mpsc::Receiver<(Batch, Instant)>) -> End {
        let mut speed = Speed::Free;
        while let Some((batch, arrived)) = batches.recv().await {
            if let Err(end) = self.take(batch, arrived, &mut speed).await {
                return end;
            }
        }
        End::Left
    }

    async fn take(&self, batch: Batch, arrived: Instant, speed: &mut Speed) -> Result<(), End> {
        let boot_id = batch.boot_id;
        let records = read_all(batch.records, self.host, &self.receipt_keys);
        let committed = self.commit(&boot_id, &records, speed).await?;
        self.flag_forged(&boot_id, &records, &committed).await;
        if records.iter().any(is_about_isolation) {
            self.fleet.0.peers.notify_one();
        }
        self.acknowledge(boot_id, &committed).await?;
        self.set_speed(speed, speed.after_commit(arrived.elapsed()))
            .await
    }

    /// Commits, waiting out a full disk: the batch stays here, so that nothing is sent twice.
    async fn commit(
        &self,
        boot_id: &str,
        records: &[IncomingRecord],
        speed: &mut Speed,
    ) -> Result<Committed, End> {
        for attempt in 0.. {
            let now = Timestamp::now();
            let commit = self
                .fleet
                .store()
                .commit_batch(self.host, boot_id, records, now);
            match commit.await {
                Ok(committed) => return Ok(committed),
                Err(error) if error.is_temporary() => {
                    let wait = pause(attempt);
                    tracing::error!(
                        host = %self.host, error = %chain(&error), wait_ms = wait.as_millis(),
                        "records not committed"
                    );
                    self.set_speed(speed, Speed::Stopped).await?;
                    sleep(wait).await;
                }
                Err(error) => return Err(End::Refused(status(&error))),
            }
        }
        unreachable!("the attempts do not end")
    }

    async fn acknowledge(&self, boot_id: String, committed: &Committed) -> Result<(), End> {
        let ranges = committed.ranges.iter().map(|range| Range {
            first: range.first,
            last: range.last,
        });
        let ranges = ranges.collect();
        self.reply(Reply::Ack(Ack { boot_id, ranges })).await
    }

    async fn set_speed(&self, speed: &mut Speed, next: Speed) -> Result<(), End> {
        if *speed == next {
            return Ok(());
        }
        *speed = next;
        tracing::info!(host = %self.host, ?speed, "agent paced");
        let max_records_per_second = next.records_per_second();
        self.reply(Reply::Pace(Pace {
            max_records_per_second,
        }))
        .await
    }

    /// A forged receipt is a sign of a compromised agent. It moved nothing.
    async fn flag_forged(&self, boot_id: &str, records: &[IncomingRecord], committed: &Committed) {
        if committed.fresh == 0 {
            return;
        }
        for record in records {
            let Reading::ForgedReceipt { why, .. } = &record.reading else {
                continue;
            };
            tracing::warn!(host = %self.host, sequence = record.sequence, why, "forged receipt");
            let target = format!("record {} of boot {boot_id}: {why}", record.sequence);
            self.fleet
                .audit(&format!("host {}", self.host), "receipt.forged", &target)
                .await;
        }
    }
}

/// A receipt may be of a release.
fn is_about_isolation(record: &IncomingRecord) -> bool {
    match &record.reading {
        Reading::Receipt { .. } => true,
        Reading::Record(record) => matches!(record.body, RecordBody::Isolation(_)),
        Reading::ForgedReceipt { .. } | Reading::Unreadable { .. } => false,
    }
}
