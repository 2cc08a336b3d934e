//! Makes a site: CA, keys, database, settings, the first account. All of it or nothing: everything
//! is made in a folder beside its place and moved there in one step.

use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use cordon_fleet::ca::Authority;
use cordon_store::{NewApiToken, NewUser, Role, SecretHash, Store};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use jiff::Timestamp;
use serde::Serialize;

use crate::config;
use crate::layout::{Layout, make_private_dir, write_private};
use crate::secret::{hash_password, one_time_password, random_token};

const ADMIN: &str = "admin";
const CONSOLE_PORT: u16 = 8443;
const WHO: &str = "cordon-controller init";

/// What to make.
#[derive(Debug)]
pub struct Plan {
    /// The data directory; not there yet, or empty.
    pub data: PathBuf,
    /// Name of the site.
    pub site: String,
    /// Where agents reach the controller; one port.
    pub addresses: Vec<SocketAddr>,
}

/// What its owner must know; the password is nowhere else.
#[derive(Debug, Serialize)]
pub struct Made {
    /// SHA-256 of the CA's certificate, hex.
    pub ca_fingerprint: String,
    /// First account.
    pub admin_user: String,
    /// Its one-time password.
    pub admin_password: String,
}

/// Makes the site.
pub async fn init(plan: &Plan) -> Result<Made> {
    let parent = check_place(&plan.data)?;
    let port = common_port(&plan.addresses)?;
    let staging = tempfile::Builder::new()
        .prefix(".cordon-init-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(&parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    let made = fill(&Layout::of(staging.path()), plan, port).await?;
    std::fs::rename(staging.path(), &plan.data)
        .with_context(|| format!("cannot move the new site to {}", plan.data.display()))?;
    // It has another name now: nothing is left to be removed.
    drop(staging.keep());
    Ok(made)
}

/// The folder that the data directory will be in.
fn check_place(data: &Path) -> Result<PathBuf> {
    let shown = data.display();
    if Layout::of(data).config().exists() || Layout::of(data).database().exists() {
        bail!(
            "{shown} holds a site already; it is left as it is. Give another --data for a new one"
        );
    }
    if data.exists() {
        let mut entries = std::fs::read_dir(data).with_context(|| format!("cannot use {shown}"))?;
        ensure!(
            entries.next().is_none(),
            "{shown} is not empty; give --data a folder of its own"
        );
    }
    let absolute = std::path::absolute(data).with_context(|| format!("cannot use {shown}"))?;
    let parent = absolute.parent();
    let parent = parent.with_context(|| format!("{shown} cannot be a data directory"))?;
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    Ok(parent.to_owned())
}

fn common_port(addresses: &[SocketAddr]) -> Result<u16> {
    let first = addresses.first().context("give at least one --address")?;
    let port = first.port();
    ensure!(
        port != 0,
        "--address {first} needs the port that agents connect to"
    );
    let other = addresses.iter().find(|address| address.port() != port);
    if let Some(other) = other {
        bail!("--address {other} has another port than {first}: the controller listens on one");
    }
    Ok(port)
}

async fn fill(layout: &Layout, plan: &Plan, port: u16) -> Result<Made> {
    let now = Timestamp::now();
    make_private_dir(&layout.keys())?;
    let ca_fingerprint = make_certificates(layout, plan, now)?;
    make_signing_key(&layout.policy_key(), &layout.policy_public())?;
    make_signing_key(&layout.order_key(), &layout.order_public())?;
    make_signing_key(&layout.release_key(), &layout.release_public())?;
    write_private(&layout.config(), &settings(plan, port))?;
    let admin_password = fill_database(layout, &plan.site, now).await?;
    Ok(Made {
        ca_fingerprint,
        admin_user: ADMIN.to_owned(),
        admin_password,
    })
}

fn make_certificates(layout: &Layout, plan: &Plan, now: Timestamp) -> Result<String> {
    let authority = Authority::generate(&plan.site, now).context("cannot make the site's CA")?;
    write_private(&layout.ca_certificate(), authority.certificate_pem())?;
    write_private(&layout.ca_key(), &authority.key_pem())?;
    let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let given = plan.addresses.iter().map(SocketAddr::ip);
    let addresses: Vec<IpAddr> = given.chain(loopback).collect();
    let server = authority
        .server_identity(&addresses, &["localhost".to_owned()], now)
        .context("cannot make the controller's certificate")?;
    write_private(&layout.server_certificate(), &server.certificate_pem)?;
    write_private(&layout.server_key(), &server.key_pem)?;
    Ok(authority.fingerprint())
}

fn make_signing_key(private: &Path, public: &Path) -> Result<()> {
    let digits = new_signing_key(private)?;
    write_private(public, &format!("{digits}\n"))
}

/// Makes an Ed25519 key in a new file and returns its public half in hex.
pub fn new_signing_key(private: &Path) -> Result<String> {
    let key = SigningKey::from_bytes(&rand::random());
    let pem = key.to_pkcs8_pem(LineEnding::LF);
    let pem = pem.with_context(|| format!("cannot write down {}", private.display()))?;
    write_private(private, &pem)?;
    Ok(hex::encode(key.verifying_key().as_bytes()))
}

fn settings(plan: &Plan, port: u16) -> String {
    let any: IpAddr = if has_ipv6() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let mut console = plan.addresses[0];
    console.set_port(CONSOLE_PORT);
    let (grpc, http) = (
        SocketAddr::new(any, port),
        SocketAddr::new(any, CONSOLE_PORT),
    );
    config::template(&plan.site, grpc, http, &format!("https://{console}"))
}

fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

async fn fill_database(layout: &Layout, site: &str, now: Timestamp) -> Result<String> {
    let store = Store::create(&layout.database())
        .await
        .context("cannot make the database")?;
    let password = one_time_password();
    let admin = NewUser {
        username: ADMIN.to_owned(),
        password_hash: hash_password(&password)?,
        must_change: true,
        role: Role::Admin,
    };
    store.add_user(&admin, now).await?;
    let secret = format!("cordon_{}", random_token());
    let token = NewApiToken {
        hash: SecretHash::of(&secret),
        name: "local".to_owned(),
        role: Role::Admin,
        expires_at: None,
        created_by: WHO.to_owned(),
    };
    store.add_api_token(&token, now).await?;
    write_private(&layout.local_token(), &format!("{secret}\n"))?;
    store.append_audit(WHO, "site.create", site, now).await?;
    store.close().await;
    Ok(password)
}
