//! Where a chat channel and a generic webhook would be: keeps what it is sent and checks signatures.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::fleet::Notify;
use crate::lab::Node;

/// Shared with the lab's Feishu channel.
pub const SECRET: &str = "a secret of the lab";

const PORT: u16 = 9090;
const LARGEST: u64 = 1 << 20;
const READ_LIMIT: Duration = Duration::from_secs(5);
/// Feishu refuses a signature that is older than an hour.
const OLDEST_SECONDS: i64 = 3600;

type Cards = Arc<Mutex<BTreeMap<String, Vec<Value>>>>;

/// Listens on a node's loopback until the process ends.
pub struct Receiver {
    cards: Cards,
}

impl Receiver {
    /// Starts it.
    pub fn start(node: &Node) -> Result<Self> {
        let own = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT);
        let listener = node.within_network(|| Ok(TcpListener::bind(own)?))?;
        let cards = Cards::default();
        let kept = Arc::clone(&cards);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A sender that breaks off sends again.
                drop(serve(client, &kept));
            }
        });
        Ok(Self { cards })
    }

    /// The channels that lead here.
    pub fn channels() -> Vec<Notify> {
        let channel = |kind: &str, secret: Option<&str>| Notify {
            kind: kind.to_owned(),
            url: format!("http://127.0.0.1:{PORT}/{kind}"),
            secret: secret.map(str::to_owned),
        };
        vec![channel("webhook", None), channel("feishu", Some(SECRET))]
    }

    /// What came for a channel kind.
    pub fn received(&self, kind: &str) -> Vec<Value> {
        lock(&self.cards).get(kind).cloned().unwrap_or_default()
    }
}

fn lock(cards: &Cards) -> MutexGuard<'_, BTreeMap<String, Vec<Value>>> {
    cards.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(client: TcpStream, cards: &Cards) -> Result<()> {
    client.set_read_timeout(Some(READ_LIMIT))?;
    let mut reader = BufReader::new(client);
    let (kind, body) = read_request(&mut reader)?;
    let refused = (kind == "feishu").then(|| check_signature(&body, SECRET));
    let answer = if let Some(Err(error)) = refused {
        json!({ "code": 19021, "msg": format!("{error:#}") })
    } else {
        lock(cards).entry(kind).or_default().push(body);
        json!({ "code": 0, "msg": "success" })
    };
    let answer = answer.to_string();
    let length = answer.len();
    let mut client = reader.into_inner();
    Ok(write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{answer}"
    )?)
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Result<(String, Value)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).context("not an HTTP request")?;
    let kind = path.trim_start_matches('/').to_owned();
    let mut length = None;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse::<u64>()?);
        }
    }
    let length = length.context("no content-length")?;
    ensure!(length <= LARGEST, "a card of {length} bytes is too large");
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok((kind, serde_json::from_slice(&body)?))
}

/// Feishu's custom bot: base64(HMAC-SHA256(key = timestamp + "\n" + secret, message = nothing)).
fn check_signature(card: &Value, secret: &str) -> Result<()> {
    let timestamp = match &card["timestamp"] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => bail!("the card has no timestamp"),
    };
    let age = Timestamp::now().as_second() - timestamp.parse::<i64>()?;
    ensure!(age.abs() <= OLDEST_SECONDS, "the card is {age} s old");
    let sign = card["sign"].as_str().context("the card has no sign")?;
    let key = format!("{timestamp}\n{secret}");
    Hmac::<Sha256>::new_from_slice(key.as_bytes())?
        .verify_slice(&BASE64.decode(sign)?)
        .context("sign match fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_signs() {
        let timestamp = Timestamp::now().as_second().to_string();
        let key = format!("{timestamp}\nright");
        let code = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        let sign = BASE64.encode(code.finalize().into_bytes());
        let card = json!({ "timestamp": timestamp, "sign": sign });
        assert!(check_signature(&card, "right").is_ok());
        assert!(check_signature(&card, "wrong").is_err());
        let old = json!({ "timestamp": "1", "sign": card["sign"] });
        assert!(check_signature(&old, "right").is_err());
    }
}
