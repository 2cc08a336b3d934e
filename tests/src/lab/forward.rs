//! A door from the machine's loopback to a node's TCP port, so that a browser can open the console.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};

use super::node::Node;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Open until dropped.
pub struct Forward {
    address: SocketAddr,
    closing: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Forward {
    /// Listens on a free port of 127.0.0.1 and connects to the node's own address.
    pub fn start(node: &Node, port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("cannot listen on the machine's loopback")?;
        let address = listener.local_addr()?;
        let target = SocketAddr::new(IpAddr::V4(node.address_v4()), port);
        let network = node.network()?;
        let closing = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&closing);
        let acceptor = thread::spawn(move || accept(&listener, &network, target, &seen));
        Ok(Self {
            address,
            closing,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the acceptor; if it is already gone, there is nothing to wake.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

/// The listener was made in the machine's network; the connections to the node are made in the
/// node's, which this thread enters.
fn accept(listener: &TcpListener, network: &File, target: SocketAddr, closing: &AtomicBool) {
    if setns(network, CloneFlags::CLONE_NEWNET).is_err() {
        return;
    }
    for client in listener.incoming().flatten() {
        if closing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect_timeout(&target, CONNECT_LIMIT) else {
            continue;
        };
        // A pair that cannot be copied is closed, which is what the browser must see.
        drop(pump(client, server));
    }
}

fn pump(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || copy(client, server));
    thread::spawn(move || copy(server_too, client_too));
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    // An error ends the connection as an end-of-file does.
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
}
