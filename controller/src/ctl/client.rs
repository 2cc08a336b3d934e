//! The REST interface from the outside.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use cordon_proto::CONTROLLER_SERVER_NAME;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::args::Connection;
use super::error::CtlError;
use super::trust::Pin;
use crate::config::Config;
use crate::http::BASE;
use crate::http::problem::ProblemBody;
use crate::layout::Layout;

const TIMEOUT: Duration = Duration::from_secs(15);
const DEFAULT_PORT: u16 = 8443;

/// One controller and the right to talk to it. Connects when it is first used.
pub struct Client<'a> {
    connection: &'a Connection,
    line: OnceCell<Line>,
}

struct Line {
    http: reqwest::Client,
    base: String,
    server: String,
    token: String,
}

impl<'a> Client<'a> {
    /// By the data directory on this machine, or by address, CA and token file.
    pub fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            line: OnceCell::new(),
        }
    }

    /// Reads a thing.
    pub async fn get(&self, path: &str) -> Result<Value, CtlError> {
        let line = self.line().await?;
        line.ask(path, line.http.get(line.url(path))).await
    }

    /// Changes a thing.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, CtlError> {
        let line = self.line().await?;
        line.ask(path, line.http.post(line.url(path)).json(body))
            .await
    }

    async fn line(&self) -> Result<&Line, CtlError> {
        let open = || Line::open(self.connection);
        self.line.get_or_try_init(open).await
    }
}

impl Line {
    async fn open(connection: &Connection) -> Result<Self, CtlError> {
        let (server, pin, token) = match &connection.server {
            Some(server) => (server.clone(), pin_of(connection)?, token_of(connection)?),
            None => local(&Layout::of(&connection.data))?,
        };
        let addresses = resolve(&server).await?;
        let port = addresses.first().map_or(DEFAULT_PORT, SocketAddr::port);
        let http = reqwest::Client::builder()
            .user_agent(concat!("cordonctl/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(pin.client_config())
            .resolve_to_addrs(CONTROLLER_SERVER_NAME, &addresses)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| unreachable(&server, error))?;
        Ok(Self {
            http,
            base: format!("https://{CONTROLLER_SERVER_NAME}:{port}{BASE}"),
            server,
            token,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn ask(&self, path: &str, request: reqwest::RequestBuilder) -> Result<Value, CtlError> {
        let failed = |error| unreachable(&self.server, error);
        let request = request.bearer_auth(&self.token);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        if !status.is_success() {
            return Err(refused(status.as_u16(), &body));
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|source| CtlError::Answer {
            path: path.to_owned(),
            source,
        })
    }
}

/// An answer as the type that it should have.
pub fn read<T: DeserializeOwned>(path: &str, answer: &Value) -> Result<T, CtlError> {
    T::deserialize(answer).map_err(|source| CtlError::Answer {
        path: path.to_owned(),
        source,
    })
}

/// What somebody typed, as one segment of a path.
pub fn segment(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let bytes = text.bytes().map(|byte| {
        if keep(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    bytes.collect()
}

fn refused(status: u16, body: &[u8]) -> CtlError {
    let problem: Option<ProblemBody> = serde_json::from_slice(body).ok();
    let words = problem.map_or_else(String::new, |problem| {
        if problem.detail.is_empty() {
            problem.title
        } else {
            problem.detail
        }
    });
    CtlError::Refused {
        status,
        detail: cordon_analyst::clean::plain(&words, 1_000),
    }
}

fn unreachable(server: &str, error: reqwest::Error) -> CtlError {
    CtlError::Unreachable {
        server: server.to_owned(),
        source: error.without_url().into(),
    }
}

/// The controller on this machine, by the token that `init` left for its owner.
fn local(layout: &Layout) -> Result<(String, Pin, String), CtlError> {
    let config = Config::read(&layout.config())?;
    let mut address = config.http_listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let pin = Pin::from_pem(&read_file(&layout.ca_certificate())?)?;
    let token = text_of(&layout.local_token())?;
    Ok((address.to_string(), pin, token))
}

fn pin_of(connection: &Connection) -> Result<Pin, CtlError> {
    match (&connection.ca, &connection.ca_fingerprint) {
        (Some(file), _) => Ok(Pin::from_pem(&read_file(file)?)?),
        (None, Some(fingerprint)) => Ok(Pin::from_fingerprint(fingerprint)?),
        (None, None) => Err(CtlError::Usage(
            "--server needs --ca FILE or --ca-fingerprint HEX to know the controller by".to_owned(),
        )),
    }
}

fn token_of(connection: &Connection) -> Result<String, CtlError> {
    let Some(file) = &connection.token_file else {
        let missing = "--server needs --token-file FILE with an API token";
        return Err(CtlError::Usage(missing.to_owned()));
    };
    text_of(file)
}

async fn resolve(server: &str) -> Result<Vec<SocketAddr>, CtlError> {
    let name = server.strip_prefix("https://").unwrap_or(server);
    let name = name.trim_end_matches('/');
    let has_port = name
        .rsplit_once(':')
        .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && !is_bare_v6(host, name));
    let target = if has_port {
        name.to_owned()
    } else {
        format!("{name}:{DEFAULT_PORT}")
    };
    let found = tokio::net::lookup_host(target).await;
    found
        .map(Iterator::collect)
        .map_err(|error| CtlError::Unreachable {
            server: server.to_owned(),
            source: error.into(),
        })
}

/// `fd99::1` has no port, though it ends in a colon and a number.
fn is_bare_v6(host: &str, whole: &str) -> bool {
    host.contains(':') && !whole.starts_with('[')
}

/// A file, or an error that names it.
pub fn read_file(path: &Path) -> Result<Vec<u8>, CtlError> {
    std::fs::read(path).map_err(|source| CtlError::Read {
        path: path.to_owned(),
        source,
    })
}

fn text_of(path: &Path) -> Result<String, CtlError> {
    let bytes = read_file(path)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
