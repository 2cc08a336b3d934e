//! Files taken, put back and destroyed; and all that must not be.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use cordon_contain::{
    Facts, Held, MAX_FILE_BYTES, MOST_FILES, Quarantine, QuarantineError, Wanted,
};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

struct Stage {
    dir: TempDir,
    quarantine: Quarantine,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::open(&dir.path().join("state")).unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        Self { dir, quarantine }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir
            .path()
            .canonicalize()
            .unwrap()
            .join("home")
            .join(name)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn take(&self, path: &Path) -> Result<Held, QuarantineError> {
        let now = Timestamp::now();
        self.quarantine.take(path, "a dropper", &|_, _| None, now)
    }

    fn refusal(&self, path: &Path) -> String {
        let refused = self.take(path).unwrap_err();
        let cause = std::error::Error::source(&refused);
        let cause = cause.map_or(String::new(), |cause| format!(": {cause}"));
        assert!(self.quarantine.list().unwrap().is_empty());
        assert!(self.left_over().is_empty(), "{:?}", self.left_over());
        format!("{refused}{cause}")
    }

    /// What a failed try could leave.
    fn left_over(&self) -> Vec<PathBuf> {
        let folder = |name: &str| fs::read_dir(self.dir.path().join(name)).unwrap().flatten();
        let ours =
            folder("home").filter(|entry| entry.file_name().as_bytes().starts_with(b".cordon"));
        let held = folder("state/quarantine").filter(|entry| entry.file_name() != "isolation.lock");
        ours.chain(held).map(|entry| entry.path()).collect()
    }
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    let (path, name) = (
        CString::new(path.as_os_str().as_bytes()).unwrap(),
        CString::new(name).unwrap(),
    );
    // SAFETY: path, name and value outlive the call.
    let done = unsafe {
        libc::setxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_file_is_out_of_reach_and_comes_back_as_it_was() {
    let stage = Stage::new();
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = stage.file("dropper", &content);
    chown(&path, Some(1234), Some(2345)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o6750)).unwrap();
    set_attribute(&path, "trusted.cordon-test", b"label\0");
    let file = File::options().write(true).open(&path).unwrap();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::new(981_173_106, 123_456_789);
    let times = fs::FileTimes::new()
        .set_accessed(long_ago)
        .set_modified(long_ago);
    file.set_times(times).unwrap();
    drop(file);

    let held = stage.take(&path).unwrap();
    assert!(!path.exists());
    assert_eq!(held.facts.bytes, content.len() as u64);
    assert_eq!(
        stage.quarantine.list().unwrap(),
        std::slice::from_ref(&held)
    );
    let mut sealed = Vec::new();
    for file in stage.left_over() {
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        File::open(&file).unwrap().read_to_end(&mut sealed).unwrap();
    }
    assert!(sealed.len() > content.len());
    assert!(!sealed.windows(64).any(|window| window == &content[..64]));

    // Another agent, after a restart.
    let again = Quarantine::open(&stage.dir.path().join("state")).unwrap();
    assert_eq!(again.restore(&held.id).unwrap(), held);
    assert_eq!(fs::read(&path).unwrap(), content);
    let is = fs::metadata(&path).unwrap();
    assert_eq!(
        (is.uid(), is.gid(), is.mode() & 0o7777),
        (1234, 2345, 0o6750)
    );
    assert_eq!(is.modified().unwrap(), long_ago);
    let back = stage.take(&path).unwrap();
    assert_eq!(back.facts.attributes, held.facts.attributes);
    assert!(
        held.facts
            .attributes
            .contains(&("trusted.cordon-test".into(), "6c6162656c00".into()))
    );
    assert_eq!(back.sha256, held.sha256);

    again.delete(&back.id).unwrap();
    assert!(stage.left_over().is_empty() && again.list().unwrap().is_empty());
    for id in [
        &back.id,
        "../isolation",
        "",
        "0123456789abcdef0123456789abcdeg",
    ] {
        assert!(
            matches!(again.restore(id), Err(QuarantineError::Unknown(_))),
            "{id}"
        );
        assert!(
            matches!(again.delete(id), Err(QuarantineError::Unknown(_))),
            "{id}"
        );
    }
}

#[test]
fn what_must_stay_stays() {
    let stage = Stage::new();
    let file = stage.file("file", b"x");
    let folder = stage.path("folder");
    fs::create_dir(&folder).unwrap();
    let link = stage.path("link");
    symlink(&file, &link).unwrap();
    let through = stage.path("way");
    symlink(stage.path(""), &through).unwrap();
    let pipe = stage.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let twice = stage.file("one", b"x");
    fs::hard_link(&twice, stage.path("two")).unwrap();
    let large = stage.path("large");
    File::create(&large)
        .unwrap()
        .set_len(MAX_FILE_BYTES + 1)
        .unwrap();
    let own = stage.dir.path().join("state/agent.json");
    fs::write(&own, "{}").unwrap();
    for (path, why) in [
        (stage.path("missing"), "No such file"),
        (link, "Too many levels of symbolic links"),
        (through.join("file"), "Too many levels of symbolic links"),
        (folder, "no regular file"),
        (pipe, "no regular file"),
        (twice, "1 more names lead to it"),
        (large, "bytes are more than"),
        (own, "belongs to the agent"),
        (PathBuf::from("relative"), "invalid"),
        (PathBuf::from("/"), "invalid"),
    ] {
        let said = stage.refusal(&path);
        assert!(said.contains(why), "{}: {said}", path.display());
    }
    let must_stay = |_: &Path, facts: &Facts| (facts.bytes == 1).then(|| "protected".to_owned());
    let refused = stage
        .quarantine
        .take(&file, "", &must_stay, Timestamp::now());
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .ends_with("is not taken: protected")
    );
    assert!(file.exists());
}

#[test]
fn what_has_the_name_by_then_is_not_overwritten_and_damage_is_not_put_back() {
    let stage = Stage::new();
    let path = stage.file("file", &vec![7; 100_000]);
    let held = stage.take(&path).unwrap();
    stage.file("file", b"another");
    assert!(stage.quarantine.restore(&held.id).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"another");
    fs::remove_file(&path).unwrap();
    let sealed = stage
        .left_over()
        .into_iter()
        .find(|path| path.extension().unwrap() == "sealed");
    let sealed = sealed.unwrap();
    let good = fs::read(&sealed).unwrap();
    let mut altered = good.clone();
    altered[70_000] ^= 1;
    for bad in [&good[..good.len() - 1], &good[..0], &altered] {
        fs::write(&sealed, bad).unwrap();
        let refused = stage.quarantine.restore(&held.id);
        assert!(
            matches!(refused, Err(QuarantineError::Damaged(_))),
            "{refused:?}"
        );
        assert!(!path.exists() && stage.left_over().len() == 2);
    }
    fs::write(&sealed, good).unwrap();
    stage.quarantine.restore(&held.id).unwrap();
    assert_eq!(fs::read(&path).unwrap(), vec![7; 100_000]);
}

/// Whoever exchanges what has the name gets neither taken: what is held is what was there, and what is there is whole.
#[test]
fn a_file_that_is_exchanged_all_the_while_is_taken_or_left_and_never_another() {
    let stage = Stage::new();
    let (path, other) = (
        stage.file("file", b"wanted"),
        stage.file("other", b"bystander"),
    );
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange =
                [&path, &other].map(|path| CString::new(path.as_os_str().as_bytes()).unwrap());
            while !stop.load(Ordering::Relaxed) {
                // SAFETY: both names outlive the call. It fails when one is taken.
                unsafe {
                    libc::renameat2(
                        libc::AT_FDCWD,
                        exchange[0].as_ptr(),
                        libc::AT_FDCWD,
                        exchange[1].as_ptr(),
                        libc::RENAME_EXCHANGE,
                    )
                };
            }
        });
        // A failure must not leave the other thread running.
        let mut told = Vec::new();
        for _ in 0..20 {
            if let Ok(held) = stage.take(&path) {
                let is_back = stage.quarantine.restore(&held.id).is_ok();
                told.push((held.facts.bytes, held.sha256, is_back));
            }
        }
        stop.store(true, Ordering::Relaxed);
        for (bytes, sha256, is_back) in told {
            let content: &[u8] = if bytes == 6 { b"wanted" } else { b"bystander" };
            let wanted = hex::encode(Sha256::digest(content));
            assert!(
                sha256 == wanted && is_back,
                "{bytes} bytes, back: {is_back}"
            );
        }
    });
    let mut left = [&path, &other].map(|path| fs::read(path).unwrap());
    left.sort();
    assert_eq!(left, [b"bystander".to_vec(), b"wanted".to_vec()]);
    assert!(stage.left_over().is_empty());
}

/// A crash before the removal, when another file had taken the name, and one amid putting back.
#[test]
fn what_a_crash_left_half_done_is_finished_by_the_next() {
    let stage = Stage::new();
    let path = stage.file("file", b"wanted");
    let again = || Quarantine::open(&stage.dir.path().join("state")).unwrap();
    let held = stage.take(&path).unwrap();
    let taken = stage.path(&format!(".cordon-{}", held.id));
    let fresh = stage.path(&format!(".cordon-{}.back", held.id));
    fs::write(&taken, b"bystander").unwrap();
    fs::write(&fresh, b"wan").unwrap();
    again();
    assert!(!taken.exists() && !fresh.exists());
    assert_eq!(fs::read(&path).unwrap(), b"bystander");
    fs::remove_file(&path).unwrap();
    again().restore(&held.id).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"wanted");
}

#[test]
fn only_so_many_are_held_at_once() {
    let stage = Stage::new();
    let held = stage.take(&stage.file("first", b"x")).unwrap();
    let entry = |id: &str| stage.dir.path().join(format!("state/quarantine/{id}.json"));
    for number in 1..MOST_FILES {
        fs::copy(entry(&held.id), entry(&format!("{number:032x}"))).unwrap();
    }
    let one_more = stage.file("more", b"x");
    let refused = stage.take(&one_more).unwrap_err().to_string();
    assert!(refused.contains("are held already"), "{refused}");
    assert!(one_more.exists());
    stage.quarantine.delete(&held.id).unwrap();
    stage.take(&one_more).unwrap();
}

const ID: &str = "0123456789abcdef0123456789abcdef";

fn take_as(stage: &Stage, path: &Path, content: Option<&[u8]>) -> Result<Held, QuarantineError> {
    let sha256 = content.map(|content| hex::encode(Sha256::digest(content)));
    let wanted = Wanted {
        id: ID,
        path,
        sha256: sha256.as_deref(),
        reason: "ordered",
    };
    stage
        .quarantine
        .take_as(&wanted, &|_, _| None, Timestamp::now())
}

#[test]
fn a_file_that_is_not_what_was_meant_stays() {
    let stage = Stage::new();
    let path = stage.file("dropper", b"new");
    let refused = take_as(&stage, &path, Some(b"old")).unwrap_err();
    assert!(refused.to_string().contains("was meant"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert!(stage.left_over().is_empty(), "{:?}", stage.left_over());
    let held = take_as(&stage, &path, Some(b"new")).unwrap();
    assert_eq!((held.id.as_str(), path.exists()), (ID, false));
    let kept = stage.dir.path().join("state");
    assert_eq!(Quarantine::held(&kept, ID).unwrap(), held);
}

/// What a file of the same name is by then is nobody's business.
#[test]
fn what_is_asked_for_again_is_done_once() {
    let stage = Stage::new();
    let path = stage.file("dropper", b"one");
    let held = take_as(&stage, &path, None).unwrap();
    stage.file("dropper", b"two");
    assert_eq!(take_as(&stage, &path, None).unwrap(), held);
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(stage.quarantine.list().unwrap().len(), 1);
}

/// Killed when the file was back and what is held of it not yet forgotten.
#[test]
fn a_restore_that_a_crash_cut_short_is_finished_when_it_is_asked_for_again() {
    let stage = Stage::new();
    let path = stage.file("dropper", b"content");
    let held = take_as(&stage, &path, None).unwrap();
    let folder = stage.dir.path().join("state/quarantine");
    let names = ["json", "sealed"].map(|kind| folder.join(format!("{ID}.{kind}")));
    let copies = names.clone().map(|name| fs::read(name).unwrap());
    stage.quarantine.restore(ID).unwrap();
    for (name, copy) in names.iter().zip(&copies) {
        fs::write(name, copy).unwrap();
    }
    assert_eq!(stage.quarantine.restore(ID).unwrap(), held);
    assert_eq!(fs::read(&path).unwrap(), b"content");
    assert!(stage.left_over().is_empty(), "{:?}", stage.left_over());
    // Another file there is not what was put back.
    for (name, copy) in names.iter().zip(&copies) {
        fs::write(name, copy).unwrap();
    }
    fs::write(&path, b"another").unwrap();
    stage.quarantine.restore(ID).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"another");
    // A sealed copy without its key is of a try that came to nothing.
    fs::remove_file(&names[0]).unwrap();
    let other = take_as(&stage, &path, None).unwrap();
    assert_eq!(other.facts.bytes, 7);
}
