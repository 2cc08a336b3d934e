//! A real site on loopback: `init` and `serve` as programs, TLS as in the field, `cordonctl` beside it.

#![expect(
    dead_code,
    reason = "compiled into each test program, and none needs all of it"
)]
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use cordon_controller::ctl::trust::Pin;
use cordon_proto::id::HostId;
use cordon_store::{CertificateFacts, NewHost, NewJoinToken, SecretHash, Store};
use jiff::{Timestamp, ToSpan as _};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);
static SITES: AtomicU8 = AtomicU8::new(1);

/// A site in a temporary directory; served or not. Everything ends with it.
pub struct Site {
    dir: tempfile::TempDir,
    address: Ipv4Addr,
    server: Option<Child>,
    pub said: Value,
}

impl Site {
    /// Made by `init`, set to an address of 127/8 that no other site of any test has.
    pub fn init() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [high, low] = (std::process::id() as u16).to_be_bytes();
        let address = Ipv4Addr::new(127, high, low, SITES.fetch_add(1, Ordering::Relaxed));
        let data = dir.path().join("site");
        let agents = format!("{address}:7443");
        let out = program(
            "cordon-controller",
            &[
                "init",
                "--json",
                "--site",
                "lab",
                "--address",
                &agents,
                "--data",
            ],
        )
        .arg(&data)
        .output()
        .unwrap();
        assert!(out.status.success(), "{}", stderr(&out));
        let site = Self {
            dir,
            address,
            server: None,
            said: serde_json::from_slice(&out.stdout).unwrap(),
        };
        site.edit_config(|text| {
            text.replace("[::]", &address.to_string())
                .replace("0.0.0.0", &address.to_string())
        });
        site
    }

    /// Made and serving.
    pub fn serving() -> Self {
        let mut site = Self::init();
        site.serve();
        site
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("site")
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    pub fn edit_config(&self, edit: impl Fn(String) -> String) {
        let path = self.data().join("controller.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, edit(text)).unwrap();
    }

    /// `serve` as it is, for when it should fail.
    pub fn serve_output(&self) -> Output {
        program("cordon-controller", &["serve", "--data"])
            .arg(self.data())
            .output()
            .unwrap()
    }

    /// Starts it and waits for its first answer.
    pub fn serve(&mut self) {
        let log = self.file("serve.log", "");
        let log = std::fs::File::options().append(true).open(log).unwrap();
        let child = program("cordon-controller", &["serve", "--data"])
            .arg(self.data())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(child);
        let started = Instant::now();
        while !self.try_ctl(&["hosts"]).status.success() {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "serve ended: {}", self.log());
            assert!(started.elapsed() < LIMIT, "no answer: {}", self.log());
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("serve.log")).unwrap()
    }

    /// Asks it to end, and says how it did.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        let mut server = self.server.take().unwrap();
        let sent = Command::new("kill").arg(server.id().to_string()).status();
        assert!(sent.unwrap().success());
        server.wait().unwrap()
    }

    pub fn try_ctl(&self, arguments: &[&str]) -> Output {
        program("cordonctl", &["--json", "--data"])
            .arg(self.data())
            .args(arguments)
            .output()
            .unwrap()
    }

    /// `cordonctl --json` that must succeed.
    pub fn ctl(&self, arguments: &[&str]) -> Value {
        let out = self.try_ctl(arguments);
        assert!(out.status.success(), "{arguments:?}: {}", stderr(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// `cordonctl` that must fail: its exit code and last words.
    pub fn ctl_fails(&self, arguments: &[&str]) -> (i32, String) {
        let out = self.try_ctl(arguments);
        assert!(!out.status.success(), "{arguments:?} succeeded");
        (out.status.code().unwrap(), stderr(&out))
    }

    pub fn browser(&self) -> Browser {
        let pem = std::fs::read(self.data().join("keys/ca.pem")).unwrap();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(Pin::from_pem(&pem).unwrap().client_config())
            .no_proxy()
            .build()
            .unwrap();
        Browser {
            http,
            base: format!("https://{}:8443", self.address),
            cookie: None,
        }
    }

    /// A browser signed in as an account of this role.
    pub async fn browser_as(&self, role: &str) -> Browser {
        let name = format!("{role}-{}", SITES.fetch_add(1, Ordering::Relaxed));
        let user = self.ctl(&["user", "create", &name, "--role", role]);
        let mut browser = self.browser();
        let password = user["password"].as_str().unwrap();
        assert_eq!(browser.sign_in(&name, password).await.status(), 200);
        browser
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // Either it ended by itself, or it ends now.
            drop(server.kill());
            drop(server.wait());
        }
    }
}

/// What a browser does: cookies, the header, JSON.
pub struct Browser {
    pub http: reqwest::Client,
    pub base: String,
    pub cookie: Option<String>,
}

impl Browser {
    pub async fn sign_in(&mut self, username: &str, password: &str) -> Response {
        let body = json!({ "username": username, "password": password });
        let answer = self.post("/login", &body).await;
        let cookie = answer.headers().get("set-cookie");
        if let Some(cookie) = cookie {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            self.cookie = Some(cookie.to_owned());
        }
        answer
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1{path}", self.base));
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        let request = self
            .request(Method::POST, path)
            .header("x-cordon-csrf", "1");
        request.json(body).send().await.unwrap()
    }
}

/// A problem's status and detail; asserts that it is one.
pub async fn problem(response: Response) -> (u16, String) {
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(kind, "application/problem+json");
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert!(body["title"].is_string() && body["type"] == "about:blank");
    (status, body["detail"].as_str().unwrap().to_owned())
}

pub fn program(name: &str, arguments: &[&str]) -> Command {
    let path: &Path = match name {
        "cordonctl" => Path::new(env!("CARGO_BIN_EXE_cordonctl")),
        _ => Path::new(env!("CARGO_BIN_EXE_cordon-controller")),
    };
    let mut command = Command::new(path);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).trim().to_owned()
}

/// A policy that lets agents observe, and nobody order them anything.
pub fn policy(version: u64) -> Value {
    let now = Timestamp::now();
    json!({
        "version": version, "site": "lab", "group": "servers",
        "issued_at": now, "expires_at": now + 24.hours(),
        "mode": "observe",
        "isolation": { "lease_seconds": 60, "without_proof": "roll_back", "allow": [] },
        "caps": { "isolations_per_hour": 1 },
        "protected_processes": [], "order_keys": [],
    })
}

/// Signs with a site's key; the envelope in a file.
pub fn signed(site: &Site, key_of: &Site, policy: &Value) -> PathBuf {
    let plain = site.file("policy.json", policy.to_string());
    let out = sign(&key_of.data().join("keys/policy.key"), &plain);
    assert!(out.status.success(), "{}", stderr(&out));
    site.file("policy.signed.json", out.stdout)
}

pub fn sign(key: &Path, policy: &Path) -> std::process::Output {
    let mut command = program("cordonctl", &["policy", "sign", "--key"]);
    command.arg(key).arg(policy).output().unwrap()
}

/// Adds hosts as enrolment would, while nothing is served.
pub async fn add_hosts(site: &Site, names: &[&str]) -> Vec<HostId> {
    let store = Store::open(&site.data().join("cordon.db")).await.unwrap();
    let now = Timestamp::now();
    let token = NewJoinToken {
        hash: SecretHash::of("join"),
        group: "servers".to_owned(),
        uses: names.len() as u32,
        expires_at: now + 1.hours(),
        created_by: "admin".to_owned(),
    };
    store.add_join_token(&token, now).await.unwrap();
    let mut ids = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let id = HostId::generate();
        let host = NewHost {
            id,
            name: (*name).to_owned(),
            machine_id: "0123".to_owned(),
            public_key: [index as u8; 32],
            certificate: CertificateFacts {
                serial: id.to_string(),
                not_after: now + 1.hours(),
            },
        };
        store.enroll(&token.hash, &host, now).await.unwrap();
        ids.push(id);
    }
    store.close().await;
    ids
}
