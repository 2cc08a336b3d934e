//! Reading what a fanotify group with handles and names writes.
//!
//! `include/uapi/linux/fanotify.h`: a `struct fanotify_event_metadata` of 24 bytes, then records of a
//! 4-byte header each. Those of files carry an 8-byte fsid, a `struct file_handle` and perhaps a name.

const METADATA: usize = 24;
const HEADER: usize = 4;
/// fsid, `handle_bytes` and `handle_type`.
const HANDLE_HEAD: usize = 16;
/// `MAX_HANDLE_SZ`.
const MAX_HANDLE: usize = 128;
/// `FANOTIFY_METADATA_VERSION`.
const VERSION: u8 = 3;

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedFile<'a> {
    /// Identity of the directory: fsid, length, type and bytes of its handle, as the kernel wrote them.
    pub dir: &'a [u8],
    /// Name in it; `.` for the directory itself, empty where the kernel told none.
    pub name: &'a [u8],
}

/// One event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileNotice<'a> {
    /// `FAN_*` bits of what happened; several where the kernel merged events of one file.
    pub mask: u64,
    /// Process id in the reader's PID namespace; 0 for a process outside it.
    pub pid: u32,
    /// Where; of a rename the old place, if that is watched.
    pub at: Option<NamedFile<'a>>,
    /// The new place of a rename, if that is watched.
    pub to: Option<NamedFile<'a>>,
    /// Identity of the file itself, in the form of [`NamedFile::dir`].
    pub file: Option<&'a [u8]>,
}

/// The bytes are not what this kernel interface writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read a fanotify event: its lengths contradict each other")]
pub struct MalformedNotice;

/// The events in a buffer that was read from a fanotify group. Ends after the first malformed one,
/// because where the next would begin is then unknown.
pub fn file_notices(
    buffer: &[u8],
) -> impl Iterator<Item = Result<FileNotice<'_>, MalformedNotice>> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let split = u32_at(rest, 0)
            .map(|length| length as usize)
            .filter(|length| (METADATA..=rest.len()).contains(length));
        let Some(length) = split else {
            rest = &[];
            return Some(Err(MalformedNotice));
        };
        let (event, after) = rest.split_at(length);
        rest = after;
        let notice = notice(event).ok_or(MalformedNotice);
        if notice.is_err() {
            rest = &[];
        }
        Some(notice)
    })
}

fn notice(event: &[u8]) -> Option<FileNotice<'_>> {
    let metadata = usize::from(u16_at(event, 6)?);
    if event[4] != VERSION || metadata < METADATA {
        return None;
    }
    let mut notice = FileNotice {
        mask: u64::from_ne_bytes(event.get(8..16)?.try_into().ok()?),
        pid: u32_at(event, 20)?,
        ..FileNotice::default()
    };
    let mut records = event.get(metadata..)?;
    while !records.is_empty() {
        let length = usize::from(u16_at(records, 2)?);
        if length < HEADER || length > records.len() {
            return None;
        }
        let (record, after) = records.split_at(length);
        take_up(&mut notice, record)?;
        records = after;
    }
    Some(notice)
}

fn take_up<'a>(notice: &mut FileNotice<'a>, record: &'a [u8]) -> Option<()> {
    match record[0] {
        libc::FAN_EVENT_INFO_TYPE_FID => notice.file = Some(handle(record)?.0),
        libc::FAN_EVENT_INFO_TYPE_DFID
        | libc::FAN_EVENT_INFO_TYPE_DFID_NAME
        | libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => notice.at = Some(named(record)?),
        libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => notice.to = Some(named(record)?),
        // What a newer kernel adds unasked.
        _ => {}
    }
    Some(())
}

fn named(record: &[u8]) -> Option<NamedFile<'_>> {
    let (dir, rest) = handle(record)?;
    let end = rest.iter().position(|byte| *byte == 0);
    let name = &rest[..end.unwrap_or(rest.len())];
    Some(NamedFile { dir, name })
}

/// The identity in a record, and what stands behind it.
fn handle(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32_at(record, HEADER + 8)? as usize;
    if length > MAX_HANDLE {
        return None;
    }
    record.get(HEADER..)?.split_at_checked(HANDLE_HEAD + length)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u8, handle: &[u8], name: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend([7; 8]);
        bytes.extend((handle.len() as u32).to_ne_bytes());
        bytes.extend(1u32.to_ne_bytes());
        bytes.extend(handle);
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let length = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }

    fn event(mask: u64, pid: u32, records: &[Vec<u8>]) -> Vec<u8> {
        let length = METADATA + records.iter().map(Vec::len).sum::<usize>();
        let mut bytes = Vec::new();
        bytes.extend((length as u32).to_ne_bytes());
        bytes.extend([VERSION, 0]);
        bytes.extend((METADATA as u16).to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1i32).to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        bytes.extend(records.concat());
        bytes
    }

    #[test]
    fn a_rename_has_both_places_and_a_create_one() {
        let rename = [
            record(10, &[1; 8], b"a\0"),
            record(12, &[2; 12], b"bb\0"),
            record(1, &[3; 8], b""),
        ];
        let create = [record(2, &[1; 8], b"a\0")];
        let mut bytes = event(libc::FAN_RENAME, 7, &rename);
        bytes.extend(event(libc::FAN_CREATE, 8, &create));
        let read: Vec<FileNotice<'_>> = file_notices(&bytes).map(Result::unwrap).collect();
        assert_eq!((read[0].mask, read[0].pid), (libc::FAN_RENAME, 7));
        assert_eq!(read[0].at.unwrap().name, b"a");
        let to = read[0].to.unwrap();
        assert_eq!((to.name, to.dir.len()), (&b"bb"[..], HANDLE_HEAD + 12));
        assert_eq!(read[0].file.unwrap().len(), HANDLE_HEAD + 8);
        assert_eq!(read[1].at.unwrap().dir, read[0].at.unwrap().dir);
        assert_eq!((read[1].to, read[1].file), (None, None));
    }

    #[test]
    fn a_handle_that_runs_over_its_record_is_malformed() {
        let mut over = record(2, &[1; 8], b"a\0");
        over[12..16].copy_from_slice(&100u32.to_ne_bytes());
        let bytes = event(libc::FAN_CREATE, 1, &[over]);
        let read: Vec<_> = file_notices(&bytes).collect();
        assert_eq!(read, [Err(MalformedNotice)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            file_notices(&bytes).for_each(drop);
        }

        #[test]
        fn any_damage_to_an_event_is_read_without_a_panic(at in 0usize..150, value: u8, cut in 0usize..150) {
            let mut bytes = event(1, 2, &[record(10, &[1; 8], b"a\0"), record(12, &[2; 12], b"bb\0")]);
            let length = bytes.len();
            bytes[at % length] = value;
            bytes.truncate(cut.max(1));
            let read = file_notices(&bytes).count();
            prop_assert!(read <= bytes.len() / METADATA + 1);
        }
    }
}
