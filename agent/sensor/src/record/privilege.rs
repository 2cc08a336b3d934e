//! Records of privileges: `bpf/privilege.h`.

use std::mem::offset_of;

use cordon_behavior::event::{EventBody, ProcessKey};

use super::{Decoded, Head, Key, Reader};

const MODULE_NAME_BYTES: usize = 56;

#[repr(C)]
struct PtraceRecord {
    head: Head,
    target: Key,
}

#[repr(C)]
struct ModuleRecord {
    head: Head,
    name: [u8; MODULE_NAME_BYTES],
}

const _: () = {
    assert!(size_of::<PtraceRecord>() == 56);
    assert!(size_of::<ModuleRecord>() == 96);
};

pub(super) fn ptrace(reader: &Reader<'_>) -> Decoded {
    let target = reader.key(offset_of!(PtraceRecord, target))?;
    let target = target.unwrap_or(ProcessKey::NONE);
    Ok((EventBody::Ptrace { target }, size_of::<PtraceRecord>()))
}

pub(super) fn module(reader: &Reader<'_>) -> Decoded {
    let name = reader.slice(offset_of!(ModuleRecord, name), MODULE_NAME_BYTES)?;
    let end = name.iter().position(|byte| *byte == 0);
    let name = String::from_utf8_lossy(&name[..end.unwrap_or(name.len())]);
    let name = name.into_owned();
    Ok((EventBody::Module { name }, size_of::<ModuleRecord>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_its_name() {
        let mut bytes = vec![0; size_of::<ModuleRecord>()];
        bytes[0] = 8;
        bytes[16] = 7;
        bytes[offset_of!(ModuleRecord, name)..][..6].copy_from_slice(b"nf_nat");
        let event = crate::decode(&bytes, 0).ok().flatten().expect("an event");
        let name = String::from("nf_nat");
        assert_eq!(
            (event.process.pid, event.body),
            (7, EventBody::Module { name })
        );
        assert!(crate::decode(&bytes[..95], 0).is_err());
    }
}
