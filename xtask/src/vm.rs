//! `cargo xtask vm`: a Debian 12 of its own, with systemd and Debian's own kernel (6.1), in QEMU without KVM.
//!
//! What the lab cannot show is shown here: another kernel than this machine's, and a host that boots. The image is made
//! once, from packages; each run starts from it anew and changes nothing in it. A folder is shared with the guest: its
//! `run` is executed there as root, and what it says and how it ended are found in the same folder.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::build;
use crate::setup::{self, Purpose};
use crate::shell::{Failure, Step, root};

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
/// Emulated, so ten to thirty times slower than the machine itself.
const LIMIT_SECONDS: &str = "1500";

/// Runs one of the guest's jobs.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    match arguments {
        [job] if job == "sensor" => sensor(),
        _ => Err(Failure::new("wants one of: sensor")),
    }
}

/// The sensor's own tests, on the guest's kernel.
fn sensor() -> Result<(), Failure> {
    setup::install(Purpose::Guest)?;
    let share = fresh(&folder().join("share"))?;
    let mut script = vec!["#!/bin/sh\nuname -r\nfailed=0".to_owned()];
    for program in build::tests_of("cordon-sensor")? {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        copy(&program, &share.join(&*name))?;
        script.push(format!(
            "echo \"== {name}\"; /share/{name} --test-threads=1 || failed=1"
        ));
    }
    script.push("exit $failed\n".to_owned());
    write(&share.join("run"), script.join("\n").as_bytes())?;
    executable(&share.join("run"))?;
    boot(&image()?, &share)
}

/// Boots the guest, waits for its end, shows what it said.
fn boot(image: &Image, share: &Path) -> Result<(), Failure> {
    eprintln!("vm: booting");
    let console = share.join("console");
    let status = Command::new("timeout")
        .arg(LIMIT_SECONDS)
        .arg("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "2G",
        ])
        .args([
            "-display",
            "none",
            "-no-reboot",
            "-monitor",
            "none",
            "-nic",
            "none",
        ])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(&image.kernel)
        .arg("-initrd")
        .arg(&image.initrd)
        .args(["-append", "root=/dev/vda rw console=ttyS0 quiet"])
        .arg("-drive")
        .arg(format!(
            "file={},format=raw,if=virtio,snapshot=on",
            image.disk.display()
        ))
        .arg("-virtfs")
        .arg(format!(
            "local,path={},mount_tag=share,security_model=none",
            share.display()
        ))
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure::new(format!("cannot start qemu-system-x86_64: {error}")))?;
    let said = fs::read(share.join("log")).unwrap_or_default();
    std::io::stderr().write_all(&said).unwrap_or_default();
    let code = fs::read_to_string(share.join("status")).unwrap_or_default();
    match code.trim() {
        "0" if status.success() => Ok(()),
        "" => Err(Failure::new(format!(
            "the guest did not finish ({status}): its console is in {}",
            console.display()
        ))),
        code => Err(Failure::new(format!(
            "the guest's job ended with {code}: see above, or {}",
            share.join("log").display()
        ))),
    }
}

struct Image {
    disk: PathBuf,
    kernel: PathBuf,
    initrd: PathBuf,
}

/// The guest's disk, made when it is not there or its packages are others.
fn image() -> Result<Image, Failure> {
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

fn folder() -> PathBuf {
    root().join("target/vm")
}

/// An empty folder.
fn fresh(path: &Path) -> Result<PathBuf, Failure> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(|e| failed("empty", path, &e))?;
    }
    fs::create_dir_all(path).map_err(|e| failed("make", path, &e))?;
    Ok(path.to_owned())
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to)
        .map(drop)
        .map_err(|e| failed("copy", from, &e))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|e| failed("write", path, &e))
}

fn executable(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(|e| failed("change", path, &e))
}

fn failed(act: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {act} {}: {error}", path.display()))
}
