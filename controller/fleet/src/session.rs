//! One session: a host's stream, from its hello to its end.
//!
//! Four loops run side by side on one task: [`read`](Session::read) takes messages off the stream,
//! [`commit_all`](Session::commit_all) brings batches to the disk and acknowledges them,
//! [`reconcile`](Session::reconcile) gives the host the policy and the orders that it should have, and
//! [`answer_places`](Session::answer_places) says whether its group has room for one more isolated host.
//! The first that ends, ends the session; batches that were taken in are committed before that.

mod commit;
mod hello;
mod place;
mod reconcile;
mod record;

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use cordon_proto::id::{HostId, IsolationId};
use cordon_proto::pb::agent_message::Body;
use cordon_proto::pb::controller_message::Body as Reply;
use cordon_proto::pb::fleet_server::Fleet as FleetRpc;
use cordon_proto::pb::{AgentMessage, Batch, ControllerMessage, RenewRequest, RenewResponse};
use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::Fleet;
use crate::enroll::read_request;
use crate::failure::status;
use crate::live::Place;
use crate::peer::Peer;

/// Largest message of an agent, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// Most records in one batch.
pub const MAX_BATCH_RECORDS: usize = 10_000;

/// Batches taken in and not committed; with more the stream is not read, and the agent waits.
const QUEUED_BATCHES: usize = 4;
/// Questions for a place that are not answered yet; more get no answer.
const QUEUED_QUESTIONS: usize = 2;
/// Messages for the agent that it has not read.
const QUEUED_REPLIES: usize = 16;
/// An agent that reads nothing for this long is gone.
const REPLY_LIMIT: Duration = Duration::from_secs(30);
/// Batches that were taken in get this long to be committed after the stream's end.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

/// Why a session ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The agent closed the stream or its line broke.
    Left,
    /// It broke the protocol, or the store failed for good.
    Refused(Status),
    /// Another session with the same identity began.
    Superseded,
    /// An administrator turned the host out.
    Evicted,
    /// Its certificate ran out while it was connected.
    Expired,
    /// The controller stops.
    Draining,
}

impl End {
    fn status(self) -> Option<Status> {
        Some(match self {
            Self::Left => return None,
            Self::Refused(status) => status,
            Self::Superseded => {
                Status::aborted("another session with this host's identity has taken over")
            }
            Self::Evicted => Status::permission_denied("the host was evicted; enrol it again"),
            Self::Expired => Status::unauthenticated("the host certificate has expired"),
            Self::Draining => Status::unavailable("the controller is shutting down"),
        })
    }
}

/// The services for hosts that have an identity.
pub(crate) struct SessionService(pub Fleet);

#[tonic::async_trait]
impl FleetRpc for SessionService {
    type SessionStream = ReceiverStream<Result<ControllerMessage, Status>>;

    /// Answers at once: agents may wait for the answer before they say hello.
    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let peer = self.0.peer(&request, Timestamp::now()).await?;
        let (replies, outbound) = mpsc::channel(QUEUED_REPLIES);
        let fleet = self.0.clone();
        let inbound = request.into_inner();
        tokio::spawn(async move {
            let (host, address) = (peer.host.id, peer.address);
            let end = serve(&fleet, peer, inbound, &replies).await;
            tracing::info!(%host, ?address, reason = ?end, "session ended");
            if let Some(status) = end.status() {
                // An agent that is gone does not mind.
                timeout(REPLY_LIMIT, replies.send(Err(status))).await.ok();
            }
        });
        Ok(Response::new(ReceiverStream::new(outbound)))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        let now = Timestamp::now();
        let peer = self.0.peer(&request, now).await?;
        let host = peer.host.id;
        let asked = read_request(&request.get_ref().csr_pem)?;
        let certificate = self.0.sign(host, &asked, now)?;
        self.0
            .store()
            .add_certificate(host, asked.public_key(), &certificate.facts, now)
            .await
            .map_err(|e| status(&e))?;
        let target = format!(
            "certificate {} until {}",
            certificate.facts.serial, certificate.facts.not_after
        );
        self.0
            .audit(&format!("host {host}"), "host.renew", &target)
            .await;
        Ok(Response::new(RenewResponse {
            certificate_pem: certificate.certificate_pem,
            ca_pem: self.0.0.site.authority.certificate_pem().to_owned(),
        }))
    }
}

/// Where replies go.
type Replies = mpsc::Sender<Result<ControllerMessage, Status>>;

/// One host's open session.
struct Session<'a> {
    fleet: &'a Fleet,
    host: HostId,
    group: String,
    address: Option<SocketAddr>,
    receipt_keys: Vec<VerifyingKey>,
    place: Place<'a>,
    replies: &'a Replies,
}

/// Runs a session to its end.
async fn serve(
    fleet: &Fleet,
    peer: Peer,
    mut inbound: Streaming<AgentMessage>,
    replies: &Replies,
) -> End {
    let expiry = until(peer.not_after);
    let hello = match hello::receive(&mut inbound).await {
        Ok(hello) => hello,
        Err(end) => return end,
    };
    let session = match Session::begin(fleet, peer, &hello, replies).await {
        Ok(session) => session,
        Err(end) => return end,
    };
    session.run(inbound, &hello, expiry).await
}

impl Session<'_> {
    async fn run(
        &self,
        inbound: Streaming<AgentMessage>,
        hello: &hello::Checked,
        expiry: Instant,
    ) -> End {
        let (taken, batches) = mpsc::channel(QUEUED_BATCHES);
        let (asked, questions) = mpsc::channel(QUEUED_QUESTIONS);
        let mut committing = pin!(self.commit_all(batches));
        let end = tokio::select! {
            end = self.read(inbound, taken, asked) => end,
            end = self.reconcile(hello) => end,
            end = self.answer_places(questions) => end,
            end = self.told_to_end() => end,
            () = sleep_until(expiry) => End::Expired,
            // Only a refusal: the queue's other end is in this very scope.
            end = &mut committing => return end,
        };
        // `taken` is gone with the reading, so this ends with the last batch.
        if timeout(FINISH_LIMIT, committing).await.is_err() {
            tracing::warn!(host = %self.host, "batches dropped unacknowledged at the end");
        }
        end
    }

    async fn read(
        &self,
        mut inbound: Streaming<AgentMessage>,
        taken: mpsc::Sender<(Batch, Instant)>,
        asked: mpsc::Sender<IsolationId>,
    ) -> End {
        while let Some(message) = inbound.next().await {
            let body = match message {
                Ok(message) => message.body,
                Err(status) => return left_or_refused(status),
            };
            match body {
                Some(Body::Batch(batch)) => {
                    self.place.heard(Timestamp::now(), None);
                    if let Err(status) = record::check_batch(&batch) {
                        return End::Refused(status);
                    }
                    // Fails only when committing has ended, and then so does the session.
                    taken.send((batch, Instant::now())).await.ok();
                }
                Some(Body::Heartbeat(beat)) => self.place.heard(Timestamp::now(), Some(beat)),
                Some(Body::PlaceWanted(wanted)) => {
                    self.place.heard(Timestamp::now(), None);
                    if let Err(status) = self.wants_place(&wanted, &asked) {
                        return End::Refused(status);
                    }
                }
                Some(Body::Hello(_)) => {
                    return End::Refused(Status::invalid_argument("a session has one hello"));
                }
                // A kind of message that a newer agent knows.
                None => self.place.heard(Timestamp::now(), None),
            }
        }
        End::Left
    }

    async fn told_to_end(&self) -> End {
        let mut end = self.place.end.clone();
        let mut draining = self.fleet.0.draining.subscribe();
        tokio::select! {
            told = end.wait_for(Option::is_some) => {
                told.ok().and_then(|told| told.clone()).unwrap_or(End::Superseded)
            }
            _ = draining.wait_for(|draining| *draining) => End::Draining,
        }
    }

    /// Sends one message; an agent that does not read is gone.
    async fn reply(&self, body: Reply) -> Result<(), End> {
        let message = Ok(ControllerMessage { body: Some(body) });
        match timeout(REPLY_LIMIT, self.replies.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Left),
        }
    }
}

/// A message that is too large or is no message is the agent's fault; all else is the line's.
fn left_or_refused(status: Status) -> End {
    match status.code() {
        tonic::Code::OutOfRange | tonic::Code::InvalidArgument | tonic::Code::Internal => {
            End::Refused(status)
        }
        _ => End::Left,
    }
}

/// The moment on the clock that does not jump.
fn until(at: Timestamp) -> Instant {
    let left = at.duration_since(Timestamp::now());
    Instant::now() + Duration::try_from(left).unwrap_or_default()
}
