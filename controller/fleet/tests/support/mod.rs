//! A controller on loopback, and hosts that speak to it over real TLS.

#![expect(
    dead_code,
    reason = "compiled into each test program, and none needs all of it"
)]

mod documents;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use cordon_fleet::ca::{Authority, HOST_LIFETIME, HostRequest, ServerIdentity};
use cordon_fleet::{Fleet, Site};
use cordon_proto::envelope::{Envelope, sign};
use cordon_proto::id::{HostId, OrderId};
use cordon_proto::order::{OrderState, Receipt};
use cordon_proto::pb::agent_message::Body;
use cordon_proto::pb::controller_message::Body as Reply;
use cordon_proto::pb::enrollment_client::EnrollmentClient;
use cordon_proto::pb::fleet_client::FleetClient;
use cordon_proto::pb::{
    AgentMessage, Batch, ControllerMessage, EnrollRequest, EnrollResponse, Hello, WireRecord,
};
use cordon_proto::record::{Record, RecordBody};
use cordon_proto::{CONTROLLER_SERVER_NAME, PROTOCOL_VERSION};
use cordon_store::Store;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Status, Streaming};

pub use documents::*;

pub const SITE: &str = "hq";
pub const GROUP: &str = "servers";
pub const BOOT: &str = "00000000-0000-4000-8000-000000000001";
/// Longer than anything takes here.
pub const LIMIT: Duration = Duration::from_secs(20);

pub struct Controller {
    pub fleet: Fleet,
    pub address: SocketAddr,
    ca_pem: String,
    ca_key_pem: String,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
    _dir: TempDir,
}

impl Controller {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cordon.db");
        Self::start_on(dir, &path).await
    }

    pub async fn start_on(dir: TempDir, database: &Path) -> Self {
        let now = Timestamp::now();
        let authority = Authority::generate(SITE, now).unwrap();
        let identity = authority.server_identity(&[], &[], now).unwrap();
        let ca_pem = authority.certificate_pem().to_owned();
        let ca_key_pem = authority.key_pem();
        let site = Site {
            name: SITE.into(),
            authority,
            policy_key: policy_key().verifying_key(),
            order_key: order_key(),
            host_lifetime: HOST_LIFETIME,
        };
        let fleet = Fleet::new(Store::create(database).await.unwrap(), site);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(fleet.clone(), listener, identity, stopped));
        Self {
            fleet,
            address,
            ca_pem,
            ca_key_pem,
            stop: Some(stop),
            serving,
            _dir: dir,
        }
    }

    pub fn store(&self) -> &Store {
        self.fleet.store()
    }

    /// Its own authority, in a thief's hands.
    pub fn authority(&self) -> Authority {
        Authority::from_pem(&self.ca_pem, &self.ca_key_pem).unwrap()
    }

    /// Tells it to stop and waits until it has.
    pub async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        timeout(LIMIT, &mut self.serving).await.unwrap().unwrap();
    }

    /// A connection that shows this certificate, or none.
    pub async fn connect(
        &self,
        identity: Option<Identity>,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca_pem))
            .domain_name(CONTROLLER_SERVER_NAME);
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await
    }

    pub async fn token(&self, uses: u32) -> String {
        let lifetime = SignedDuration::from_hours(1);
        let made = self.fleet.create_join_token(GROUP, uses, lifetime, "admin");
        made.await.unwrap().0
    }

    pub async fn enroll(&self, token: &str, csr_pem: String) -> Result<EnrollResponse, Status> {
        let channel = self.connect(None).await.unwrap();
        let request = EnrollRequest {
            join_token: token.into(),
            csr_pem,
            hostname: "ep1".into(),
            machine_id: "0123".into(),
        };
        let answer = EnrollmentClient::new(channel).enroll(request).await;
        answer.map(tonic::Response::into_inner)
    }

    /// Enrols a new host.
    pub async fn host(&self) -> TestHost {
        let keys = Keys::generate();
        let token = self.token(1).await;
        let answer = self.enroll(&token, keys.request()).await.unwrap();
        TestHost {
            id: answer.host_id.parse().unwrap(),
            certificate_pem: answer.certificate_pem,
            keys,
        }
    }

    pub async fn push(&self, version: u64) -> Envelope {
        let envelope = sign(&policy(version), &policy_key());
        let pushed = self.fleet.push_policy(&envelope.to_json(), "admin").await;
        pushed.unwrap().envelope
    }

    /// What the audit log says of one kind of act.
    pub async fn audited(&self, what: &str) -> Vec<String> {
        let entries = self.store().audit(1000, None).await.unwrap();
        let those = entries.into_iter().filter(|entry| entry.what == what);
        those.map(|entry| entry.target).collect()
    }
}

async fn serve(
    fleet: Fleet,
    listener: TcpListener,
    identity: ServerIdentity,
    stopped: oneshot::Receiver<()>,
) {
    let shutdown = async {
        // A controller that is dropped stops too.
        stopped.await.ok();
    };
    fleet.serve(listener, &identity, shutdown).await.unwrap();
}

/// One key, as TLS wants it and as receipts want it.
pub struct Keys {
    pub signing: SigningKey,
    pub tls: KeyPair,
}

impl Keys {
    pub fn generate() -> Self {
        let signing = SigningKey::from_bytes(&rand::random());
        let pem = signing.to_pkcs8_pem(LineEnding::LF).unwrap();
        let tls = KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &PKCS_ED25519).unwrap();
        Self { signing, tls }
    }

    pub fn request(&self) -> String {
        request_by(&self.tls)
    }
}

pub fn request_by(key: &KeyPair) -> String {
    // A subject and a name that the controller must not believe.
    let params = CertificateParams::new(["another.example".to_owned()]).unwrap();
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// A certificate for `host` made by `authority`, begun `ago` and good for the usual week.
pub fn identity_by(
    authority: &Authority,
    keys: &Keys,
    host: HostId,
    ago: SignedDuration,
) -> Identity {
    let request = HostRequest::parse(&keys.request()).unwrap();
    let begun = Timestamp::now() - ago;
    let certificate = authority
        .sign_host(SITE, host, &request, begun, HOST_LIFETIME)
        .unwrap();
    Identity::from_pem(certificate.certificate_pem, keys.tls.serialize_pem())
}

pub struct TestHost {
    pub id: HostId,
    pub certificate_pem: String,
    pub keys: Keys,
}

impl TestHost {
    pub fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate_pem, self.keys.tls.serialize_pem())
    }

    pub async fn session(&self, controller: &Controller) -> Line {
        let mut line = Line::open(controller, self.identity()).await.unwrap();
        line.say(Body::Hello(hello())).await;
        line
    }

    pub fn receipt(&self, order: OrderId, state: OrderState, signer: &SigningKey) -> Vec<u8> {
        let receipt = Receipt {
            order,
            host: self.id,
            state,
            at: Timestamp::now(),
            detail: "proved".into(),
            isolation: None,
        };
        let body = RecordBody::Receipt(sign(&receipt, signer));
        let at = Timestamp::now();
        serde_json::to_vec(&Record { at, body }).unwrap()
    }
}

pub fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        boot_id: BOOT.into(),
        hostname: "ep1".into(),
        sensor_mode: "ebpf".into(),
        ..Hello::default()
    }
}

/// An open session, from the host's end.
pub struct Line {
    say: mpsc::Sender<AgentMessage>,
    hear: Streaming<ControllerMessage>,
}

impl Line {
    pub async fn open(controller: &Controller, identity: Identity) -> Result<Self, Status> {
        let channel = controller.connect(Some(identity)).await;
        let channel = channel.map_err(|e| Status::unavailable(chain(&e)))?;
        let (say, said) = mpsc::channel(64);
        let mut client = FleetClient::new(channel);
        let opened = client.session(ReceiverStream::new(said)).await?;
        let hear = opened.into_inner();
        Ok(Self { say, hear })
    }

    pub async fn say(&mut self, body: Body) {
        let message = AgentMessage { body: Some(body) };
        self.say.send(message).await.unwrap();
    }

    pub async fn send(&mut self, records: Vec<(u64, Vec<u8>)>) {
        let wire = |(sequence, json)| WireRecord { sequence, json };
        let records = records.into_iter().map(wire).collect();
        let boot_id = BOOT.to_owned();
        self.say(Body::Batch(Batch { boot_id, records })).await;
    }

    /// The next message, or how the session ended.
    pub async fn hear(&mut self) -> Result<Reply, Status> {
        let message = timeout(LIMIT, self.hear.message())
            .await
            .expect("no message in time")?;
        let message = message.ok_or_else(|| Status::ok("the stream ended"))?;
        Ok(message.body.expect("a message has a body"))
    }

    /// The next acknowledgement's ranges; whatever comes before it is passed over.
    pub async fn acknowledged(&mut self) -> Vec<(u64, u64)> {
        loop {
            if let Reply::Ack(ack) = self.hear().await.unwrap() {
                return ack
                    .ranges
                    .iter()
                    .map(|range| (range.first, range.last))
                    .collect();
            }
        }
    }

    /// How the session ends; whatever comes before is passed over.
    pub async fn ended(&mut self) -> Status {
        loop {
            if let Err(status) = self.hear().await {
                return status;
            }
        }
    }
}

/// An error and its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Waits for something that a change in the database brings about.
pub async fn wait_for<T>(
    controller: &Controller,
    what: &str,
    found: impl AsyncFn() -> Option<T>,
) -> T {
    let mut changes = controller.store().changes();
    let waiting = async {
        loop {
            changes.borrow_and_update();
            if let Some(found) = found().await {
                return found;
            }
            changes.changed().await.unwrap();
        }
    };
    timeout(LIMIT, waiting)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come"))
}
