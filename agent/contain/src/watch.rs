//! Wakes when somebody changes our tables, or when a network device comes or goes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, SockFlag, SockProtocol, recv};

use crate::error::ContainError;
use crate::netlink::{Message, Netlink, attributes, messages, text};
use crate::rules::TABLE;

/// NFNLGRP_NFTABLES, linux/netfilter/nfnetlink.h
const NFTABLES_GROUP: u32 = 1 << (7 - 1);
/// RTNLGRP_LINK, linux/rtnetlink.h: group 1, whose bit is the first
const LINK_GROUP: u32 = 1;
/// NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE: all of them are 1.
const TABLE_ATTRIBUTE: u16 = 1;
const NFGENMSG_BYTES: usize = 4;
// linux/rtnetlink.h, linux/if_link.h
const RTM_DELLINK: u16 = 17;
const IFINFOMSG_BYTES: usize = 16;
const IFLA_IFNAME: u16 = 3;
/// In the farewell of a device that goes on in another namespace; one that is deleted says none.
const IFLA_NEW_NETNSID: u16 = 45;
/// Devices that moved away are remembered until they are asked for; more of them are not.
const MOST_MOVED: usize = 64;

/// A subscription. Its file descriptor becomes readable when something happened that may concern an
/// isolation; [`NftWatch::drain`] says whether it did. Our own transactions wake it as well.
pub struct NftWatch {
    nftables: Netlink,
    links: Netlink,
    epoll: Epoll,
    moved: Mutex<Vec<String>>,
}

impl NftWatch {
    /// Subscribes. From now on no change is missed: an overrun buffer counts as a change.
    pub fn open() -> Result<Self, ContainError> {
        let failed = ContainError::netlink("watch nftables and network devices");
        let open = |protocol, group| Netlink::open(protocol, group, SockFlag::SOCK_NONBLOCK);
        let nftables = open(SockProtocol::NetlinkNetFilter, NFTABLES_GROUP).map_err(&failed)?;
        let links = open(SockProtocol::NetlinkRoute, LINK_GROUP).map_err(&failed)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(&failed)?;
        for (data, socket) in [&nftables, &links].into_iter().enumerate() {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, data as u64);
            epoll.add(socket.fd(), event).map_err(&failed)?;
        }
        Ok(Self {
            nftables,
            links,
            epoll,
            moved: Mutex::default(),
        })
    }

    /// Blocks until something that may concern an isolation has happened (`true`) or `timeout` is
    /// over (`false`). `None` waits for ever.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, ContainError> {
        let failed = ContainError::netlink("wait for changes of nftables");
        let deadline = timeout.map(|timeout| std::time::Instant::now() + timeout);
        loop {
            let left = deadline.map_or(EpollTimeout::NONE, |deadline| {
                let left = deadline.saturating_duration_since(std::time::Instant::now());
                EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
            });
            let mut events = [EpollEvent::empty()];
            match self.epoll.wait(&mut events, left) {
                Ok(0) => return Ok(false),
                Ok(_) if self.drain()? => return Ok(true),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// Reads all that has arrived; `true` when something of it may concern an isolation. Never blocks.
    pub fn drain(&self) -> Result<bool, ContainError> {
        let ours = drain(&self.nftables, |message| {
            is_about_our_table(message.payload)
        })?;
        let links = drain(&self.links, |message| {
            self.note_if_moved(message);
            true
        })?;
        Ok(ours || links)
    }

    /// Devices that were moved into another network namespace, by the names that they had here, since the last call.
    pub fn take_moved(&self) -> Vec<String> {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *moved)
    }

    fn note_if_moved(&self, message: &Message<'_>) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        if moved.len() < MOST_MOVED {
            moved.extend(moved_device(message));
        }
    }
}

impl AsFd for NftWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl AsRawFd for NftWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.0.as_raw_fd()
    }
}

fn drain(socket: &Netlink, concerns: impl Fn(&Message<'_>) -> bool) -> Result<bool, ContainError> {
    let mut buffer = vec![0; 64 << 10];
    let mut found = false;
    loop {
        match recv(socket.fd().as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(read) => {
                // All of them: each may have something to note.
                let mine = messages(&buffer[..read]).filter(&concerns).count();
                found |= mine > 0;
            }
            // Messages were lost, so any of them may have been ours.
            Err(Errno::ENOBUFS) => found = true,
            Err(Errno::EAGAIN) => return Ok(found),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(ContainError::netlink("read changes of nftables")(errno)),
        }
    }
}

fn is_about_our_table(payload: &[u8]) -> bool {
    let Some(attributes_of) = payload.get(NFGENMSG_BYTES..) else {
        return false;
    };
    attributes(attributes_of)
        .any(|(kind, content)| kind == TABLE_ATTRIBUTE && text(content) == Some(TABLE))
}

/// Name of a device that takes its leave for another namespace.
fn moved_device(message: &Message<'_>) -> Option<String> {
    let of_link = message.payload.get(IFINFOMSG_BYTES..)?;
    let find = |kind| attributes(of_link).find(move |(found, _)| *found == kind);
    if message.kind != RTM_DELLINK || find(IFLA_NEW_NETNSID).is_none() {
        return None;
    }
    text(find(IFLA_IFNAME)?.1).map(str::to_owned)
}
