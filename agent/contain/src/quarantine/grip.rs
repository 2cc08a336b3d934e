//! A file by its folder and identity, so that no link and no exchange leads to another.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Longest value of an extended attribute, linux/limits.h: `XATTR_SIZE_MAX`.
const MAX_ATTRIBUTE_BYTES: usize = 64 << 10;

/// What a file is besides its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Device that it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Its length.
    pub bytes: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permissions, setuid and setgid too.
    pub mode: u32,
    /// Last access and last change of content: seconds and nanoseconds since 1970.
    pub times: [(i64, i64); 2],
    /// Extended attributes: name and value in hex. Access lists, capabilities and labels are among them.
    pub attributes: Vec<(String, String)>,
}

impl Facts {
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let is = file.metadata()?;
        Ok(Self {
            device: is.dev(),
            inode: is.ino(),
            bytes: is.len(),
            uid: is.uid(),
            gid: is.gid(),
            mode: is.mode() & 0o7777,
            times: [(is.atime(), is.atime_nsec()), (is.mtime(), is.mtime_nsec())],
            attributes: attributes(file)?,
        })
    }

    /// Nobody wrote to it between the two looks.
    pub(super) fn is_same_content(&self, before: &Self) -> bool {
        self.is_same_file(before) && self.bytes == before.bytes && self.times[1] == before.times[1]
    }

    fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// The folder that a file lies in, held open.
pub(super) struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
    name: CString,
}

impl Folder {
    /// Follows no link on the way there.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let invalid = || io::Error::from(ErrorKind::InvalidInput);
        let folder = path
            .parent()
            .filter(|_| path.is_absolute())
            .ok_or_else(invalid)?;
        let name = path.file_name().ok_or_else(invalid)?;
        Ok(Self {
            path: path.to_owned(),
            descriptor: open_folder(folder)?,
            name: c_string(name)?,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, where it is no link. Waits for nobody at the other end of a pipe.
    pub(super) fn file(&self) -> io::Result<File> {
        self.open(&self.name, libc::O_RDONLY | libc::O_NONBLOCK, 0)
    }

    /// Takes the file away, if it is still this one; else, and after any error, it is where it was.
    pub(super) fn remove(&self, facts: &Facts, id: &str) -> io::Result<()> {
        let ours = taken(id)?;
        self.rename(&self.name, &ours)?;
        if !self.is_it(&ours, facts) {
            self.rename(&ours, &self.name)?;
            return Err(io::Error::other(
                "another file took its name meanwhile, or it was written to",
            ));
        }
        if let Err(error) = self.unlink(&ours) {
            self.rename(&ours, &self.name)?;
            return Err(error);
        }
        // From here on what is sealed is all there is: no failure may end in its removal. At the worst the file is there
        // too after a crash.
        drop(self.sync());
        Ok(())
    }

    /// Finishes what a crash left: a file that was taken is removed, one that was exchanged for it has its name again, and
    /// what was not put back in full is removed.
    pub(super) fn finish(&self, facts: &Facts, id: &str) -> io::Result<()> {
        drop(self.unlink(&fresh(id)?));
        let ours = taken(id)?;
        if self.is_it(&ours, facts) {
            self.unlink(&ours)
        } else {
            self.rename(&ours, &self.name)
        }
    }

    fn is_it(&self, name: &CStr, facts: &Facts) -> bool {
        let file = self.open(name, libc::O_RDONLY | libc::O_NONBLOCK, 0);
        let now = file.and_then(|file| Facts::read(&file));
        now.is_ok_and(|now| now.is_same_content(facts))
    }

    /// Makes the file anew: content by `write`, then owner, mode, attributes and times, then its name, which nothing may
    /// have.
    pub(super) fn put_back(
        &self,
        facts: &Facts,
        id: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let ours = fresh(id)?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let mut file = self.open(&ours, flags, 0o600)?;
        let done = write(&mut file)
            .and_then(|()| dress(&file, facts))
            .and_then(|()| file.sync_all())
            .and_then(|()| self.rename(&ours, &self.name));
        if done.is_err() {
            self.unlink(&ours)?;
        }
        done.and_then(|()| self.sync())
    }

    fn open(&self, name: &CStr, flags: i32, mode: u32) -> io::Result<File> {
        let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: the name outlives the call.
        let fd = unsafe { libc::openat(self.descriptor.as_raw_fd(), name.as_ptr(), flags, mode) };
        owned(fd.into()).map(File::from)
    }

    /// Where nothing has the new name.
    fn rename(&self, from: &CStr, to: &CStr) -> io::Result<()> {
        let folder = self.descriptor.as_raw_fd();
        // SAFETY: the names outlive the call.
        let done = unsafe {
            libc::renameat2(
                folder,
                from.as_ptr(),
                folder,
                to.as_ptr(),
                libc::RENAME_NOREPLACE,
            )
        };
        check(done)
    }

    fn unlink(&self, name: &CStr) -> io::Result<()> {
        // SAFETY: the name outlives the call.
        check(unsafe { libc::unlinkat(self.descriptor.as_raw_fd(), name.as_ptr(), 0) })
    }

    fn sync(&self) -> io::Result<()> {
        // The folder is held by a descriptor that cannot be synced.
        let folder = self.open(c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        folder.sync_all()
    }
}

/// Name of a file between being taken and being removed.
fn taken(id: &str) -> io::Result<CString> {
    CString::new(format!(".cordon-{id}")).map_err(io::Error::other)
}

/// Name of a file that is being put back.
fn fresh(id: &str) -> io::Result<CString> {
    CString::new(format!(".cordon-{id}.back")).map_err(io::Error::other)
}

/// Owner before mode: a change of owner takes setuid away; times last.
fn dress(file: &File, facts: &Facts) -> io::Result<()> {
    fchown(file, Some(facts.uid), Some(facts.gid))?;
    file.set_permissions(std::fs::Permissions::from_mode(facts.mode))?;
    for (name, value) in &facts.attributes {
        let name = c_string(OsStr::new(name))?;
        let value = hex::decode(value).map_err(io::Error::other)?;
        // SAFETY: name and value outlive the call, and the length is the value's.
        check(unsafe {
            libc::fsetxattr(
                file.as_raw_fd(),
                name.as_ptr(),
                value.as_ptr().cast(),
                value.len(),
                0,
            )
        })?;
    }
    let times = facts.times.map(|(seconds, nanoseconds)| libc::timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    });
    // SAFETY: two times outlive the call.
    check(unsafe { libc::futimens(file.as_raw_fd(), times.as_ptr()) })
}

fn attributes(file: &File) -> io::Result<Vec<(String, String)>> {
    let mut names = vec![0_u8; MAX_ATTRIBUTE_BYTES];
    // SAFETY: the buffer is as long as is said.
    let length =
        unsafe { libc::flistxattr(file.as_raw_fd(), names.as_mut_ptr().cast(), names.len()) };
    if length < 0 {
        let error = io::Error::last_os_error();
        // A file system without any.
        return if error.raw_os_error() == Some(libc::EOPNOTSUPP) {
            Ok(Vec::new())
        } else {
            Err(error)
        };
    }
    names.truncate(length.unsigned_abs());
    let names = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let text = String::from_utf8(name.to_vec()).map_err(io::Error::other)?;
            Ok((text, hex::encode(attribute(file, name)?)))
        })
        .collect()
}

fn attribute(file: &File, name: &[u8]) -> io::Result<Vec<u8>> {
    let name = c_string(OsStr::from_bytes(name))?;
    let mut value = vec![0_u8; MAX_ATTRIBUTE_BYTES];
    // SAFETY: the name outlives the call, and the buffer is as long as is said.
    let length = unsafe {
        libc::fgetxattr(
            file.as_raw_fd(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    value.truncate(length.unsigned_abs());
    Ok(value)
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let path = c_string(path.as_os_str())?;
    // SAFETY: all zeroes is a value of this plain struct.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: path and struct outlive the call, and the size is the struct's.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw const how,
            size_of_val(&how),
        )
    };
    owned(fd)
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(done: libc::c_int) -> io::Result<()> {
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(io::Error::other)
}
