//! The lab's controller.

use std::fmt::Write as _;
use std::process::Output;

use anyhow::{Context as _, Result, bail};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use super::{CONSOLE_PORT, GROUP, GRPC_PORT, LEASE_SECONDS, SITE};
use crate::lab::{Guest, Node};

const DATA: &str = "/var/lib/cordon-controller";
const LOG: &str = "/var/log/cordon-controller.log";
const SIGNED: &str = "/root/policy.signed.json";

/// A place where the controller tells people.
pub struct Notify {
    /// `webhook` or `feishu`.
    pub kind: String,
    /// Where to.
    pub url: String,
    /// Shared secret, where the kind signs.
    pub secret: Option<String>,
}

/// What `cordon-controller init` said.
pub struct Site {
    /// SHA-256 of the CA's certificate, hex.
    pub ca_fingerprint: String,
    /// First account.
    pub admin_user: String,
    /// Its one-time password.
    pub admin_password: String,
}

/// Makes CA, keys, database and the first account.
pub(super) fn init(node: &Node, notify: &[Notify]) -> Result<Site> {
    let site = init_in(node, DATA)?;
    add_notify(node, notify)?;
    Ok(site)
}

fn init_in(node: &Node, data: &str) -> Result<Site> {
    let v4 = format!("{}:{GRPC_PORT}", node.address_v4());
    let v6 = format!("[{}]:{GRPC_PORT}", node.address_v6());
    let answer = node.succeed(&[
        "cordon-controller",
        "init",
        "--data",
        data,
        "--site",
        SITE,
        "--address",
        &v4,
        "--address",
        &v6,
        "--json",
    ])?;
    let answer: Value = serde_json::from_str(&answer).context("init did not print JSON")?;
    let text = |field: &str| {
        let missing = || format!("init did not print {field}");
        let value = answer[field].as_str().map(str::to_owned);
        value.with_context(missing)
    };
    Ok(Site {
        ca_fingerprint: text("ca_fingerprint")?,
        admin_user: text("admin_user")?,
        admin_password: text("admin_password")?,
    })
}

fn add_notify(node: &Node, notify: &[Notify]) -> Result<()> {
    let path = format!("{DATA}/controller.toml");
    let mut config = node.read(&path)?;
    for channel in notify {
        writeln!(config, "\n[[notify]]\nkind = {:?}", channel.kind)?;
        writeln!(config, "url = {:?}", channel.url)?;
        if let Some(secret) = &channel.secret {
            writeln!(config, "secret = {secret:?}")?;
        }
    }
    node.write(&path, config)
}

pub(super) fn serve(node: &Node) -> Result<Guest> {
    node.spawn(&["cordon-controller", "serve", "--data", DATA], LOG)
}

/// An error with the log's end when the controller ended.
pub(super) fn still_running(node: &Node, serving: &mut Guest) -> Result<()> {
    if let Some(status) = serving.ended()? {
        bail!("the controller ended ({status}): {}", node.read(LOG)?);
    }
    Ok(())
}

/// Runs `cordonctl --json` with the controller's own token.
pub(super) fn ctl(node: &Node, arguments: &[&str]) -> Result<Value> {
    let mut command = vec!["cordonctl", "--data", DATA, "--json"];
    command.extend(arguments);
    let Output {
        status,
        stdout,
        stderr,
    } = node.exec(&command)?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&stderr);
        bail!("cordonctl {arguments:?} failed: {}", complaint.trim());
    }
    serde_json::from_slice(&stdout)
        .with_context(|| format!("cordonctl {arguments:?} did not print JSON"))
}

/// Runs `cordonctl` as a person would, and returns what it prints.
pub(super) fn show(node: &Node, arguments: &[&str]) -> Result<String> {
    let command = [&["cordonctl", "--data", DATA], arguments].concat();
    node.succeed(&command)
}

/// HTTP status of a page of the console, asked for without a session, with the site's CA as only trust.
pub(super) fn status_of_page(node: &Node, path: &str) -> Result<u16> {
    let ca = format!("{DATA}/keys/ca.pem");
    let url = format!("https://{}:{CONSOLE_PORT}{path}", node.address_v4());
    let status = node.succeed(&[
        "curl",
        "--silent",
        "--show-error",
        "--max-time",
        "5",
        "--cacert",
        &ca,
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        &url,
    ])?;
    status.parse().context("curl did not print a status")
}

/// The lab's policy, before it is signed.
pub(super) fn policy(node: &Node, version: u64, mode: &str) -> Result<Value> {
    let now = Timestamp::now();
    Ok(json!({
        "version": version,
        "site": SITE,
        "group": GROUP,
        "issued_at": now,
        "expires_at": now + (24 * 365).hours(),
        "mode": mode,
        "isolation": { "lease_seconds": LEASE_SECONDS, "without_proof": "stay_shut", "allow": [] },
        "caps": { "isolations_per_hour": 4 },
        "protected_processes": [],
        "order_keys": [{ "public_key": order_key(node)?, "verbs": ["isolate", "release"] }],
    }))
}

/// Signs a policy with the site's offline key, as an officer would, and pushes it.
pub(super) fn sign_and_push(node: &Node, policy: &Value) -> Result<()> {
    sign_with(node, &format!("{DATA}/keys/policy.key"), policy)?;
    ctl(node, &["policy", "push", SIGNED]).map(drop)
}

/// Signs a policy with the key of another site of the same name, and pushes it.
pub(super) fn forge_and_push(node: &Node, policy: &Value) -> Result<()> {
    const OTHER: &str = "/root/other-site";
    init_in(node, OTHER)?;
    sign_with(node, &format!("{OTHER}/keys/policy.key"), policy)?;
    ctl(node, &["policy", "push", SIGNED]).map(drop)
}

fn sign_with(node: &Node, key: &str, policy: &Value) -> Result<()> {
    node.write("/root/policy.json", policy.to_string())?;
    let signed = node.succeed(&[
        "cordonctl",
        "policy",
        "sign",
        "--key",
        key,
        "/root/policy.json",
    ])?;
    node.write(SIGNED, signed)
}

/// The public half of the controller's online key, which the policy lets sign orders.
fn order_key(node: &Node) -> Result<String> {
    let public = node.read(&format!("{DATA}/keys/order.pub"))?;
    Ok(public.trim().to_owned())
}
