//! One session: hello, then records and heartbeats up, acknowledgements, policies and orders down.

use std::time::{Duration, Instant};

use cordon_proto::id::IsolationId;
use cordon_proto::pb::agent_message::Body as Up;
use cordon_proto::pb::controller_message::Body as Down;
use cordon_proto::pb::fleet_client::FleetClient;
use cordon_proto::{PROTOCOL_VERSION, envelope, pb};
use cordon_respond::{Place, Taken};
use cordon_spool::Pending;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::{Downlink, Pace, Uplink, UplinkError, Window};
use crate::host;

const QUEUE: usize = 4;
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// Records on their way this long without a word: the session is not worth keeping.
const SILENCE: Duration = Duration::from_mins(1);
/// An outbox that cannot be read, on a disk that is full or broken, is tried again after this.
const OUTBOX_RETRY: Duration = Duration::from_secs(5);
const MAX_MESSAGE: usize = 2 * envelope::MAX_ENVELOPE_BYTES;

struct Session<'a> {
    uplink: &'a Uplink,
    up: mpsc::Sender<pb::AgentMessage>,
    window: Window,
    pace: Pace,
    /// Made, and waiting for room on the stream. The last one goes first.
    ready: Vec<Up>,
    /// When the outbox is read again that could not be.
    outbox_at: Option<Instant>,
}

/// Runs until the session ends, which is always an error.
pub(super) async fn run(uplink: &Uplink, channel: Channel) -> Result<(), UplinkError> {
    let (up, stream) = mpsc::channel(QUEUE);
    let mut session = Session {
        uplink,
        up,
        window: Window::default(),
        pace: Pace::default(),
        ready: vec![Up::Hello(hello(uplink))],
        outbox_at: None,
    };
    session.send_ready().await?;
    let mut client = FleetClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let down = client.session(ReceiverStream::new(stream)).await?;
    session.converse(down.into_inner()).await
}

impl Session<'_> {
    async fn converse(
        &mut self,
        mut down: Streaming<pb::ControllerMessage>,
    ) -> Result<(), UplinkError> {
        tracing::info!("session with the controller");
        self.uplink.vitals.connected();
        let mut beats = interval(self.uplink.heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (uplink, up) = (self.uplink, self.up.clone());
        let mut places = uplink.places.clone();
        let renewal = tokio::time::sleep(uplink.until_renewal());
        tokio::pin!(renewal);
        loop {
            self.fill().await?;
            let pauses = [self.pace.next(), self.outbox_at];
            let paused_until = pauses.into_iter().flatten().min();
            tokio::select! {
                message = down.message() => match message? {
                    Some(message) => self.heard(message).await?,
                    None => return Err(UplinkError::Closed),
                },
                permit = up.reserve(), if !self.ready.is_empty() => {
                    let permit = permit.map_err(|_| UplinkError::Closed)?;
                    let body = self.ready.pop();
                    permit.send(pb::AgentMessage { body });
                },
                _ = beats.tick() => {
                    self.check_silence()?;
                    self.ready.push(Up::Heartbeat(heartbeat(uplink)));
                },
                Ok(()) = places.changed() => {
                    let wanted = *places.borrow_and_update();
                    // Before the records that wait: an isolation waits for the answer.
                    self.ready.extend(wanted.map(place_wanted));
                },
                () = uplink.written.notified() => {},
                () = until(paused_until), if paused_until.is_some() => {},
                () = &mut renewal => return Err(UplinkError::RenewalDue),
                () = uplink.downlink.closed() => return Err(UplinkError::Stopping),
            }
        }
    }

    async fn send_ready(&mut self) -> Result<(), UplinkError> {
        while let Some(body) = self.ready.pop() {
            let message = pb::AgentMessage { body: Some(body) };
            let sent = self.up.send(message).await;
            sent.map_err(|_| UplinkError::Closed)?;
        }
        Ok(())
    }

    /// Makes the next batches, when nothing waits for room and there is something to send.
    async fn fill(&mut self) -> Result<(), UplinkError> {
        if !self.ready.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let most = self.pace.room(self.window.room().min(BATCH_RECORDS), now);
        if most == 0 {
            return Ok(());
        }
        if self.outbox_at.is_some_and(|at| at > now) {
            return Ok(());
        }
        let records = match self.pending(most).await {
            // The session is also what orders come by: it goes on without evidence.
            Err(UplinkError::Spool(error)) => {
                tracing::error!(error = %crate::chain(&error), "evidence waits for the outbox");
                self.outbox_at = Some(now + OUTBOX_RETRY);
                return Ok(());
            }
            read => read?,
        };
        self.outbox_at = None;
        self.pace.sent(records.len());
        let batches = self.window.send(records, now);
        self.ready.extend(batches.into_iter().rev().map(Up::Batch));
        Ok(())
    }

    async fn pending(&self, most: usize) -> Result<Vec<Pending>, UplinkError> {
        let spool = self.uplink.spool.clone();
        let after = self.window.after();
        let read = move || spool.pending(after, most, BATCH_BYTES);
        let read = tokio::task::spawn_blocking(read).await;
        Ok(read.map_err(|_| UplinkError::Stopping)??)
    }

    async fn heard(&mut self, message: pb::ControllerMessage) -> Result<(), UplinkError> {
        let down = match message.body {
            Some(Down::Ack(ack)) => return self.acknowledged(ack).await,
            Some(Down::Pace(pace)) => {
                tracing::info!(per_second = pace.max_records_per_second, "pace");
                self.pace.set(pace.max_records_per_second);
                return Ok(());
            }
            Some(Down::Policy(json)) => Downlink::Policy(json),
            Some(Down::Order(json)) => Downlink::Order(json),
            Some(Down::Place(place)) => match place_of(&place) {
                Some(place) => place,
                None => return Ok(()),
            },
            // A newer controller's word.
            None => return Ok(()),
        };
        let sent = self.uplink.downlink.send(down).await;
        sent.map_err(|_| UplinkError::Stopping)
    }

    async fn acknowledged(&mut self, ack: pb::Ack) -> Result<(), UplinkError> {
        let ranges: Vec<(u64, u64)> = ack.ranges.iter().map(|r| (r.first, r.last)).collect();
        self.window
            .acknowledged(&ack.boot_id, &ranges, Instant::now());
        let spool = self.uplink.spool.clone();
        let remove = move || spool.acknowledge(&ack.boot_id, &ranges);
        let removed = tokio::task::spawn_blocking(remove).await;
        if let Err(error) = removed.map_err(|_| UplinkError::Stopping)? {
            // They are sent again in the next session, and the controller knows that it has them.
            tracing::error!(error = %crate::chain(&error), "what was acknowledged stays in the outbox");
        }
        Ok(())
    }

    fn check_silence(&self) -> Result<(), UplinkError> {
        let silence = self.window.silence(Instant::now());
        if silence > SILENCE {
            return Err(UplinkError::Silent(silence));
        }
        Ok(())
    }
}

fn place_wanted(isolation: IsolationId) -> Up {
    Up::PlaceWanted(pb::PlaceWanted {
        isolation_id: isolation.to_string(),
    })
}

/// `None`: about no isolation.
fn place_of(answer: &pb::Place) -> Option<Downlink> {
    let isolation = answer.isolation_id.parse().ok()?;
    let place = if answer.granted {
        Place::Granted
    } else {
        Place::Refused(Taken::new(answer.taken, &answer.taken_by))
    };
    Some(Downlink::Place(isolation, place))
}

async fn until(moment: Option<Instant>) {
    if let Some(moment) = moment {
        tokio::time::sleep_until(moment.into()).await;
    }
}

fn hello(uplink: &Uplink) -> pb::Hello {
    let presence = uplink.presence.borrow().clone();
    let isolation = presence
        .isolation
        .map(|report| serde_json::to_string(&report).expect("reports have string keys only"));
    let facts = &uplink.facts;
    pb::Hello {
        protocol: PROTOCOL_VERSION,
        boot_id: facts.boot_id.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: facts.hostname.clone(),
        os: facts.os.clone(),
        kernel: facts.kernel.clone(),
        policy_version: presence.policy_version,
        policy_sha256: presence.policy_sha256,
        sensor_mode: uplink.vitals.sensor_mode(),
        model: uplink.vitals.model(),
        addresses: host::addresses().iter().map(ToString::to_string).collect(),
        isolation_json: isolation.unwrap_or_default(),
    }
}

fn heartbeat(uplink: &Uplink) -> pb::Heartbeat {
    let vitals = &uplink.vitals;
    let (usage, events, spool) = (vitals.usage(), vitals.events(), vitals.spool_stats());
    pb::Heartbeat {
        rss_bytes: usage.rss_bytes,
        cpu_micros: usage.cpu_micros,
        events_seen: events.seen,
        events_lost: events.lost,
        spool_records: spool.records,
        spool_bytes: spool.bytes,
        isolated: uplink.presence.borrow().isolated,
    }
}
