//! The guest's disk: a minimal Debian 12, made once from packages.

use std::fs;
use std::path::{Path, PathBuf};

use super::{failed, folder, fresh, write};
use crate::shell::{Failure, Step};

/// Packages of the guest beside a minimal system: the kernel, an init, and what Cordon needs there.
const GUEST: &str = "systemd-sysv,udev,linux-image-amd64,initramfs-tools,nftables,iproute2,procps,kmod,\
                     util-linux,perl-base,libelf1,zlib1g";
const MIRROR: &str = "http://deb.debian.org/debian";
const UNIT: &str = "\
[Unit]
Description=What the host asked for
After=multi-user.target
RequiresMountsFor=/share
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/share/run >/share/log 2>&1; echo $? >/share/status; sync'
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
";
const FSTAB: &str = "share /share 9p trans=virtio,version=9p2000.L,msize=262144 0 0\n";
/// What a guest boots from.
pub struct Image {
    pub disk: PathBuf,
    pub kernel: PathBuf,
    pub initrd: PathBuf,
}

/// The guest's disk, made when it is not there or its packages are others.
pub fn image() -> Result<Image, Failure> {
    let tree = folder().join("tree");
    let image = |tree: &Path| -> Result<Image, Failure> {
        Ok(Image {
            disk: folder().join("disk.img"),
            kernel: boot_file(tree, "vmlinuz-")?,
            initrd: boot_file(tree, "initrd.img-")?,
        })
    };
    let made_of = folder().join("made-of");
    let wanted = format!("{GUEST}\n{UNIT}{FSTAB}");
    if fs::read_to_string(&made_of).is_ok_and(|known| known == wanted) {
        return image(&tree);
    }
    eprintln!("vm: making the guest's disk, once");
    fresh(&tree)?;
    Step::new("debootstrap")
        .args([
            "--variant=minbase",
            &format!("--include={GUEST}"),
            "bookworm",
        ])
        .args([tree.as_os_str()])
        .args([MIRROR])
        .quiet()
        .run()?;
    write(
        &tree.join("etc/systemd/system/job.service"),
        UNIT.as_bytes(),
    )?;
    write(&tree.join("etc/fstab"), FSTAB.as_bytes())?;
    write(&tree.join("etc/hostname"), b"guest\n")?;
    fs::create_dir_all(tree.join("share")).map_err(|e| failed("make", &tree, &e))?;
    Step::new("chroot")
        .args([tree.as_os_str()])
        .args(["systemctl", "enable", "job.service"])
        .quiet()
        .run()?;
    Step::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .args([tree.as_os_str(), folder().join("disk.img").as_os_str()])
        .args(["3G"])
        .quiet()
        .run()?;
    write(&made_of, wanted.as_bytes())?;
    image(&tree)
}

fn boot_file(tree: &Path, prefix: &str) -> Result<PathBuf, Failure> {
    let boot = tree.join("boot");
    let entries = fs::read_dir(&boot).map_err(|e| failed("list", &boot, &e))?;
    let found = entries
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    found.map(|entry| entry.path()).ok_or_else(|| {
        Failure::new(format!(
            "no {prefix}* in {}: delete {} and run again",
            boot.display(),
            tree.display()
        ))
    })
}
