//! Cutting what was already open when the rules of an isolation or a block went in.
//!
//! The rules alone starve an existing connection; destroying its socket ends it at once on this side
//! (`ECONNABORTED`), so that a remote shell does not linger until the lease is over and then go on.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, SockProtocol};

use crate::netlink::{Message, Netlink, attributes, push_attribute, read_u32};

// linux/sock_diag.h, linux/inet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const INET_DIAG_MARK: u16 = 15;
const DIAG_MESSAGE_BYTES: usize = 72;
const SOCKET_ID: std::ops::Range<usize> = 4..52;
const INODE: usize = 68;
const STATE: usize = 1;
/// Every TCP state but TIME_WAIT (6), CLOSE (7) and LISTEN (10): a service keeps listening, and can be
/// reached again after the release.
const STATES: u32 =
    1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11 | 1 << 12;

// linux/netfilter/nfnetlink_conntrack.h
const CT_GET: u16 = 1 << 8 | 1;
const CT_DELETE: u16 = 1 << 8 | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_ZONE: u16 = 18;
const NESTED: u16 = 0x8000;

/// What was cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) sockets: usize,
    pub(crate) conntrack: usize,
    /// What could not be done, in words.
    pub(crate) failures: Vec<String>,
}

/// Which flows are ended.
pub(crate) enum Doomed<'a> {
    /// All but the agent's own and those within the host.
    AllBut {
        mark: u32,
        local: &'a BTreeSet<IpAddr>,
        controllers: &'a [(IpAddr, u16)],
    },
    /// Those with one of these at the other end.
    With(&'a BTreeSet<IpAddr>),
}

impl Doomed<'_> {
    fn has_socket(&self, remote: IpAddr, of_socket: Option<u32>) -> bool {
        match self {
            Self::AllBut { mark, local, .. } => {
                !is_within_host(remote, local) && of_socket != Some(*mark)
            }
            Self::With(remotes) => remotes.contains(&remote),
        }
    }

    fn has_entry(&self, source: Option<IpAddr>, destination: (IpAddr, u16)) -> bool {
        match self {
            Self::AllBut {
                local, controllers, ..
            } => {
                let is_within = is_within_host(destination.0, local)
                    && source.is_some_and(|source| is_within_host(source, local));
                !is_within && !controllers.contains(&destination)
            }
            Self::With(remotes) => {
                remotes.contains(&destination.0) || source.is_some_and(|s| remotes.contains(&s))
            }
        }
    }
}

/// Ends TCP connections, then forgets what conntrack knows. Nothing here is fatal: the rules are in force already.
pub(crate) fn cut(doomed: &Doomed<'_>) -> Cut {
    let mut cut = Cut::default();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let connections = Sockets {
            family: family as u8,
            protocol: libc::IPPROTO_TCP as u8,
            states: STATES,
        };
        let is_doomed = |message: &Message<'_>| doomed_socket(message, doomed);
        if let Err(errno) = connections.destroy(is_doomed, &mut cut) {
            let why = format!("existing connections could not be listed: {}", errno.desc());
            cut.failures.push(why);
        }
    }
    if let Err(errno) = delete_conntrack(doomed, &mut cut)
        && !is_absent(errno)
    {
        let why = format!("conntrack entries could not be deleted: {}", errno.desc());
        cut.failures.push(why);
    }
    cut
}

/// Ends TCP and UDP sockets by inode, listening ones too. A UDP socket that its process bound itself goes on to be heard by.
pub(crate) fn cut_held(inodes: &BTreeSet<u64>) -> Cut {
    const EVERY_STATE: u32 = u32::MAX;
    let mut cut = Cut::default();
    if inodes.is_empty() {
        return cut;
    }
    let is_doomed = |message: &Message<'_>| {
        let id: [u8; 48] = message.payload.get(SOCKET_ID)?.try_into().ok()?;
        let inode = read_u32(message.payload, INODE)?;
        let is_held = message.kind == SOCK_DIAG_BY_FAMILY && inodes.contains(&u64::from(inode));
        is_held.then_some(id)
    };
    for family in [libc::AF_INET, libc::AF_INET6] {
        for protocol in [libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
            let sockets = Sockets {
                family: family as u8,
                protocol: protocol as u8,
                states: EVERY_STATE,
            };
            if let Err(errno) = sockets.destroy(is_doomed, &mut cut) {
                let why = format!("their sockets could not be listed: {}", errno.desc());
                cut.failures.push(why);
            }
        }
    }
    cut
}

/// Without the conntrack module there is nothing to delete.
fn is_absent(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EINVAL | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::ENOENT
    )
}

/// Sockets of a kind.
struct Sockets {
    family: u8,
    protocol: u8,
    /// One bit a TCP state.
    states: u32,
}

impl Sockets {
    /// Destroys those of whom `doomed` gives the id.
    fn destroy(
        &self,
        doomed: impl Fn(&Message<'_>) -> Option<[u8; 48]>,
        cut: &mut Cut,
    ) -> nix::Result<()> {
        let mut netlink = Netlink::open(SockProtocol::NetlinkSockDiag, 0, SockFlag::empty())?;
        let mut ids = Vec::new();
        netlink.dump(SOCK_DIAG_BY_FAMILY, &self.request(&[0; 48]), |message| {
            ids.extend(doomed(&message));
        })?;
        for id in ids {
            match netlink.acknowledged(SOCK_DESTROY, &self.request(&id)) {
                Ok(()) => cut.sockets += 1,
                // It ended by itself meanwhile.
                Err(Errno::ENOENT) => {}
                Err(errno) => cut.failures.push(format!(
                    "an existing connection could not be destroyed: {}",
                    errno.desc()
                )),
            }
        }
        cut.failures.dedup();
        Ok(())
    }

    /// `struct inet_diag_req_v2`
    fn request(&self, id: &[u8; 48]) -> Vec<u8> {
        let mut request = vec![self.family, self.protocol, 0, 0];
        request.extend_from_slice(&self.states.to_ne_bytes());
        request.extend_from_slice(id);
        request
    }
}

/// The id of a socket that must go. `struct inet_diag_msg`, then attributes.
fn doomed_socket(message: &Message<'_>, doomed: &Doomed<'_>) -> Option<[u8; 48]> {
    if message.kind != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let payload = message.payload;
    let id: [u8; 48] = payload.get(SOCKET_ID)?.try_into().ok()?;
    if STATES & (1u32.checked_shl(u32::from(payload[STATE]))?) == 0 {
        return None;
    }
    let remote = remote_address(payload[0], &id)?;
    let of_socket = attributes(payload.get(DIAG_MESSAGE_BYTES..)?)
        .find(|(kind, _)| *kind == INET_DIAG_MARK)
        .and_then(|(_, content)| read_u32(content, 0));
    doomed.has_socket(remote, of_socket).then_some(id)
}

/// `struct inet_diag_sockid`: two ports, source, destination (16 bytes each).
fn remote_address(family: u8, id: &[u8; 48]) -> Option<IpAddr> {
    let bytes: [u8; 16] = id.get(20..36)?.try_into().ok()?;
    if i32::from(family) == libc::AF_INET {
        let v4: [u8; 4] = bytes[..4].try_into().ok()?;
        return Some(Ipv4Addr::from(v4).into());
    }
    Some(Ipv6Addr::from(bytes).to_canonical())
}

fn is_within_host(address: IpAddr, local: &BTreeSet<IpAddr>) -> bool {
    address.is_loopback() || address.is_unspecified() || local.contains(&address)
}

fn delete_conntrack(doomed: &Doomed<'_>, cut: &mut Cut) -> nix::Result<()> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkNetFilter, 0, SockFlag::empty())?;
    let mut requests = Vec::new();
    netlink.dump(CT_GET, &nfgenmsg(0), |message| {
        if let Some(request) = doomed_entry(&message, doomed) {
            requests.push(request);
        }
    })?;
    for request in requests {
        match netlink.acknowledged(CT_DELETE, &request) {
            Ok(()) => cut.conntrack += 1,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The request that deletes this entry, if it is doomed.
fn doomed_entry(message: &Message<'_>, doomed: &Doomed<'_>) -> Option<Vec<u8>> {
    let family = *message.payload.first()?;
    let entry = message.payload.get(4..)?;
    let (_, tuple) = attributes(entry).find(|(kind, _)| *kind == CTA_TUPLE_ORIG)?;
    if !doomed.has_entry(tuple_source(tuple), tuple_destination(tuple)?) {
        return None;
    }
    let mut request = nfgenmsg(family);
    push_attribute(&mut request, CTA_TUPLE_ORIG | NESTED, tuple);
    if let Some((_, zone)) = attributes(entry).find(|(kind, _)| *kind == CTA_ZONE) {
        push_attribute(&mut request, CTA_ZONE, zone);
    }
    Some(request)
}

fn tuple_destination(tuple: &[u8]) -> Option<(IpAddr, u16)> {
    let port = nested(tuple, 2)
        .find(|(kind, _)| *kind == 3)
        .and_then(|(_, bytes)| Some(u16::from_be_bytes(bytes.try_into().ok()?)));
    Some((tuple_address(tuple, [2, 4])?, port.unwrap_or(0)))
}

fn tuple_source(tuple: &[u8]) -> Option<IpAddr> {
    tuple_address(tuple, [1, 3])
}

/// CTA_TUPLE_IP (1) holds v4 source 1, v4 destination 2, v6 source 3, v6 destination 4.
fn tuple_address(tuple: &[u8], [v4, v6]: [u16; 2]) -> Option<IpAddr> {
    nested(tuple, 1).find_map(|(kind, bytes)| {
        if kind == v4 {
            let bytes: [u8; 4] = bytes.try_into().ok()?;
            return Some(Ipv4Addr::from(bytes).into());
        }
        let bytes: [u8; 16] = (kind == v6).then_some(bytes)?.try_into().ok()?;
        Some(Ipv6Addr::from(bytes).into())
    })
}

fn nested(buffer: &[u8], wanted: u16) -> impl Iterator<Item = (u16, &[u8])> {
    attributes(buffer)
        .filter(move |(kind, _)| *kind == wanted)
        .flat_map(|(_, content)| attributes(content))
}

fn nfgenmsg(family: u8) -> Vec<u8> {
    vec![family, 0, 0, 0]
}
