//! Tables that outlive their maker (`flags persist`, Linux 6.9): the `nft` of Debian 12 cannot make any.

use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

// linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 10 << 8;
const DELETE_TABLE: u16 = 10 << 8 | 2;
const PERSIST: u32 = 4;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;
pub const INET: u8 = 1;
pub const NETDEV: u8 = 5;
pub const BRIDGE: u8 = 7;

/// Puts an empty one of our name in the place of the table of `family`, in one transaction.
pub fn leave_behind(family: u8) {
    let name = attribute(1, b"cordon\0");
    let flags = attribute(2, &PERSIST.to_be_bytes());
    let batch = [
        message(BATCH_BEGIN, REQUEST, 0, 10, &[]),
        message(DELETE_TABLE, REQUEST, family, 0, &name),
        message(
            NEW_TABLE,
            REQUEST | CREATE | ACKNOWLEDGE,
            family,
            0,
            &[name.clone(), flags].concat(),
        ),
        message(BATCH_END, REQUEST, 0, 10, &[]),
    ]
    .concat();
    let kind = SockType::Raw;
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(
        AddressFamily::Netlink,
        kind,
        flags,
        SockProtocol::NetlinkNetFilter,
    )
    .unwrap();
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).unwrap();
    send(fd.as_raw_fd(), &batch, MsgFlags::empty()).unwrap();
    let mut answer = [0; 1024];
    recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
    // Behind the header of the acknowledgement: what failed.
    assert_eq!(
        answer[16..20],
        [0; 4],
        "a table with `flags persist` (Linux 6.9) was refused"
    );
}

fn message(kind: u16, flags: u16, family: u8, resource: u16, content: &[u8]) -> Vec<u8> {
    let length = 20 + content.len() as u32;
    [
        &length.to_ne_bytes()[..],
        &kind.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &[0; 8],
        &[family, 0],
        &resource.to_be_bytes(),
        content,
    ]
    .concat()
}

fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = 4 + content.len();
    let mut bytes = [
        &(length as u16).to_ne_bytes()[..],
        &kind.to_ne_bytes(),
        content,
    ]
    .concat();
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}
