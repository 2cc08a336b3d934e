//! Who reaches whom: real connections, over both families, from both sides.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::Node;

const PORT: u16 = 9999;
const STANDING_PORT: u16 = 9998;
const LIMIT: Duration = Duration::from_millis(700);

/// An open door on a node: whoever is let through the network gets in.
pub struct Reach {
    node: Node,
}

impl Reach {
    /// Opens it for both families.
    pub fn open(node: &Node) -> Result<Self> {
        for address in node.addresses() {
            let own = SocketAddr::new(address, PORT);
            let listener = node
                .within_network(|| Ok(TcpListener::bind(own)?))
                .with_context(|| format!("cannot listen on {own}"))?;
            // Accepting and dropping is all a probe needs; the thread ends with this process.
            thread::spawn(move || listener.incoming().for_each(drop));
        }
        Ok(Self { node: node.clone() })
    }

    /// Each way from `from` to this node's addresses, and whether it is open.
    pub fn probe_from(&self, from: &Node) -> Result<Vec<(String, bool)>> {
        let probe = |address: IpAddr| {
            let target = SocketAddr::new(address, PORT);
            let reached = from.within_network(|| Ok(is_reached(target)))?;
            let way = format!("{} -> {} ({address})", from.name(), self.node.name());
            Ok((way, reached))
        };
        self.node.addresses().into_iter().map(probe).collect()
    }
}

/// A refusal came from the other host, so it was reached.
fn is_reached(target: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&target, LIMIT) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

/// Every way between `host` and its peers, both directions, both families.
pub fn peers_of(host: &Reach, peers: &[Reach]) -> Result<Vec<(String, bool)>> {
    let mut ways = Vec::new();
    for peer in peers {
        ways.extend(peer.probe_from(&host.node)?);
        ways.extend(host.probe_from(&peer.node)?);
    }
    Ok(ways)
}

/// Connections that stand since before, one a family: each end holds its side.
pub struct Standing {
    pairs: Vec<(TcpStream, TcpStream)>,
}

impl Standing {
    /// `caller` connects to each address of `host`.
    pub fn open(caller: &Node, host: &Node) -> Result<Self> {
        let connect = |address: IpAddr| {
            let own = SocketAddr::new(address, STANDING_PORT);
            let listener = host.within_network(|| Ok(TcpListener::bind(own)?))?;
            let far = caller.within_network(|| Ok(TcpStream::connect_timeout(&own, LIMIT)?))?;
            let near = listener.accept()?.0;
            for end in [&near, &far] {
                end.set_read_timeout(Some(LIMIT))?;
            }
            Ok((near, far))
        };
        let pairs = host.addresses().into_iter().map(connect);
        let pairs = pairs.collect::<Result<_>>();
        pairs
            .map(|pairs| Self { pairs })
            .with_context(|| format!("no standing connection with {}", host.name()))
    }

    /// Whether any connection still carries a byte, either way.
    pub fn carries(&self) -> bool {
        self.pairs
            .iter()
            .any(|(near, far)| passes(near, far) || passes(far, near))
    }
}

fn passes(mut from: &TcpStream, mut to: &TcpStream) -> bool {
    from.write_all(b"!").is_ok() && matches!(to.read(&mut [0]), Ok(1))
}
