//! What a BPF program is, asked by its id.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libbpf_rs::libbpf_sys;

/// Name and type of the program with this id; both empty when it is gone already or without
/// CAP_SYS_ADMIN.
pub(super) fn describe(id: u32) -> (String, String) {
    info(id).map_or_else(Default::default, |info| {
        let name: Vec<u8> = info.name.iter().map(|byte| *byte as u8).collect();
        let end = name.iter().position(|byte| *byte == 0);
        let name = String::from_utf8_lossy(&name[..end.unwrap_or(name.len())]);
        (name.into_owned(), type_name(info.type_))
    })
}

fn info(id: u32) -> Option<libbpf_sys::bpf_prog_info> {
    // SAFETY: no pointers.
    let fd = unsafe { libbpf_sys::bpf_prog_get_fd_by_id(id) };
    if fd < 0 {
        return None;
    }
    // SAFETY: the descriptor was just made and nobody else owns it.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut size = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: both pointers are to live values, and the size is that of the first. All counts in it
    // are 0, so the kernel follows none of its pointers.
    let code = unsafe {
        libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut size)
    };
    (code == 0).then_some(info)
}

/// As bpftool names it.
fn type_name(kind: u32) -> String {
    // SAFETY: answers a string that is never freed, or null for a type that the library does not know.
    let name = unsafe { libbpf_sys::libbpf_bpf_prog_type_str(kind) };
    if name.is_null() {
        return String::new();
    }
    // SAFETY: as above, and it ends with a NUL.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_string_lossy().into_owned()
}
