//! A program that refuses processes in one cgroup to connect and to send datagrams, so that they fail at once.
//!
//! It asks who is calling, not whose the socket is: a socket that was made before its process was moved into the cgroup
//! belongs to the cgroup of before for ever, and no rule by socket hits it. It hangs on the uppermost cgroup, costs
//! there a comparison for each `connect`, and stays when the agent ends: an attachment by `BPF_PROG_ATTACH` is the
//! cgroup's. Written out, because eight instructions need no compiler.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

// linux/bpf.h
const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;
const CGROUP_SOCK_ADDR: u32 = 18;
/// Others may hang programs there too, and all of them are asked.
const ALLOW_MULTI: u32 = 1 << 1;
const GET_CURRENT_CGROUP_ID: u32 = 80;
/// connect4, connect6, sendmsg4, sendmsg6.
const HOOKS: [u32; 4] = [10, 11, 14, 15];
/// Most programs that a hook may hold, linux/bpf-cgroup.h: `BPF_CGROUP_MAX_PROGS`.
const MOST: usize = 64;
const NAME_BYTES: usize = 16;

/// `union bpf_attr`, as large as the kernels that are meant know it; what is longer than a command needs is zero.
type Attributes = [u8; 72];
const NOTHING: Attributes = [0; 72];

/// Hangs the program for the cgroup with this id on `top`, where it does not hang already. True when any was missing.
pub(super) fn attach(top: &File, cgroup: u64) -> io::Result<bool> {
    let mut was_missing = false;
    for hook in HOOKS {
        let wanted = name(cgroup);
        if ours(top, hook)?.iter().any(|(_, name)| *name == wanted) {
            continue;
        }
        let program = load(hook, cgroup)?;
        hang(PROG_ATTACH, top, &program, hook, ALLOW_MULTI)?;
        was_missing = true;
    }
    Ok(was_missing)
}

/// Takes every program of ours off `top`.
pub(super) fn detach(top: &File) -> io::Result<()> {
    for hook in HOOKS {
        for (program, _) in ours(top, hook)? {
            hang(PROG_DETACH, top, &program, hook, 0)?;
        }
    }
    Ok(())
}

/// The cgroup is named too: one of its path that was made anew has another id.
fn name(cgroup: u64) -> [u8; NAME_BYTES] {
    let text = format!("cordon{:09x}", cgroup & 0xf_ffff_ffff);
    let mut name = [0; NAME_BYTES];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}

fn load(hook: u32, cgroup: u64) -> io::Result<OwnedFd> {
    let code = program(cgroup);
    let license = c"Apache-2.0";
    let mut attributes = NOTHING;
    put(&mut attributes, 0, &CGROUP_SOCK_ADDR.to_ne_bytes());
    put(&mut attributes, 4, &((code.len() / 8) as u32).to_ne_bytes());
    put(&mut attributes, 8, &(code.as_ptr() as u64).to_ne_bytes());
    put(
        &mut attributes,
        16,
        &(license.as_ptr() as u64).to_ne_bytes(),
    );
    put(&mut attributes, 48, &name(cgroup));
    put(&mut attributes, 68, &hook.to_ne_bytes());
    // SAFETY: `code` and `license` outlive the call.
    unsafe { open(PROG_LOAD, &mut attributes) }
}

/// Returns 0, which is a refusal, when the caller's cgroup is this one.
fn program(cgroup: u64) -> Vec<u8> {
    let (low, high) = (cgroup as u32, (cgroup >> 32) as u32);
    let code: [(u8, u8, i16, u32); 8] = [
        (0x85, 0, 0, GET_CURRENT_CGROUP_ID), // r0 = the caller's cgroup
        (0x18, 0x01, 0, low),                // r1 = the cgroup, in two
        (0, 0, 0, high),
        (0x1d, 0x10, 2, 0), // if r0 == r1, over the next two
        (0xb7, 0, 0, 1),    // r0 = 1
        (0x95, 0, 0, 0),    // exit
        (0xb7, 0, 0, 0),    // r0 = 0
        (0x95, 0, 0, 0),    // exit
    ];
    let mut bytes = Vec::with_capacity(code.len() * 8);
    for (operation, registers, offset, value) in code {
        bytes.extend([operation, registers]);
        bytes.extend(offset.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
    }
    bytes
}

/// The programs of ours that hang on `top`, with their names.
fn ours(top: &File, hook: u32) -> io::Result<Vec<(OwnedFd, [u8; NAME_BYTES])>> {
    let mut ids = [0_u32; MOST];
    let mut attributes = NOTHING;
    put(&mut attributes, 0, &descriptor(top.as_raw_fd()));
    put(&mut attributes, 4, &hook.to_ne_bytes());
    put(
        &mut attributes,
        16,
        &(ids.as_mut_ptr() as u64).to_ne_bytes(),
    );
    put(&mut attributes, 24, &(MOST as u32).to_ne_bytes());
    // SAFETY: `ids` has room for as many as are asked for, and outlives the call.
    unsafe { call(PROG_QUERY, &mut attributes)? };
    let count = u32::from_ne_bytes([
        attributes[24],
        attributes[25],
        attributes[26],
        attributes[27],
    ]);
    let mut found = Vec::new();
    for id in ids.iter().take(count as usize) {
        let mut attributes = NOTHING;
        put(&mut attributes, 0, &id.to_ne_bytes());
        // SAFETY: there is no pointer in it.
        let program = unsafe { open(PROG_GET_FD_BY_ID, &mut attributes)? };
        let name = name_of(&program)?;
        if name.starts_with(b"cordon") {
            found.push((program, name));
        }
    }
    Ok(found)
}

fn name_of(program: &OwnedFd) -> io::Result<[u8; NAME_BYTES]> {
    // struct bpf_prog_info, as far as the name.
    let mut info = [0_u8; 80];
    let mut attributes = NOTHING;
    put(&mut attributes, 0, &descriptor(program.as_raw_fd()));
    put(&mut attributes, 4, &(info.len() as u32).to_ne_bytes());
    put(
        &mut attributes,
        8,
        &(info.as_mut_ptr() as u64).to_ne_bytes(),
    );
    // SAFETY: `info` is as long as is said, and outlives the call.
    unsafe { call(OBJ_GET_INFO_BY_FD, &mut attributes)? };
    let mut name = [0; NAME_BYTES];
    name.copy_from_slice(&info[64..80]);
    Ok(name)
}

fn hang(
    command: libc::c_long,
    top: &File,
    program: &OwnedFd,
    hook: u32,
    flags: u32,
) -> io::Result<()> {
    let mut attributes = NOTHING;
    put(&mut attributes, 0, &descriptor(top.as_raw_fd()));
    put(&mut attributes, 4, &descriptor(program.as_raw_fd()));
    put(&mut attributes, 8, &hook.to_ne_bytes());
    put(&mut attributes, 12, &flags.to_ne_bytes());
    // SAFETY: there is no pointer in it.
    unsafe { call(command, &mut attributes).map(drop) }
}

fn descriptor(fd: RawFd) -> [u8; 4] {
    fd.to_ne_bytes()
}

fn put(attributes: &mut Attributes, at: usize, bytes: &[u8]) {
    attributes[at..at + bytes.len()].copy_from_slice(bytes);
}

/// # Safety
/// Pointers in `attributes` must be good for what `command` does with them.
unsafe fn call(command: libc::c_long, attributes: &mut Attributes) -> io::Result<libc::c_long> {
    // SAFETY: `attributes` is as long as is said; for the pointers in it the caller answers.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            attributes.len(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}

/// # Safety
/// As for [`call`]; `command` must be one that answers with a new descriptor.
unsafe fn open(command: libc::c_long, attributes: &mut Attributes) -> io::Result<OwnedFd> {
    // SAFETY: the caller answers for it.
    let fd = unsafe { call(command, attributes)? };
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
