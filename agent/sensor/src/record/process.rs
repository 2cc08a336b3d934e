//! Records of processes: `bpf/lineage.h`.

use std::mem::offset_of;

use cordon_behavior::event::{EventBody, ProcessKey};

use super::{Decoded, Head, Key, Reader};

#[repr(C)]
struct ForkRecord {
    head: Head,
    child: Key,
}

#[repr(C)]
struct ExitRecord {
    head: Head,
    code: u32,
    signal: u32,
}

const _: () = {
    assert!(size_of::<ForkRecord>() == 56);
    assert!(size_of::<ExitRecord>() == 48);
};

pub(super) fn fork(reader: &Reader<'_>) -> Decoded {
    let child = reader.key(offset_of!(ForkRecord, child))?;
    let child = child.unwrap_or(ProcessKey::NONE);
    Ok((EventBody::Fork { child }, size_of::<ForkRecord>()))
}

pub(super) fn exit(reader: &Reader<'_>) -> Decoded {
    let body = EventBody::Exit {
        code: reader.u32(offset_of!(ExitRecord, code))?.cast_signed(),
        signal: reader.u32(offset_of!(ExitRecord, signal))?.cast_signed(),
    };
    Ok((body, size_of::<ExitRecord>()))
}
