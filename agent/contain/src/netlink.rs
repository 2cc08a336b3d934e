//! The few lines of netlink that containment needs: requests with dumps or acknowledgements.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_BYTES: usize = 16;
const BUFFER_BYTES: usize = 64 << 10;

/// A netlink socket.
pub(crate) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
}

/// One message: its type and what follows the header.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) payload: &'a [u8],
}

impl Netlink {
    /// Opens a socket that is subscribed to the multicast groups in `groups` (bit n-1: group n).
    pub(crate) fn open(protocol: SockProtocol, groups: u32, flags: SockFlag) -> nix::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | flags,
            protocol,
        )?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        // The kernel answers at once; never wait for ever for an answer that was lost.
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(2))?;
        Ok(Self { fd, sequence: 0 })
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Sends one request and waits for its acknowledgement.
    pub(crate) fn acknowledged(&mut self, kind: u16, payload: &[u8]) -> nix::Result<()> {
        self.send(kind, NLM_F_REQUEST | NLM_F_ACK, payload)?;
        self.answers(|_| {})
    }

    /// Sends one dump request and hands over every message of the answer.
    pub(crate) fn dump(
        &mut self,
        kind: u16,
        payload: &[u8],
        each: impl FnMut(Message<'_>),
    ) -> nix::Result<()> {
        self.send(kind, NLM_F_REQUEST | NLM_F_DUMP, payload)?;
        self.answers(each)
    }

    fn send(&mut self, kind: u16, flags: u16, payload: &[u8]) -> nix::Result<()> {
        self.sequence += 1;
        let length = (HEADER_BYTES + payload.len()) as u32;
        let mut message = Vec::with_capacity(length as usize);
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0u32.to_ne_bytes());
        message.extend_from_slice(payload);
        send(self.fd.as_raw_fd(), &message, MsgFlags::empty()).map(drop)
    }

    fn answers(&mut self, mut each: impl FnMut(Message<'_>)) -> nix::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            for message in messages(&buffer[..read]) {
                match message.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return error_of(message.payload),
                    _ => each(message),
                }
            }
        }
    }
}

fn error_of(payload: &[u8]) -> nix::Result<()> {
    match read_u32(payload, 0).map_or(libc::EPROTO, |code| -(code as i32)) {
        0 => Ok(()),
        code => Err(Errno::from_raw(code)),
    }
}

/// Splits what one `recv` brought. A message with a senseless length ends the walk.
pub(crate) fn messages(buffer: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let length = read_u32(rest, 0)? as usize;
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        let payload = rest.get(HEADER_BYTES..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(Message { kind, payload })
    })
}

/// Walks netlink attributes: type without flag bits, content.
pub(crate) fn attributes(buffer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const TYPE_MASK: u16 = 0x3fff;
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(rest.get(0..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & TYPE_MASK;
        let content = rest.get(4..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, content))
    })
}

/// Appends one attribute; `kind` may carry the nested flag.
pub(crate) fn push_attribute(buffer: &mut Vec<u8>, kind: u16, content: &[u8]) {
    let length = 4 + content.len();
    buffer.extend_from_slice(&(length as u16).to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
    buffer.extend_from_slice(content);
    buffer.resize(buffer.len() + aligned(length) - length, 0);
}

/// A string attribute's content, without the NUL that ends it.
pub(crate) fn text(content: &[u8]) -> Option<&str> {
    std::str::from_utf8(content.strip_suffix(&[0])?).ok()
}

pub(crate) fn read_u32(buffer: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(buffer.get(at..at + 4)?.try_into().ok()?))
}

fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attributes_are_read_back_as_written() {
        let mut buffer = Vec::new();
        push_attribute(&mut buffer, 1, b"abc");
        push_attribute(&mut buffer, 0x8002, b"");
        let read: Vec<_> = attributes(&buffer).collect();
        assert_eq!(read, [(1, b"abc".as_slice()), (2, b"".as_slice())]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_neither_panic_nor_loop(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(messages(&bytes).count() <= bytes.len());
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }
    }
}
